"""The parsed answer of a provider, the same type for all APIs, and the messages that are made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from ..transport import ExcessError, require_at_most
from .ask import OTHERS_KEY, REASONING_KEY, STOP_KEY, THOUGHTS_KEY
from .loose_json import as_text
from .surrogates import whole_characters
from .tool_calls import parsed_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..transport import Trust
    from .tool_calls import CallPiece

_IN_PIECES = frozenset({"text", "summary", "thinking"})


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
        others: The finish reasons of the other choices.
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
        """Add the contents of the next event, except its thoughts. The latest usage and the first finish reason count."""
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
        """The ``content`` of LangChain's message: the text, or blocks if there are media."""
        if not self.media:
            return self.text
        return [*([{"type": "text", "text": self.text}] if self.text else []), *self.media]

    def additional_kwargs(self) -> dict[str, Any]:
        """The ``additional_kwargs`` of LangChain's message: refusal and thoughts beside the provider's extras."""
        found = self.extras
        if self.refusal:
            found = {**found, "refusal": whole_characters(self.refusal)}
        if self.thoughts:
            found = {**found, THOUGHTS_KEY: whole_characters(self.thoughts)}
        if self.reasoning:
            found = {**found, REASONING_KEY: whole_blocks(self.reasoning)}
        return found

    def response_metadata(self) -> dict[str, Any]:
        """The ``response_metadata`` of LangChain's message: finish reason, stop sequence, log probabilities, model."""
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


def whole_blocks(pieces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reassemble a stream's objects, such as reasoning items, from their consecutive ``pieces``.

    Pieces of a text are joined; any other value replaces an earlier one.
    """
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
    """Merge two reports of one answer's token usage: of each count the last non-zero one.

    Some servers report input tokens first, and output tokens at the end.
    """
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


# Whole answers -------------------------------------------------------------------------------------------------------


def message_of(answer: Answer, trust: Trust) -> AIMessage:
    """Convert a whole answer into LangChain's message, with lone surrogates replaced.

    Raises:
        ExcessError: The answer exceeds the bounds of ``trust``.
    """
    Weight(trust).add(answer)
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


class Weight:
    """Adds up the sizes of an answer's parts while they arrive.

    An answer that exceeds the bounds of its server (`Trust`) is therefore dropped before its end.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._text = self._refusal = self._logprobs = 0

    def add(self, answer: Answer) -> None:
        """Add the size of ``answer``, which may be a whole answer or a piece of one.

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
