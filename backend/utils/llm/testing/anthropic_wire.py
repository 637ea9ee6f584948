"""Imitates Anthropic's Messages API: parses requests, and makes answers and errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from .replies import Status
from .wire import DeclaredTool, ParsedRequest, PromptTurn, split_evenly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .replies import Usage
    from .wire import PlannedAnswer

_FINISH = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
_ERRORS = {  # status: type, message
    400: ("invalid_request_error", "messages: Field required"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "There is an issue with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: claude-9"),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    422: ("invalid_request_error", "messages: Field required"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    504: ("timeout_error", "The request timed out while processing."),
    529: ("overloaded_error", "Overloaded"),
}
_SERVER_ERROR = ("api_error", "Internal server error")
_MESSAGES = {
    "context_length_exceeded": "prompt is too long: 1000001 tokens > 1000000 maximum",
    "insufficient_quota": "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits.",
}
_THOUGHT = "What was asked? I shall answer that."
_ATTACHMENTS = {"image": "image", "document": "file"}


class FakeAnthropicApi:
    """Imitates ``POST /v1/messages``, and ``GET /v1/models`` for requests with the header ``anthropic-version``."""

    name: Literal["anthropic"] = "anthropic"
    has_event_names = True

    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        """Parse the body of a request. See `FakeProviderApi.parse_request`."""
        choice = body.get("tool_choice") or {"type": "auto"}
        tools = tuple(_tools(body.get("tools") or ())) if choice["type"] != "none" else ()
        forced = {"any": tuple(tool.name for tool in tools), "tool": (choice.get("name", ""),)}
        output = body.get("output_config") or {}
        turns = tuple(_turns(body))
        system_text = next((turn.text for turn in turns if turn.role == "system"), "")
        return ParsedRequest(
            turns=turns,
            tools=tools,
            forced=forced.get(choice["type"], ()),
            schema=(output.get("format") or {}).get("schema") or _schema_in(system_text),
            json_object="JSON object" in system_text,
            stop=tuple(body.get("stop_sequences") or ()),
            max_tokens=body.get("max_tokens"),
            reasoning=(body.get("thinking") or {}).get("type") in {"adaptive", "enabled"},
        )

    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make the body of an answer that is not streamed. See `FakeProviderApi.make_response_body`."""
        del body
        message = {**_message(answer), "usage": _usage(answer.usage)}
        return message | {"content": list(_blocks(answer)), "stop_reason": _finish(answer)}

    def make_stream_events(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield the data of each event of a streamed answer. See `FakeProviderApi.make_stream_events`.

        The first event reports the tokens of the prompt, the event with the stop reason all token counts.
        """
        del body
        usage = _usage(answer.usage)
        begun = _message(answer) | {"usage": usage | {"output_tokens": 1}}
        yield json.dumps({"type": "message_start", "message": begun})
        yield json.dumps({"type": "ping"})
        for place, block in enumerate(_blocks(answer)):
            yield from map(json.dumps, _block_events(block, place, answer))
        if (finish := _finish(answer)) is None:
            return
        delta = {"stop_reason": finish, "stop_sequence": None}
        yield json.dumps({"type": "message_delta", "delta": delta, "usage": usage})
        yield json.dumps({"type": "message_stop"})

    def make_error_body_and_headers(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """Make the body and the headers of an error response. See `FakeProviderApi.make_error_body_and_headers`."""
        kind, message = _ERRORS.get(status.code, _SERVER_ERROR)
        if status.error_code in _MESSAGES:
            message = _MESSAGES[status.error_code]
        elif status.error_code is not None:
            kind = status.error_code
        hint = {} if status.retry_after is None else {"Retry-After": f"{status.retry_after}"}
        error = {"type": kind, "message": status.message or message}
        headers = {"request-id": "req_000001"} | hint | dict(status.headers)
        return {"type": "error", "error": error, "request_id": "req_000001"}, headers

    def make_api_key_error(self, key: str | None) -> Status:
        """Make the error reply to a wrong or missing API key. See `FakeProviderApi.make_api_key_error`."""
        return Status(401, message="invalid x-api-key" if key else "x-api-key header is required")

    def make_model_list(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Make the body of the response that lists the models. See `FakeProviderApi.make_model_list`."""
        rows = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-11-01T00:00:00Z"}
            for name in names
        ]
        return {"data": rows, "has_more": False, "first_id": names[0], "last_id": names[-1]}


# Requests ------------------------------------------------------------------------------------------------------------


def _turns(body: Mapping[str, Any]) -> Iterator[PromptTurn]:
    if system := body.get("system"):
        yield PromptTurn("system", _text(_parts(system)))
    for message in body.get("messages") or ():
        parts = _parts(message.get("content") or ())
        for result in (part for part in parts if part.get("type") == "tool_result"):
            content = _parts(result.get("content") or ())
            yield PromptTurn("tool", _text(content), _kinds(content))
        others = [part for part in parts if part.get("type") != "tool_result"]
        if others or not parts:
            role: Literal["assistant", "user"] = "assistant" if message.get("role") == "assistant" else "user"
            yield PromptTurn(role, _text(others), _kinds(others))


def _parts(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(parts: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("type") == "text")


def _kinds(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(_ATTACHMENTS[part["type"]] for part in parts if part.get("type") in _ATTACHMENTS)


def _tools(declared: Sequence[Mapping[str, Any]]) -> Iterator[DeclaredTool]:
    for row in declared:
        if "input_schema" in row:
            yield DeclaredTool(row["name"], row.get("description") or "", row["input_schema"])


def _schema_in(system_text: str) -> Mapping[str, Any] | None:
    """The JSON schema in the system prompt: the API has no other way to ask for JSON without enforcing it."""
    _, _, schema = system_text.partition("JSON Schema:\n")
    if not schema:
        return None
    found: Mapping[str, Any] = json.JSONDecoder().raw_decode(schema)[0]
    return found


# Answers -------------------------------------------------------------------------------------------------------------


def _message(utterance: PlannedAnswer) -> dict[str, Any]:
    return {
        "id": f"msg_{utterance.number:06}",
        "type": "message",
        "role": "assistant",
        "model": utterance.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _blocks(utterance: PlannedAnswer) -> Iterator[dict[str, Any]]:
    if utterance.usage.reasoning_tokens and utterance.finish is not None:
        signature = f"c2lnbmVk{utterance.number:04}"
        yield {"type": "thinking", "thinking": _THOUGHT, "signature": signature}
    text = utterance.text or "".join(utterance.refusal or ())
    if text:
        yield {"type": "text", "text": text}
    for index, (name, arguments) in enumerate(utterance.calls):
        number = f"toolu_{utterance.number:06}_{index}"
        yield {"type": "tool_use", "id": number, "name": name, "input": dict(arguments)}


def _block_events(block: Mapping[str, Any], place: int, utterance: PlannedAnswer) -> Iterator[dict[str, Any]]:
    empty, deltas = _taken_apart(block, utterance)
    yield {"type": "content_block_start", "index": place, "content_block": {**block, **empty}}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": place, "delta": delta}
    if utterance.finish is not None:
        yield {"type": "content_block_stop", "index": place}


def _taken_apart(
    block: Mapping[str, Any], utterance: PlannedAnswer
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A content block as it begins, empty, and the deltas that fill it."""
    match block["type"]:
        case "thinking":
            thought = [{"type": "thinking_delta", "thinking": piece} for piece in split_evenly(_THOUGHT, 2)]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"thinking": "", "signature": ""}, [*thought, signed]
        case "tool_use":
            arguments = split_evenly(json.dumps(block["input"], ensure_ascii=False), 3)
            pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *arguments)]
            return {"input": {}}, pieces
        case _:
            texts = utterance.pieces or utterance.refusal or ()
            return {"text": ""}, [{"type": "text_delta", "text": piece} for piece in texts]


def _finish(utterance: PlannedAnswer) -> str | None:
    if utterance.refusal is not None:
        return "refusal"
    if utterance.finish is None:
        return None
    return "tool_use" if utterance.calls else _FINISH[utterance.finish]


def _usage(usage: Usage) -> dict[str, Any]:
    """The usage in Anthropic's form: cached tokens count beside the rest of the prompt, thoughts within the answer."""
    thought = {"output_tokens_details": {"thinking_tokens": usage.reasoning_tokens}}
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        **(thought if usage.reasoning_tokens else {}),
    }
