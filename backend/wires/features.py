"""Answers requests by calling the chat model of a feature or group."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, get_args

from backend.utils.llm.errors import NoEndpointError
from backend.utils.llm.options import Options
from backend.utils.llm.providers.ask import REASONING_KEY, STOP_KEY, THOUGHTS_KEY
from backend.utils.llm.receipt import RECEIPT_KEY, Usage

from .answer import (
    NOTHING_USED,
    Answer,
    Choice,
    ChoiceStarted,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningItems,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    total_usage,
)
from .merging import all_of, merged
from .tool_names import ToolNames, names_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk

    from .answer import Event
    from .request import CompletionRequest

_SOFT: Final = (
    frozenset({"temperature", "top_p", "seed", "service_tier", "verbosity"}),
    frozenset({"max_output_tokens"}),
)
"""Options that are left out, step by step, where no endpoint takes them: clients set these without knowing who serves."""
_REASONS: Final[frozenset[str]] = frozenset(get_args(FinishReason))


class Models(Protocol):
    """What is needed of `Patchbay` to answer requests: its chat models, by name."""

    def get_llm(self, feature: str) -> BaseChatModel:
        """Get the chat model of the feature or group called ``feature``."""
        ...

    def chat_models(self) -> Mapping[str, str]:
        """The names of all chat models with their descriptions: features, then groups."""
        ...

    def has_chat_model(self, name: str) -> bool:
        """Whether there is a chat model called ``name``."""
        ...


class FeatureResponder:
    """Answers requests by calling one feature's or group's chat model, once for each wanted choice."""

    def __init__(self, models: Models, name: str) -> None:
        self._models = models
        self._name = name

    async def answer(self, request: CompletionRequest) -> Answer:
        """The complete answer. See `Responder.answer`."""
        names = ToolNames(names_of(request.tools))
        if names:
            return names.in_answer(await self.answer(names.in_request(request)))
        calls = [self._answer(request, call_id) for call_id in request.ids]
        found = [await calls[0]] if len(calls) == 1 else await all_of(calls)
        return Answer([choice for choice, _ in found], found[0][1])

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        """The answer as a stream of events. See `Responder.stream`."""
        names = ToolNames(names_of(request.tools))
        if names:
            return names.in_events(self.stream(names.in_request(request)))
        streams = [self._stream(request, number, call_id) for number, call_id in enumerate(request.ids)]
        return streams[0] if len(streams) == 1 else merged(streams)

    async def _answer(self, request: CompletionRequest, call_id: str) -> tuple[Choice, Sequence[str]]:
        model = self._models.get_llm(self._name)
        for options, ignored, is_last in _weaker(request.options, is_strict=request.is_strict):
            settings = settings_of(request, options, call_id)
            try:
                message = await model.ainvoke(list(request.messages), **settings)
            except NoEndpointError:
                if is_last:
                    raise
            else:
                return choice_of(message), ignored
        raise AssertionError

    async def _stream(self, request: CompletionRequest, number: int, call_id: str) -> AsyncGenerator[Event]:
        model = self._models.get_llm(self._name)
        for options, ignored, is_last in _weaker(request.options, is_strict=request.is_strict):
            settings = settings_of(request, options, call_id)
            chunks = cast("AsyncGenerator[AIMessageChunk]", model.astream(list(request.messages), **settings))
            try:
                first = await anext(chunks)
            except NoEndpointError:
                if is_last:
                    raise
                continue
            yield ChoiceStarted(ignored, number)
            reader = _ChunkReader(number)
            async with aclosing(chunks):
                for event in reader.events(first):
                    yield event
                async for chunk in chunks:
                    for event in reader.events(chunk):
                        yield event
            yield reader.end()
            return


def _weaker(options: Options, *, is_strict: bool) -> Iterator[tuple[Options, Sequence[str], bool]]:
    """``options``, then fewer, without those that no endpoint supports; with the names of these, and whether it is the last try."""
    steps, left_out = [(options, frozenset[str]())], frozenset[str]()
    for names in () if is_strict else _SOFT:
        if given := names & options.model_fields_set:
            left_out |= given
            kept = options.model_fields_set - left_out
            steps.append((Options(**{name: getattr(options, name) for name in kept}), left_out))
    for number, (weaker, ignored) in enumerate(steps, 1):
        yield weaker, tuple(sorted(ignored)), number == len(steps)


def settings_of(request: CompletionRequest, options: Options, call_id: str) -> dict[str, Any]:
    """The keyword arguments for the chat model's call that answers ``request``: options, tools, stop sequences and so on."""
    settings = {name: getattr(options, name) for name in options.model_fields_set}
    settings["call_id"] = call_id
    if request.stop:
        settings["stop"] = list(request.stop)
    if request.tools:
        settings["tools"] = list(request.tools)
        settings["tool_choice"] = request.tool_choice
        settings["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        settings["response_format"] = request.response_format
    if request.cache_key is not None:
        settings["cache_key"] = request.cache_key
    return settings


# Whole answers -------------------------------------------------------------------------------------------------------


def choice_of(message: AIMessage) -> Choice:
    """Translate the model's complete message into a `Choice`."""
    extras, metadata = message.additional_kwargs, message.response_metadata
    calls = [
        *(ToolCall(call["id"] or "", call["name"], json.dumps(call["args"])) for call in message.tool_calls),
        *(
            ToolCall(call["id"] or "", call["name"] or "", call["args"] or "")
            for call in message.invalid_tool_calls
        ),
    ]
    receipt = metadata.get(RECEIPT_KEY, {})
    return Choice(
        text=message.text,
        refusal=extras.get("refusal") or "",
        reasoning=extras.get(THOUGHTS_KEY) or "",
        reasoning_items=extras.get(REASONING_KEY) or (),
        calls=calls,
        finish_reason=_reason(metadata.get("finish_reason"), calls=bool(calls)),
        stop_sequence=metadata.get(STOP_KEY),
        usage=Usage.of(message.usage_metadata) or _estimated(receipt),
        logprobs=(metadata.get("logprobs") or {}).get("content") or (),
        receipt=receipt,
    )


def _reason(told: object, *, calls: bool) -> FinishReason:
    """The finish reason, corrected for models that call tools and report a normal stop."""
    if calls and told != "length":
        return "tool_calls"
    return told if told in _REASONS else "stop"  # type: ignore[return-value]


def _estimated(receipt: Mapping[str, Any]) -> Usage:
    """The usage in the receipt, for an answer whose provider reported none."""
    attempts = receipt.get("attempts") or ()
    found = next((one["usage"] for one in reversed(attempts) if one["usage"]), None)
    return Usage(**found) if found else NOTHING_USED


# Streams -------------------------------------------------------------------------------------------------------------


class _ChunkReader:
    """Reads the chunks of one choice as events."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._places: dict[object, int] = {}
        self._reason: object = None
        self._stop_sequence: str | None = None
        self._usage: list[Usage] = []
        self._receipt: Mapping[str, Any] = {}

    def events(self, chunk: AIMessageChunk) -> Iterator[Event]:
        """The events for ``chunk``. Usage in chunks adds up."""
        extras, metadata, choice = chunk.additional_kwargs, chunk.response_metadata, self._choice
        if chunk.usage_metadata:
            self._usage.append(Usage.of(chunk.usage_metadata) or Usage())
        if metadata:
            self._reason = metadata.get("finish_reason", self._reason)
            self._stop_sequence = metadata.get(STOP_KEY, self._stop_sequence)
            self._receipt = metadata.get(RECEIPT_KEY, self._receipt)
        if extras and (thoughts := extras.get(THOUGHTS_KEY)):
            yield ReasoningDelta(thoughts, choice)
        if extras and (refusal := extras.get("refusal")):
            yield RefusalDelta(refusal, choice)
        logprobs = (metadata.get("logprobs") or {}).get("content") if metadata else None
        if (text := chunk.text) or logprobs:
            yield TextDelta(text, choice, logprobs or ())
        for call in chunk.tool_call_chunks:
            place = self._places.setdefault(call["index"], len(self._places))
            yield ToolCallDelta(place, call["id"], call["name"], call["args"] or "", choice)
        if extras and (items := extras.get(REASONING_KEY)):
            yield ReasoningItems(items, choice)

    def end(self) -> Finished:
        """The end of the choice."""
        usage = total_usage(self._usage) if self._usage else _estimated(self._receipt)
        reason = _reason(self._reason, calls=bool(self._places))
        return Finished(reason, usage, self._receipt, self._choice, self._stop_sequence)
