"""Imitates OpenAI's Responses API. Errors, and checks of keys, are those of Chat Completions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .openai_wire import CREATED, FakeOpenAIApi, find_forced_tools, make_logprobs
from .wire import DeclaredTool, ParsedRequest, PromptTurn, split_evenly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .replies import Usage
    from .wire import PlannedAnswer

_ATTACHMENTS = {"input_image": "image", "input_audio": "audio", "input_file": "file"}
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_REPEATED: dict[str, Any] = {
    "parallel_tool_calls": True,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}
_LOGPROBS = "message.output_text.logprobs"


class FakeResponsesApi(FakeOpenAIApi):
    """Imitates OpenAI's Responses API, ``POST /v1/responses``.

    Its recorded requests have the ``wire`` ``openai``, like Chat Completions; only the path differs.
    """

    @override
    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        choice = body.get("tool_choice") or "auto"
        tools = tuple(map(_tool, body.get("tools") or ())) if choice != "none" else ()
        asked = (body.get("text") or {}).get("format") or {}
        return ParsedRequest(
            turns=tuple(_turns(body)),
            tools=tools,
            forced=find_forced_tools(choice, tools),
            schema=asked.get("schema"),
            json_object=asked.get("type") == "json_object",
            max_tokens=body.get("max_output_tokens"),
            reasoning=(body.get("reasoning") or {}).get("effort") not in {None, "none", "minimal"},
            logprobs=(body.get("top_logprobs") or 0) if _LOGPROBS in (body.get("include") or ()) else None,
        )

    @override
    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make the body of an answer that is not streamed. See `FakeProviderApi.make_response_body`.

        Like OpenAI's, it repeats some of the request's settings.
        """
        return _response(answer, body, output=_output(answer))

    @override
    def make_stream_events(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield the data of each event of a streamed answer. See `FakeProviderApi.make_stream_events`.

        Every event has a number; the last event repeats the whole answer.
        """
        for number, event in enumerate(_events(answer, body)):
            yield json.dumps({**event, "sequence_number": number})


def _turns(body: Mapping[str, Any]) -> Iterator[PromptTurn]:
    if instructions := body.get("instructions"):
        yield PromptTurn("system", instructions)
    given = body.get("input") or ()
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        if item.get("type") == "function_call_output":
            yield PromptTurn("tool", _text(item.get("output")))
        elif "role" in item:
            yield _turn(item)


def _turn(item: Mapping[str, Any]) -> PromptTurn:
    content = item.get("content") or ""
    parts = () if isinstance(content, str) else content
    kinds = tuple(_ATTACHMENTS[part["type"]] for part in parts if part.get("type") in _ATTACHMENTS)
    role = item["role"]
    return PromptTurn("system" if role in {"system", "developer"} else role, _text(content), kinds)


def _text(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if "text" in part)


def _tool(declared: Mapping[str, Any]) -> DeclaredTool:
    return DeclaredTool(
        declared.get("name", ""), declared.get("description") or "", declared.get("parameters") or {}
    )


# Answers -------------------------------------------------------------------------------------------------------------


def _response(utterance: PlannedAnswer, body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    reason = _REASONS.get(utterance.finish or "")
    status = "in_progress" if utterance.finish is None else "incomplete" if reason else "completed"
    return {
        "id": f"resp_{utterance.number:06}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "model": utterance.model,
        "service_tier": "default",
        "usage": _usage(utterance.usage),
        **{name: body.get(name, default) for name, default in _REPEATED.items()},
        **more,
    }


def _output(utterance: PlannedAnswer) -> list[dict[str, Any]]:
    """The items of the answer: reasoning, a message, calls."""
    items: list[dict[str, Any]] = []
    if utterance.usage.reasoning_tokens:
        items.append({"id": f"rs_{utterance.number:06}", "type": "reasoning", "summary": []})
    if (parts := _parts(utterance)) is not None:
        items.append(_message(utterance, parts))
    return items + [_call(utterance, index) for index in range(len(utterance.calls))]


def _parts(utterance: PlannedAnswer) -> list[dict[str, Any]] | None:
    """The parts of the message; None if the answer has no message."""
    if utterance.refusal is not None:
        return [{"type": "refusal", "refusal": "".join(utterance.refusal)}]
    if utterance.blocked or utterance.calls or not utterance.candidates:
        return None
    return [_text_part(utterance, utterance.pieces)]


def _text_part(utterance: PlannedAnswer, pieces: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "output_text",
        "text": "".join(pieces),
        "annotations": [],
        "logprobs": make_logprobs(utterance, pieces),
    }


def _message(utterance: PlannedAnswer, parts: list[dict[str, Any]]) -> dict[str, Any]:
    status = "completed" if utterance.finish == "stop" else "incomplete"
    item = {"id": f"msg_{utterance.number:06}", "type": "message", "role": "assistant", "status": status}
    return {**item, "content": parts}


def _call(utterance: PlannedAnswer, index: int) -> dict[str, Any]:
    name, arguments = utterance.calls[index]
    return {
        "id": f"fc_{utterance.number:06}_{index}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{utterance.number:06}_{index}",
        "name": name,
        "arguments": json.dumps(arguments, ensure_ascii=False),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


# Streams -------------------------------------------------------------------------------------------------------------


def _events(utterance: PlannedAnswer, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    unknown: dict[str, Any] = {"output": [], "incomplete_details": None, "usage": None}
    started = _response(utterance, body, status="in_progress", **unknown)
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for place, item in enumerate(_output(utterance)):
        yield from _item_events(utterance, item, place)
    if utterance.finish is not None:
        whole = _response(utterance, body, output=_output(utterance))
        yield {"type": f"response.{whole['status']}", "response": whole}


def _item_events(utterance: PlannedAnswer, item: dict[str, Any], place: int) -> Iterator[dict[str, Any]]:
    empty: dict[str, Any] = {"content": [], "arguments": ""}
    opening = {key: value for key, value in empty.items() if key in item}
    added = {**item, **opening, "status": "in_progress"}
    yield {"type": "response.output_item.added", "output_index": place, "item": added}
    where = {"item_id": item["id"], "output_index": place}
    if "arguments" in item:
        yield from _argument_events(item, where)
    for index, part in enumerate(item.get("content", ())):
        yield from _part_events(utterance, part, {**where, "content_index": index})
    if utterance.finish is not None:
        yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _argument_events(item: dict[str, Any], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = "response.function_call_arguments"
    for piece in split_evenly(item["arguments"], 3):
        yield {"type": f"{kind}.delta", **where, "delta": piece}
    yield {"type": f"{kind}.done", **where, "name": item["name"], "arguments": item["arguments"]}


def _part_events(
    utterance: PlannedAnswer, part: dict[str, Any], where: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    kind, field = ("refusal", "refusal") if part["type"] == "refusal" else ("output_text", "text")
    empty = part | ({"logprobs": []} if kind == "output_text" else {}) | {field: ""}
    yield {"type": "response.content_part.added", **where, "part": empty}
    for piece in utterance.refusal or utterance.pieces:
        likely = {"logprobs": make_logprobs(utterance, (piece,))} if kind == "output_text" else {}
        yield {"type": f"response.{kind}.delta", **where, "delta": piece, **likely}
    if utterance.finish is None:
        return
    rest = {key: value for key, value in part.items() if key in {field, "logprobs"}}
    yield {"type": f"response.{kind}.done", **where, **rest}
    yield {"type": "response.content_part.done", **where, "part": part}
