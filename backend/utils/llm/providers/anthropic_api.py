"""Client side of Anthropic's Messages API, which other servers offer, too.

Anthropic's SDK is not used, because importing it takes two seconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, FailureCategory, to_chat_finish_reason
from ..schema_dialects import MINIMAL, rewrite_for_dialect
from ..transport import AnswerTooLargeError
from .answer import ParsedAnswer, make_usage_metadata
from .anthropic_history import AnthropicHistory, to_anthropic_history
from .ask import InexpressibleRequestError, SerializedRequest, raise_if_provider_error
from .loose_json import (
    nonempty_string_or_none,
    object_or_empty,
    objects_in_list,
    parse_count,
    parse_token_counts,
    text_or_empty,
)
from .schema_forms import add_schema_instructions, choose_schema_instructions
from .stops import StopSequenceFilter
from .tool_calls import ToolCallPiece

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages.ai import UsageMetadata

    from ..options import Options
    from .ask import CallSettings, ModelRequest

VERSION = "2023-06-01"
"""The API's version. The later one, 2026-10-21, only refuses more, such as a temperature of models that take it:
https://platform.claude.com/docs/en/api/versioning. A provider's row may set another version among its headers."""
HEADERS = {
    "accept": "application/json",
    "anthropic-version": VERSION,
    "content-type": "application/json",
    "user-agent": "patchbay",
}
_LEAST_BUDGET = 1024
_CHOICES: Mapping[str, dict[str, Any]] = {
    "auto": {"type": "auto"},
    "none": {"type": "none"},
    "required": {"type": "any"},
}
_CACHED = {"type": "ephemeral"}
_USED = {
    "fresh": "input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_creation": "cache_creation_input_tokens",
    "output": "output_tokens",
}
_USED_OUTWARD = {"reasoning": "thinking_tokens"}


class AnthropicMessagesApi:
    """Serializes requests for Anthropic's Messages API, and makes the readers of answers."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` as JSON of the Messages API. See `ChatApi.serialize`."""
        request, schema = choose_schema_enforcement(request)
        base_url = request.endpoint.provider.base_url.rstrip("/")
        path = "/messages" if base_url.endswith("/v1") else "/v1/messages"
        return SerializedRequest(path, _body(request, schema, streams=streams), HEADERS)

    def make_answer_reader(self, request: ModelRequest) -> AnthropicAnswerReader:
        """Make a reader for the answer to ``request``. See `ChatApi.make_answer_reader`."""
        return AnthropicAnswerReader(request.stop, max_blocks=request.ticket.trust.most_calls)


def choose_schema_enforcement(request: ModelRequest) -> tuple[ModelRequest, Mapping[str, Any] | None]:
    """Decide whether the API can enforce the schema of ``request``; if not, put the schema into the prompt.

    Returns:
        The request, with the schema in its prompt if the API cannot enforce the schema; and the schema for the
        API to enforce, or None.
    """
    schema = request.ask.schema
    if schema is None:
        return request, None
    enforced = schema.to_dialect(MINIMAL) if schema.is_strict else None
    return (
        request
        if enforced
        else add_schema_instructions(choose_schema_instructions(schema, "prompt"), request)
    ), enforced


def _body(request: ModelRequest, schema: Mapping[str, Any] | None, *, streams: bool) -> dict[str, Any]:
    ask, endpoint = request.ask, request.endpoint
    history = to_anthropic_history(request.messages, ask, endpoint.provider.name)
    options = dict(request.settings)
    effort, budget, user = (options.pop(name, None) for name in ("effort", "thinking_budget", "user"))
    forced = ask.tools and ask.tool_choice not in {None, "auto", "none"}
    thinking = None if forced else _thinking(ask.options, budget, endpoint.can.efforts)
    output = {
        **({"effort": effort} if effort else {}),
        **({"format": {"type": "json_schema", "schema": schema}} if schema else {}),
    }
    found = {
        "model": endpoint.model_id,
        "max_tokens": endpoint.can.max_output,
        **options,
    }
    optional = {
        "system": _system(history, ask),
        "metadata": {"user_id": user} if user else None,
        "stop_sequences": [item for item in request.stop or () if item and not item.isspace()],
        "thinking": thinking,
        "output_config": output,
        **_tools(ask),
        "stream": streams,
    }
    return {
        **found,
        **{name: value for name, value in optional.items() if value},
        "messages": history.messages,
    }


def _thinking(options: Options, budget: int | None, efforts: Sequence[str]) -> dict[str, Any] | None:
    """The ``thinking`` parameter; None to leave it to the model.

    Models with the effort ``xhigh``, and later ones, decide for themselves how long they think. Some think only if asked
    to, and all show thoughts only if asked to: https://platform.claude.com/docs/en/build-with-claude/thinking
    """
    if budget is not None and budget > 0:
        return {"type": "enabled", "budget_tokens": max(budget, _LEAST_BUDGET)}
    if budget is not None:
        return {"type": "disabled" if budget == 0 else "adaptive"}
    if options.effort in {None, "none", "minimal"} or "xhigh" not in efforts:
        return None
    return {"type": "adaptive", "display": "summarized"}


def _system(history: AnthropicHistory, ask: CallSettings) -> Any:
    """The system prompt, with a cache mark if calls share it."""
    if not (ask.cache_key and history.system):
        return history.system
    parts = [{"type": "text", "text": history.system}] if isinstance(history.system, str) else history.system
    return [*parts[:-1], {"cache_control": _CACHED, **parts[-1]}]


def _tools(ask: CallSettings) -> dict[str, Any]:
    if not ask.tools:
        return {}
    choice = None
    if ask.tool_choice is not None:
        choice = _CHOICES.get(ask.tool_choice) or {"type": "tool", "name": ask.tool_choice}
    if ask.parallel_tool_calls is False and choice != _CHOICES["none"]:
        choice = {**(choice or _CHOICES["auto"]), "disable_parallel_tool_use": True}
    return {"tools": list(map(_tool, ask.tools)), "tool_choice": choice}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool of the product in Anthropic's form; one of Anthropic's own tools unchanged."""
    function = tool.get("function")
    if function is None:
        return tool
    schema = {"type": "object", "properties": {}, **(function.get("parameters") or {})}
    if not {"anyOf", "oneOf", "allOf"}.isdisjoint(schema):
        raise InexpressibleRequestError(
            "the Messages API takes no tool whose arguments are one of several objects"
        )
    strict = rewrite_for_dialect(schema, MINIMAL) if function.get("strict") else None
    found = {"name": function["name"], "input_schema": strict or schema}
    if description := function.get("description"):
        found["description"] = description
    if strict is not None:
        found["strict"] = True
    return {**found, "cache_control": tool["cache_control"]} if "cache_control" in tool else found


# Answers -------------------------------------------------------------------------------------------------------------


class AnthropicAnswerReader:
    """Reads one answer of the Messages API, complete or event by event.

    Args:
        stop: The stop sequences of the request. Those of only white space, which the API rejects, are applied
            to the text here.
        max_blocks: The maximum number of content blocks; an answer with more is an error.

    Attributes:
        is_over: Whether the last event has arrived.
    """

    def __init__(self, stop: Sequence[str] | None = None, *, max_blocks: int = 1000) -> None:
        self._asked = frozenset(stop or ())
        self._stops = StopSequenceFilter([sequence for sequence in stop or () if sequence.isspace()])
        self._most_blocks = max_blocks
        self._counts: dict[str, int] = {}
        self._thought: dict[str, int] = {}
        self._complete: set[int | None] = set()
        self.is_over = False

    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse a complete answer. See `AnswerReader.parse_answer`."""
        raise_if_provider_error(document.get("error"))
        if not isinstance(document.get("content"), list):
            raise BadAnswer(FailureCategory.UNREADABLE)
        found = self._whole(document)
        found.text += self._stops.flush()
        found.reason = self._stops.correct_finish_reason(found.reason)
        found.stop_sequence = self._stop_in(document)
        return found

    def parse_event(self, document: dict[str, Any]) -> ParsedAnswer | None:
        """Parse one event of a stream. See `AnswerReader.parse_event`."""
        raise_if_provider_error(document.get("error"))
        place = parse_count(document.get("index"))
        match document.get("type"):
            case "message_start":
                return self._whole(object_or_empty(document.get("message")))
            case "content_block_start":
                return self._block(object_or_empty(document.get("content_block")), place)
            case "content_block_delta":
                return self._delta(object_or_empty(document.get("delta")), place)
            case "message_delta":
                return self._ended(document)
            case "message_stop":
                self.is_over = True
                return ParsedAnswer(text=rest) if (rest := self._stops.flush()) else None
            case _:
                return None

    def _whole(self, message: Mapping[str, Any]) -> ParsedAnswer:
        """A message as an answer; at the start of a stream the message is empty."""
        found = ParsedAnswer(
            usage=self._used(message.get("usage")),
            reason=to_chat_finish_reason(nonempty_string_or_none(message.get("stop_reason"))),
            metadata=_metadata(message),
        )
        blocks = objects_in_list(message.get("content"))
        if len(blocks) > self._most_blocks:
            raise AnswerTooLargeError(f"{self._most_blocks:,} blocks")
        for place, block in enumerate(blocks):
            if (piece := self._block(block, place)) is not None:
                found.append_piece(piece)
                found.thoughts += piece.thoughts
                found.reasoning = [*found.reasoning, *piece.reasoning]
        return found

    def _block(self, block: Mapping[str, Any], place: int | None) -> ParsedAnswer | None:
        match block.get("type"):
            case "text":
                text = text_or_empty(block.get("text"))
                return ParsedAnswer(text=self._stops.feed(text)) if text else None
            case "tool_use":
                return ParsedAnswer(calls=[self._call(block, place)])
            case "thinking" | "redacted_thinking":
                return _thought(place, block)
            case _:
                return None

    def _call(self, block: Mapping[str, Any], place: int | None) -> ToolCallPiece:
        given = block.get("input")
        if given:
            self._complete.add(place)
        arguments = json.dumps(given) if given and not isinstance(given, str) else text_or_empty(given)
        return ToolCallPiece(
            place,
            nonempty_string_or_none(block.get("id")),
            nonempty_string_or_none(block.get("name")),
            arguments,
        )

    def _delta(self, delta: Mapping[str, Any], place: int | None) -> ParsedAnswer | None:
        match delta:
            case {"text": text}:
                return ParsedAnswer(text=self._stops.feed(text_or_empty(text)))
            case {"partial_json": piece} if place not in self._complete:
                return ParsedAnswer(calls=[ToolCallPiece(place, None, None, text_or_empty(piece))])
            case {"thinking": _} | {"signature": _}:
                return _thought(place, {**delta, "type": "thinking"})
            case _:
                return None

    def _ended(self, document: Mapping[str, Any]) -> ParsedAnswer:
        delta = object_or_empty(document.get("delta"))
        return ParsedAnswer(
            usage=self._used(document.get("usage")),
            reason=self._stops.correct_finish_reason(
                to_chat_finish_reason(nonempty_string_or_none(delta.get("stop_reason")))
            ),
            stop_sequence=self._stop_in(delta),
        )

    def _stop_in(self, payload: Mapping[str, Any]) -> str | None:
        """The stop sequence that ended the text; None if the request did not ask for it."""
        sequence = payload.get("stop_sequence")
        if self._stops.matched_sequence is not None:
            return self._stops.matched_sequence
        return sequence if isinstance(sequence, str) and sequence in self._asked else None

    def _used(self, value: object) -> UsageMetadata | None:
        """The usage so far. Later counts replace earlier ones, unless they are 0.

        Anthropic counts tokens read from or written to a cache apart from the other prompt tokens.
        """
        usage = object_or_empty(value)
        reported_counts = parse_token_counts(usage, _USED)
        self._counts |= {
            name: count for name, count in reported_counts.items() if count or name not in self._counts
        }
        self._thought |= parse_token_counts(usage.get("output_tokens_details"), _USED_OUTWARD)
        if not reported_counts:
            return None
        cached: dict[str, int] = {
            name: self._counts[name] for name in ("cache_read", "cache_creation") if name in self._counts
        }
        counts = {
            "input": self._counts.get("fresh", 0) + sum(cached.values()),
            "output": self._counts.get("output", 0),
        }
        return make_usage_metadata(counts, cached, self._thought)


def _thought(place: int | None, block: Mapping[str, Any]) -> ParsedAnswer:
    """A thought, or a piece of one, with the signature that its provider wants back."""
    kept = {
        name: value
        for name in ("thinking", "signature", "data")
        if (value := nonempty_string_or_none(block.get(name)))
    }
    return ParsedAnswer(
        thoughts=kept.get("thinking", ""), reasoning=[{"type": block["type"], "index": place, **kept}]
    )


def _metadata(message: Mapping[str, Any]) -> dict[str, Any]:
    """The model that answered. Without ``model_provider``, because for Anthropic LangChain expects calls and thoughts in the content."""
    found = {
        "id": nonempty_string_or_none(message.get("id")),
        "model_name": nonempty_string_or_none(message.get("model")),
        "service_tier": nonempty_string_or_none(object_or_empty(message.get("usage")).get("service_tier")),
    }
    return {name: value for name, value in found.items() if value is not None}
