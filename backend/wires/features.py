"""Answers requests by calling the chat model of a feature or group."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, get_args

from backend.utils.llm.errors import NoEndpointError
from backend.utils.llm.options import Options
from backend.utils.llm.providers.ask import REASONING_KEY, STOP_KEY, THOUGHTS_KEY
from backend.utils.llm.receipt import RECEIPT_KEY, TokenUsage

from .answer import (
    NOTHING_USED,
    Answer,
    Choice,
    ChoiceFinished,
    ChoiceStarted,
    FinishReason,
    ReasoningDelta,
    ReasoningItems,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    sum_usage,
)
from .merging import gather_or_cancel, merge_streams
from .tool_names import ToolNameReplacer, list_tool_names

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


class ChatModelRegistry(Protocol):
    """Looks up chat models by name. The methods of `Patchbay` that are needed to answer requests."""

    def get_llm(self, feature: str) -> BaseChatModel:
        """Get the chat model of a feature or group."""
        ...

    def chat_models(self) -> Mapping[str, str]:
        """The description of each chat model, by the name of its feature or group: features first, then groups."""
        ...

    def has_chat_model(self, name: str) -> bool:
        """Whether a feature or group called ``name`` has a chat model."""
        ...


class FeatureResponder:
    """Answers requests with the chat model of one feature or group, which is called once for each requested choice."""

    def __init__(self, models: ChatModelRegistry, name: str) -> None:
        self._models = models
        self._name = name

    async def answer(self, request: CompletionRequest) -> Answer:
        """Call the model, and return its complete answer. See `Responder.answer`."""
        names = ToolNameReplacer(list_tool_names(request.tools))
        if names:
            return names.restore_in_answer(await self.answer(names.replace_in_request(request)))
        calls = [self._answer(request, call_id) for call_id in request.ids]
        found = [await calls[0]] if len(calls) == 1 else await gather_or_cancel(calls)
        return Answer([choice for choice, _ in found], found[0][1])

    def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        """Call the model, and yield its answer as events. See `Responder.stream`."""
        names = ToolNameReplacer(list_tool_names(request.tools))
        if names:
            return names.restore_in_events(self.stream(names.replace_in_request(request)))
        streams = [self._stream(request, number, call_id) for number, call_id in enumerate(request.ids)]
        return streams[0] if len(streams) == 1 else merge_streams(streams)

    async def _answer(self, request: CompletionRequest, call_id: str) -> tuple[Choice, Sequence[str]]:
        model = self._models.get_llm(self._name)
        for options, ignored, is_last in _weaker(request.options, is_strict=request.is_strict):
            settings = make_call_kwargs(request, options, call_id)
            try:
                message = await model.ainvoke(list(request.messages), **settings)
            except NoEndpointError:
                if is_last:
                    raise
            else:
                return choice_from_message(message), ignored
        raise AssertionError

    async def _stream(self, request: CompletionRequest, number: int, call_id: str) -> AsyncGenerator[Event]:
        model = self._models.get_llm(self._name)
        for options, ignored, is_last in _weaker(request.options, is_strict=request.is_strict):
            settings = make_call_kwargs(request, options, call_id)
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


def make_call_kwargs(request: CompletionRequest, options: Options, call_id: str) -> dict[str, Any]:
    """Build the keyword arguments with which the chat model is called for ``request``.

    Args:
        request: The request. Its tools, stop sequences and response format are among the arguments.
        options: The options of the call: those of the request, perhaps without some that no endpoint supports.
        call_id: The id of the call.
    """
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


def choice_from_message(message: AIMessage) -> Choice:
    """Translate the complete message of a chat model into a `Choice`."""
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
        usage=TokenUsage.from_metadata(message.usage_metadata) or _estimated(receipt),
        logprobs=(metadata.get("logprobs") or {}).get("content") or (),
        receipt=receipt,
    )


def _reason(reason: object, *, calls: bool) -> FinishReason:
    """The finish reason, corrected for models that call tools and report a normal stop."""
    if calls and reason != "length":
        return "tool_calls"
    return reason if reason in _REASONS else "stop"  # type: ignore[return-value]


def _estimated(receipt: Mapping[str, Any]) -> TokenUsage:
    """The usage in the receipt, for an answer whose provider reported none."""
    attempts = receipt.get("attempts") or ()
    found = next((attempt["usage"] for attempt in reversed(attempts) if attempt["usage"]), None)
    return TokenUsage(**found) if found else NOTHING_USED


# Streams -------------------------------------------------------------------------------------------------------------


class _ChunkReader:
    """Reads the chunks of one choice as events."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._places: dict[object, int] = {}
        self._reason: object = None
        self._stop_sequence: str | None = None
        self._usage: list[TokenUsage] = []
        self._receipt: Mapping[str, Any] = {}

    def events(self, chunk: AIMessageChunk) -> Iterator[Event]:
        """The events for ``chunk``. Usage in chunks adds up."""
        extras, metadata, choice = chunk.additional_kwargs, chunk.response_metadata, self._choice
        if chunk.usage_metadata:
            self._usage.append(TokenUsage.from_metadata(chunk.usage_metadata) or TokenUsage())
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

    def end(self) -> ChoiceFinished:
        """The end of the choice."""
        usage = sum_usage(self._usage) if self._usage else _estimated(self._receipt)
        reason = _reason(self._reason, calls=bool(self._places))
        return ChoiceFinished(reason, usage, self._receipt, self._choice, self._stop_sequence)
