"""Client side of OpenAI's Responses API.

This module is imported only when a client is built, because it imports an SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, FailureCategory, to_chat_finish_reason
from .answer import ParsedAnswer, make_usage_metadata
from .ask import SerializedRequest, raise_if_provider_error
from .chat_completions import (
    HEADERS,
    make_body_without_messages,
    make_chat_openai,
    to_openai_tool_choice,
    tool_arguments_to_json,
)
from .logprobs import parse_logprobs
from .loose_json import (
    nonempty_string_or_none,
    object_or_empty,
    objects_in_list,
    parse_count,
    parse_token_counts,
    text_or_empty,
)
from .responses_history import to_responses_input
from .schema_forms import add_schema_instructions, choose_schema_instructions
from .stops import StopSequenceFilter
from .tool_calls import ToolCallPiece

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages.ai import UsageMetadata

    from .ask import ModelRequest

_USED = {"input": "input_tokens", "output": "output_tokens", "total": "total_tokens"}
_USED_INWARD = {"cache_read": "cached_tokens", "cache_creation": "cache_write_tokens"}
_USED_OUTWARD = {"reasoning": "reasoning_tokens"}
_NOTHING_CACHED = {"cache_read": 0, "cache_creation": 0}
_ENDS = {
    **{f"response.{status}": status for status in ("completed", "incomplete", "failed", "cancelled")},
    "response.done": "completed",  # some gateways'
}


class ResponsesApi:
    """Serializes requests for OpenAI's Responses API, as `ChatOpenAI` does, and makes the readers of answers.

    Args:
        model: The model that the requests are serialized for.
    """

    def __init__(self, model: str) -> None:
        self._chat = make_chat_openai(model, use_responses_api=True)

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` as JSON of the Responses API. See `ChatApi.serialize`."""
        if request.ask.schema is not None:
            form = choose_schema_instructions(request.ask.schema, request.endpoint.can.schema_form)
            request = request if form.is_format else add_schema_instructions(form, request)
        settings = _settings(request)
        body = make_body_without_messages(
            self._chat, request, {**settings, "stream": True} if streams else settings
        )
        body["input"] = to_responses_input(request)
        return SerializedRequest("/responses", body, HEADERS)

    def make_answer_reader(self, request: ModelRequest) -> ResponsesAnswerReader:
        """Make a reader for the answer to ``request``. See `ChatApi.make_answer_reader`."""
        return ResponsesAnswerReader(request.stop)


def _settings(request: ModelRequest) -> dict[str, Any]:
    """The settings of a request as keyword arguments of `ChatOpenAI`."""
    ask, endpoint, settings = request.ask, request.endpoint, dict(request.settings)
    # In the body, because the adapter drops it for some models, whatever their effort is.
    sampling = {"temperature": settings.pop("temperature")} if "temperature" in settings else {}
    extra = {**settings.pop("extra_body", {}), **sampling}
    if ask.cache_key and endpoint.can.cache_key:
        extra["prompt_cache_key"] = ask.cache_key
    # Users trust us with their prompts: without this OpenAI keeps each for a month, for later retrieval.
    found = {**settings, "extra_body": extra, "store": False}
    wanted = ["message.output_text.logprobs"] if found.pop("logprobs", None) else []
    if (
        ask.tools and endpoint.can.efforts
    ):  # its thoughts, which it wants back with a result: nothing is stored there
        wanted.append("reasoning.encrypted_content")
    if wanted:
        found["include"] = wanted
    if ask.schema is not None and (
        kind := choose_schema_instructions(ask.schema, endpoint.can.schema_form).format
    ):
        found["text"] = {"format": kind}
    if ask.tools:
        found["tools"] = [_flat(tool) for tool in ask.tools]
        if ask.tool_choice is not None:
            found["tool_choice"] = to_openai_tool_choice(ask.tool_choice, {"name": ask.tool_choice})
        if ask.parallel_tool_calls is not None:
            found["parallel_tool_calls"] = ask.parallel_tool_calls
    return found


def _flat(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool in the form of Responses, which needs an explicit ``strict: false``, unlike Chat Completions."""
    return {"type": "function", "strict": False, **tool["function"]} if "function" in tool else tool


# Answers -------------------------------------------------------------------------------------------------------------


class ResponsesAnswerReader:
    """Reads one answer of the Responses API, complete or event by event.

    Events that repeat earlier content add nothing. The finish reason comes only with the last event, so a
    stream that breaks off has no finish reason.

    Args:
        stop: The stop sequences of the request. The API has no such parameter, so they are applied to the
            text here.

    Attributes:
        is_over: Whether the last event has arrived.
    """

    def __init__(self, stop: Sequence[str] | None = None) -> None:
        self._stops = StopSequenceFilter(stop)
        self._streamed_parts: set[str] = set()
        self._text_places: set[int | None] = set()
        self._call_places: set[int | None] = set()
        self._argument_places: set[int | None] = set()
        self.is_over = False

    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse a complete answer. See `AnswerReader.parse_answer`."""
        raise_if_provider_error(document.get("error"))
        if not isinstance(document.get("output"), list):
            raise BadAnswer(FailureCategory.UNREADABLE)
        return self._whole(document)

    def _whole(self, document: dict[str, Any]) -> ParsedAnswer:
        items = objects_in_list(document.get("output"))
        parts = [
            part
            for item in items
            if item.get("type") == "message"
            for part in objects_in_list(item.get("content"))
        ]
        calls = [
            _call(item, place) for place, item in enumerate(items) if item.get("type") == "function_call"
        ]
        reasoning = [_without_nulls(item) for item in items if _is_reasoning(item)]
        text = (
            "" if "text" in self._streamed_parts else self._stops.cut_at_stop_sequence(text_or_empty(parts))
        )
        return ParsedAnswer(
            thoughts="\n\n".join(filter(None, map(_thoughts, reasoning))),
            reasoning=reasoning,
            text=text,
            refusal="".join(text_or_empty(part.get("refusal")) for part in parts),
            calls=calls,
            logprobs=[token for part in parts for token in parse_logprobs(part.get("logprobs"))],
            usage=_usage(document.get("usage")),
            reason=self._stops.correct_finish_reason(
                _reason(document, called=bool(calls) or "calls" in self._streamed_parts)
            ),
            stop_sequence=self._stops.matched_sequence,
            metadata=_metadata(document),
        )

    def parse_event(self, document: dict[str, Any]) -> ParsedAnswer | None:
        """Parse one event of a stream. See `AnswerReader.parse_event`."""
        kind = nonempty_string_or_none(document.get("type"))
        raise_if_provider_error(document.get("error") or (kind == "error" and document))
        if kind in _ENDS:
            self.is_over = True
            return self._last(
                {"status": _ENDS[kind], **object_or_empty(document.get("response") or document)}
            )
        return self._piece(kind, document)

    def _piece(self, kind: str | None, document: dict[str, Any]) -> ParsedAnswer | None:
        place, delta = parse_count(document.get("output_index")), text_or_empty(document.get("delta"))
        match kind:
            case "response.output_text.delta":
                self._streamed_parts.add("text")
                self._text_places.add(place)
                return ParsedAnswer(
                    text=self._stops.feed(delta), logprobs=parse_logprobs(document.get("logprobs"))
                )
            case "response.refusal.delta":
                self._streamed_parts.add("refusal")
                return ParsedAnswer(refusal=delta)
            case "response.function_call_arguments.delta" | "response.function_call_arguments.done":
                return self._argued(place, delta or tool_arguments_to_json(document.get("arguments")), kind)
            case "response.output_item.added":
                return self._begun(object_or_empty(document.get("item")), place)
            case "response.output_item.done":
                return self._done(object_or_empty(document.get("item")), place)
            case _:
                return self._thinking(kind, document)

    def _argued(self, place: int | None, arguments: str, kind: str) -> ParsedAnswer | None:
        """The next piece of a call's arguments; all of them, if none came in pieces."""
        if kind.endswith("done") and not _is_new(place, self._argument_places):
            return None
        self._argument_places.add(place)
        return ParsedAnswer(calls=[ToolCallPiece(place, None, None, arguments)])

    def _thinking(self, kind: object, document: dict[str, Any]) -> ParsedAnswer | None:
        match kind:
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                self._streamed_parts.add("thoughts")
                return ParsedAnswer(thoughts=text_or_empty(document.get("delta")))
            case "response.reasoning_summary_part.added" if "thoughts" in self._streamed_parts:
                return ParsedAnswer(thoughts="\n\n")
            case _:
                return None

    def _begun(self, item: dict[str, Any], place: int | None) -> ParsedAnswer | None:
        if item.get("type") != "function_call":
            return None
        self._streamed_parts.add("calls")
        self._call_places.add(place)
        if item.get("arguments"):
            self._argument_places.add(place)
        return ParsedAnswer(calls=[_call(item, place)])

    def _done(self, item: dict[str, Any], place: int | None) -> ParsedAnswer | None:
        """The contents that a complete item adds: all of them, if none came in pieces."""
        match item.get("type"):
            case "function_call" if _is_new(place, self._call_places):
                return self._begun(item, place)
            case "function_call":
                return self._argued(place, tool_arguments_to_json(item.get("arguments")), "done")
            case "message" if _is_new(place, self._text_places):
                self._streamed_parts.add("text")
                return ParsedAnswer(text=self._stops.feed(text_or_empty(item.get("content"))))
            case _:
                return self._reasoned(item)

    def _reasoned(self, item: dict[str, Any]) -> ParsedAnswer | None:
        if not _is_reasoning(item):
            return None
        whole = ParsedAnswer(
            thoughts="" if "thoughts" in self._streamed_parts else _thoughts(item),
            reasoning=[_without_nulls(item)],
        )
        self._streamed_parts |= {"thoughts", "reasoning"}
        return whole

    def _last(self, response: dict[str, Any]) -> ParsedAnswer:
        """The contents that the last event adds; it repeats the whole answer, so all of them if none came in pieces."""
        raise_if_provider_error(response.get("error"))
        whole = self._whole(response)
        if "text" in self._streamed_parts:
            whole.text, whole.logprobs = self._stops.flush(), ()
        if "calls" in self._streamed_parts:
            whole.calls = ()
        if "thoughts" in self._streamed_parts:
            whole.thoughts = ""
        if "reasoning" in self._streamed_parts:
            whole.reasoning = ()
        if "refusal" in self._streamed_parts:
            whole.refusal = ""
        return whole


def _is_new(place: int | None, known: set[int | None]) -> bool:
    """Whether no earlier event was about the item at ``place``. False if unsure, because some servers number only some events."""
    return not known or (place is not None and known.isdisjoint({place, None}))


def _is_reasoning(item: Mapping[str, Any]) -> bool:
    """Whether the item contains anything to show or to send back."""
    return item.get("type") == "reasoning" and bool(item.get("encrypted_content") or _thoughts(item))


def _thoughts(item: Mapping[str, Any]) -> str:
    """The summary of the reasoning, or all of it from a server that sends it."""
    parts = objects_in_list(item.get("summary")) or objects_in_list(item.get("content"))
    return "\n\n".join(text_or_empty(part.get("text")) for part in parts)


def _without_nulls(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}


def _call(item: Mapping[str, Any], place: int | None) -> ToolCallPiece:
    number = nonempty_string_or_none(item.get("call_id")) or nonempty_string_or_none(item.get("id"))
    return ToolCallPiece(
        place,
        number,
        nonempty_string_or_none(item.get("name")),
        tool_arguments_to_json(item.get("arguments")),
    )


def _metadata(response: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "id": nonempty_string_or_none(response.get("id")),
        "model_name": nonempty_string_or_none(response.get("model")),
        "service_tier": nonempty_string_or_none(response.get("service_tier")),
    }
    return {"model_provider": "openai", **{name: value for name, value in found.items() if value is not None}}


def _reason(response: Mapping[str, Any], *, called: bool) -> str | None:
    """The finish reason, by the names of Chat Completions; None if there is none."""
    status = nonempty_string_or_none(response.get("status"))
    if status == "completed":
        return "tool_calls" if called else "stop"
    return to_chat_finish_reason(
        nonempty_string_or_none(object_or_empty(response.get("incomplete_details")).get("reason")) or status
    )


def _usage(value: object) -> UsageMetadata | None:
    usage = object_or_empty(value)
    return make_usage_metadata(
        parse_token_counts(usage, _USED),
        {**_NOTHING_CACHED, **parse_token_counts(usage.get("input_tokens_details"), _USED_INWARD)},
        {"reasoning": 0, **parse_token_counts(usage.get("output_tokens_details"), _USED_OUTWARD)},
    )
