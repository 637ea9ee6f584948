"""The parsed answer of a provider, the same type for all APIs, and the messages that are made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from ..transport import ExcessError, require_at_most
from .ask import OTHERS_KEY, REASONING_KEY, STOP_KEY, THOUGHTS_KEY
from .loose_json import as_text
from .surrogates import UNKNOWN, split_off, whole_characters
from .tool_calls import CallStream, chunk_of_call, one_for_each, parsed_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..transport import Trust
    from .tool_calls import CallPiece

_IN_PIECES = frozenset({"text", "summary", "thinking"})
EAGER = 250
"""The number of a stream's events that become one chunk each. Later events may be joined, because a chunk costs LangChain
and its callbacks a hundred times what an event costs to read."""


@dataclass(slots=True)
class Answer:
    """The contents of a whole answer, or of one event of a stream.

    Attributes:
        thoughts: The model's thoughts (reasoning), as text.
        reasoning: The thoughts as the provider's own objects, to be sent back; in a stream they may be in pieces.
        media: Content other than text, thoughts and calls, as LangChain's content blocks.
        logprobs: The log probabilities of tokens, in the form of Chat Completions.
        usage: The tokens of the whole answer so far, if the provider reported them.
        reason: The finish reason, by the names of Chat Completions; None if there is none yet.
        stop_sequence: The stop sequence of the request that ended the answer, if the provider tells.
        others: The finish reasons of choices beside the first.
        extras: The message's ``additional_kwargs``.
        metadata: The message's ``response_metadata``, such as the model's name.
    """

    text: str = ""
    refusal: str = ""
    thoughts: str = ""
    reasoning: Sequence[dict[str, Any]] = ()
    calls: Sequence[CallPiece] = ()
    media: Sequence[dict[str, Any]] = ()
    logprobs: Sequence[dict[str, Any]] = ()
    usage: UsageMetadata | None = None
    reason: str | None = None
    stop_sequence: str | None = None
    others: Sequence[str] = ()
    extras: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def join(self, other: Answer) -> None:
        """Add the next event, except its thoughts. The last usage and the first finish reason count."""
        self.text += other.text
        self.refusal += other.refusal
        self.calls = [*self.calls, *other.calls]
        self.media = [*self.media, *other.media]
        self.logprobs = [*self.logprobs, *other.logprobs]
        self.usage = latest_usage(self.usage, other.usage)
        self.reason = self.reason or other.reason
        self.stop_sequence = self.stop_sequence or other.stop_sequence
        self.others = [*self.others, *other.others]
        self.extras |= other.extras
        self.metadata |= other.metadata

    def content(self) -> str | list[str | dict[Any, Any]]:
        """The message's content."""
        if not self.media:
            return self.text
        return [*([{"type": "text", "text": self.text}] if self.text else []), *self.media]

    def additional_kwargs(self) -> dict[str, Any]:
        """The message's ``additional_kwargs``."""
        found = self.extras
        if self.refusal:
            found = {**found, "refusal": whole_characters(self.refusal)}
        if self.thoughts:
            found = {**found, THOUGHTS_KEY: whole_characters(self.thoughts)}
        if self.reasoning:
            found = {**found, REASONING_KEY: _whole_blocks(self.reasoning)}
        return found

    def response_metadata(self) -> dict[str, Any]:
        """The message's ``response_metadata``."""
        found = dict(self.metadata)
        if self.thoughts:
            found.pop("model_provider", None)
        if self.reason is not None:
            found["finish_reason"] = self.reason
        if self.stop_sequence is not None:
            found[STOP_KEY] = self.stop_sequence
        if self.logprobs:
            found["logprobs"] = {"content": list(self.logprobs)}
        if self.others:
            found[OTHERS_KEY] = list(self.others)
        return found


def _whole_blocks(pieces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects made of ``pieces``: texts come in pieces, everything else whole, or again."""
    found = []
    for _, group in groupby(pieces, _block):
        same = list(group)
        whole = {name: value for piece in same for name, value in piece.items() if value is not None}
        for name in _IN_PIECES & whole.keys():
            if isinstance(whole[name], str):
                whole[name] = "".join(as_text(piece.get(name)) for piece in same)
        found.append(whole)
    return found


def _block(piece: dict[str, Any]) -> object:
    """The identity of an object: equal for all of its pieces."""
    place = piece.get("index")
    return [piece.get("type"), piece.get("id") if place is None else place, piece.get("data")]


# Usage ---------------------------------------------------------------------------------------------------------------


def usage_of(
    counts: Mapping[str, int], inward: Mapping[str, int], outward: Mapping[str, int]
) -> UsageMetadata | None:
    """Token counts as LangChain's ``usage_metadata``; None if the provider reported none, or only zeros.

    If the total exceeds input plus output by exactly one detail, this detail is added to its side: xAI does not count
    thoughts as output, and some gateways do not count cached tokens as input.

    Args:
        counts: ``input``, ``output``, ``total``, as far as they were reported.
        inward: The details of the input, by kind.
        outward: The details of the output, by kind.
    """
    asked, answered = counts.get("input", 0), counts.get("output", 0)
    if not asked and not answered:
        return None
    total = counts.get("total") or asked + answered
    if beyond := total - asked - answered:
        if beyond == outward.get("reasoning"):
            answered += beyond
        elif beyond == inward.get("cache_read", 0) + inward.get("cache_creation", 0):
            asked += beyond
    return UsageMetadata(
        input_tokens=asked,
        output_tokens=answered,
        total_tokens=total,
        input_token_details=InputTokenDetails(**inward),  # type: ignore[typeddict-item]
        output_token_details=OutputTokenDetails(**outward),  # type: ignore[typeddict-item]
    )


def latest_usage(before: UsageMetadata | None, now: UsageMetadata | None) -> UsageMetadata | None:
    """The last non-zero count of each kind: some servers report input tokens first, output tokens at the end."""
    if before is None or now is None:
        return now or before
    if now["input_tokens"] and now["output_tokens"]:
        return now
    told, answered = (now[name] or before[name] for name in ("input_tokens", "output_tokens"))
    return UsageMetadata(
        input_tokens=told,
        output_tokens=answered,
        total_tokens=told + answered,
        input_token_details={**before.get("input_token_details", {}), **now.get("input_token_details", {})},
        output_token_details={
            **before.get("output_token_details", {}),
            **now.get("output_token_details", {}),
        },
    )


def _difference(now: Any, before: Any) -> Any:
    """The value to add to ``before`` to get ``now``, because LangChain adds chunks up."""
    if isinstance(now, dict):
        before = before or {}
        return {name: _difference(now.get(name), before.get(name)) for name in {**before, **now}}
    return (now or 0) - (before or 0)


# Whole answers -------------------------------------------------------------------------------------------------------


def message_of(answer: Answer, trust: Trust) -> AIMessage:
    """A whole answer as a message.

    Raises:
        ExcessError: The answer exceeds the bounds of ``trust``.
    """
    _Weight(trust).add(answer)
    if not answer.text.isascii():
        answer.text = whole_characters(answer.text)
    good, bad = parsed_calls(answer.calls, trust) if answer.calls else ([], [])
    return AIMessage(
        content=answer.content(),
        additional_kwargs=answer.additional_kwargs(),
        tool_calls=good,
        invalid_tool_calls=bad,
        usage_metadata=answer.usage,
        response_metadata=answer.response_metadata(),
    )


class _Weight:
    """The size of an answer so far."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._text = self._refusal = self._logprobs = 0

    def add(self, answer: Answer) -> None:
        """Add the size of ``answer``, or of a piece of one.

        Raises:
            ExcessError: The answer exceeds a bound.
        """
        trust = self._trust
        self._text += len(answer.text) + len(answer.thoughts)
        if self._text > trust.most_text:
            raise ExcessError(f"{trust.most_text:,} characters")
        if len(answer.text) > trust.most_values:
            require_at_most(sum(map(answer.text.count, ",:[{")), trust.most_values, "values in a text")
        if answer.refusal:
            self._refusal += len(answer.refusal)
            require_at_most(self._refusal, trust.most_refusal, "characters of a refusal")
        if answer.logprobs:
            self._logprobs += len(answer.logprobs)
            require_at_most(self._logprobs, trust.most_logprobs, "tokens with their probabilities")


# Streams -------------------------------------------------------------------------------------------------------------


class AnswerStream:
    """Turns the events of one stream into LangChain's chunks.

    Attributes:
        has_ended: Whether the last event with content had a finish reason, so that only usage may follow.
        is_done: Whether the finish reason came without content. Some servers send one with every piece of text.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._weight = _Weight(trust)
        self._calls = CallStream(trust)
        self._usage: UsageMetadata | None = None
        self._metadata: dict[str, Any] = {}
        self._pending: Answer | None = None
        self._half = ""
        self._thoughts: list[str] = []
        self._reasoning: list[dict[str, Any]] = []
        self._has_thoughts = self._has_begun = self._only_thinks = False
        self.has_ended = self.is_done = False
        self._joined = self._given = 0
        self._reason: str | None = None
        self._tells_stop = True

    @property
    def is_due(self) -> bool:
        """Whether the added events must become a chunk at once, even if more events have arrived."""
        if self._pending is None or self._only_thinks:
            return False
        if self._given < EAGER or self._pending.calls:
            return True
        return self._trust.bounds_chunks and self._joined > self._given // EAGER

    def may_wait(self, *, has_more: bool) -> bool:
        """Whether added events that are not due may wait for the next event; ``has_more`` tells whether that has arrived already."""
        return has_more or self._trust.bounds_chunks or self._only_thinks

    def add(self, piece: Answer) -> None:
        """Add the contents of an event.

        Raises:
            ExcessError: The answer is too long.
        """
        if piece.calls:
            piece.calls = self._calls.add(piece.calls)
        self._weight.add(piece)
        if self._half or not piece.text.isascii():
            piece.text, self._half = split_off(self._half + piece.text)
        if piece.thoughts:
            self._thoughts.append(piece.thoughts)
            self._has_thoughts = True
        self._reasoning += piece.reasoning
        says = bool(piece.text or piece.calls or piece.media)
        self._has_begun = self._has_begun or says or piece.reason is not None
        # Until then thoughts are not handed on: they are one chunk, with the first word of the answer.
        self._only_thinks = self._has_thoughts and not self._has_begun
        if says or piece.reason is not None:
            self.has_ended, self.is_done = piece.reason is not None, not says
        self._joined += 1
        self._pending = _joined(self._pending, piece)

    def chunk(self) -> ChatGenerationChunk | None:
        """A chunk of all events added since the last chunk; None if none were."""
        piece, self._pending = self._pending, None
        if piece is None:
            return None
        self._joined, self._given = 0, self._given + 1
        piece.thoughts, piece.reasoning, self._thoughts = "".join(self._thoughts), (), []
        return _chunk_of(self._with_news_only(piece))

    def _with_news_only(self, piece: Answer) -> Answer:
        """``piece`` with finish reason, stop sequence and metadata only once, and with the increase of usage."""
        if piece.usage is not None:
            told, self._usage = self._usage, latest_usage(self._usage, piece.usage)
            piece.usage = None if told == self._usage else _difference(self._usage, told)
        if piece.metadata:
            self._metadata |= piece.metadata
        if piece.stop_sequence is not None:
            piece.stop_sequence, self._tells_stop = piece.stop_sequence if self._tells_stop else None, False
        is_end = self._reason is None and piece.reason is not None
        self._reason = self._reason or piece.reason
        piece.reason, piece.metadata = (piece.reason, self._metadata) if is_end else (None, {})
        if self._has_thoughts:
            piece.metadata.pop("model_provider", None)
        return piece

    def flush(self) -> ChatGenerationChunk | None:
        """The last chunk, with the content held back until the end of the stream; None if nothing was.

        Raises:
            ExcessError: Too many characters of tool calls' arguments are no JSON.
        """
        reason = self._reason or (self._pending.reason if self._pending is not None else None)
        held = self._calls.held_back(was_cut=reason == "length")
        last = Answer(UNKNOWN if self._half else "", calls=self._calls.without_id())
        if self._pending is not None and self._pending.calls:
            last.calls, held = [*last.calls, *held], []
        if held or last.text or last.calls or self._reasoning or (self._reason is None and self._metadata):
            self._pending = _joined(self._pending, last)
        made = self.chunk()
        if made is not None and self._reasoning:
            # Once and whole: LangChain would join the objects' names as well.
            made.message.additional_kwargs[REASONING_KEY] = _whole_blocks(self._reasoning)
        if made is not None and held:
            # Put in afterwards: LangChain would read each piece as if it was the whole.
            made.message.tool_call_chunks += map(chunk_of_call, held)  # type: ignore[attr-defined]
        return made


def _joined(first: Answer | None, second: Answer) -> Answer:
    if first is None:
        return second
    first.join(second)
    return first


def _chunk_of(piece: Answer) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content=piece.content(),
        additional_kwargs=piece.additional_kwargs(),
        response_metadata=piece.response_metadata(),
        usage_metadata=piece.usage,
        tool_call_chunks=[chunk_of_call(call) for call in one_for_each(piece.calls)] if piece.calls else [],
    )
    return ChatGenerationChunk(message=message)
