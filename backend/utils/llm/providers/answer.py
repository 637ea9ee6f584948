"""Parsed answers of providers, in one form for all APIs, and their conversion into LangChain messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from ..transport import AnswerTooLargeError, check_answer_limit
from .ask import OTHERS_KEY, REASONING_KEY, STOP_KEY, THOUGHTS_KEY
from .loose_json import text_or_empty
from .surrogates import repair_surrogates
from .tool_calls import parse_tool_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..transport import ServerTrust
    from .tool_calls import ToolCallPiece

_IN_PIECES = frozenset({"text", "summary", "thinking"})


@dataclass(slots=True)
class ParsedAnswer:
    """The parsed content of a complete answer, or of one event of a streamed answer.

    Attributes:
        thoughts: The model's reasoning, as text.
        reasoning: The reasoning as the provider's own objects, or pieces of them, to be sent back to it.
        calls: The tool calls, or pieces of tool calls.
        media: Content other than text, thoughts and tool calls, as LangChain's content blocks.
        logprobs: The log probabilities of tokens, in the form of Chat Completions.
        usage: The token counts of the whole answer so far; None if the provider has not reported them.
        reason: The finish reason, by the names of Chat Completions; None if there is none yet.
        stop_sequence: The stop sequence that ended the answer; None if the provider does not report it.
        others: The finish reasons of the second and later choices.
        extras: Further entries for the ``additional_kwargs`` of LangChain's message.
        metadata: Further entries for the ``response_metadata`` of LangChain's message.
    """

    text: str = ""
    refusal: str = ""
    thoughts: str = ""
    reasoning: Sequence[dict[str, Any]] = ()
    calls: Sequence[ToolCallPiece] = ()
    media: Sequence[dict[str, Any]] = ()
    logprobs: Sequence[dict[str, Any]] = ()
    usage: UsageMetadata | None = None
    reason: str | None = None
    stop_sequence: str | None = None
    others: Sequence[str] = ()
    extras: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def append_piece(self, event: ParsedAnswer) -> None:
        """Append the next event, but not its thoughts. The last usage and the first finish reason count."""
        self.text += event.text
        self.refusal += event.refusal
        self.calls = [*self.calls, *event.calls]
        self.media = [*self.media, *event.media]
        self.logprobs = [*self.logprobs, *event.logprobs]
        self.usage = merge_usage(self.usage, event.usage)
        self.reason = self.reason or event.reason
        self.stop_sequence = self.stop_sequence or event.stop_sequence
        self.others = [*self.others, *event.others]
        self.extras |= event.extras
        self.metadata |= event.metadata

    def message_content(self) -> str | list[str | dict[Any, Any]]:
        """Return the ``content`` for LangChain's message: the text, or a list of content blocks if there are media."""
        if not self.media:
            return self.text
        return [*([{"type": "text", "text": self.text}] if self.text else []), *self.media]

    def additional_kwargs(self) -> dict[str, Any]:
        """Return the ``additional_kwargs`` for LangChain's message: `extras`, the refusal and the thoughts."""
        found = self.extras
        if self.refusal:
            found = {**found, "refusal": repair_surrogates(self.refusal)}
        if self.thoughts:
            found = {**found, THOUGHTS_KEY: repair_surrogates(self.thoughts)}
        if self.reasoning:
            found = {**found, REASONING_KEY: join_block_pieces(self.reasoning)}
        return found

    def response_metadata(self) -> dict[str, Any]:
        """Return the ``response_metadata`` for LangChain's message: `metadata`, finish reason, log probabilities."""
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


def join_block_pieces(pieces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join adjacent ``pieces`` of streamed objects, such as reasoning items, into whole objects."""
    found = []
    for _, group in groupby(pieces, _block):
        same = list(group)
        whole = {name: value for piece in same for name, value in piece.items() if value is not None}
        for name in _IN_PIECES & whole.keys():
            if isinstance(whole[name], str):
                whole[name] = "".join(text_or_empty(piece.get(name)) for piece in same)
        found.append(whole)
    return found


def _block(piece: dict[str, Any]) -> object:
    """The identity of an object: equal for all of its pieces."""
    place = piece.get("index")
    return [piece.get("type"), piece.get("id") if place is None else place, piece.get("data")]


# Usage ---------------------------------------------------------------------------------------------------------------


def make_usage_metadata(
    counts: Mapping[str, int], input_details: Mapping[str, int], output_details: Mapping[str, int]
) -> UsageMetadata | None:
    """Build LangChain's ``usage_metadata``; None if the counts of input and output are missing or 0.

    xAI does not count reasoning tokens as output, and some gateways do not count cached tokens as input. They
    are added if that explains the difference between the total and the other counts exactly.

    Args:
        counts: The counts ``input``, ``output`` and ``total``; each may be missing.
        input_details: The input tokens by kind, such as ``cache_read``.
        output_details: The output tokens by kind, such as ``reasoning``.
    """
    asked, answered = counts.get("input", 0), counts.get("output", 0)
    if not asked and not answered:
        return None
    total = counts.get("total") or asked + answered
    if beyond := total - asked - answered:
        if beyond == output_details.get("reasoning"):
            answered += beyond
        elif beyond == input_details.get("cache_read", 0) + input_details.get("cache_creation", 0):
            asked += beyond
    return UsageMetadata(
        input_tokens=asked,
        output_tokens=answered,
        total_tokens=total,
        input_token_details=InputTokenDetails(**input_details),  # type: ignore[typeddict-item]
        output_token_details=OutputTokenDetails(**output_details),  # type: ignore[typeddict-item]
    )


def merge_usage(earlier: UsageMetadata | None, later: UsageMetadata | None) -> UsageMetadata | None:
    """Merge two usage reports of one answer: each count is the later one, or the earlier one if the later is 0."""
    if earlier is None or later is None:
        return later or earlier
    if later["input_tokens"] and later["output_tokens"]:
        return later
    input_tokens, output_tokens = (later[name] or earlier[name] for name in ("input_tokens", "output_tokens"))
    return UsageMetadata(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
        input_token_details={
            **earlier.get("input_token_details", {}),
            **later.get("input_token_details", {}),
        },
        output_token_details={
            **earlier.get("output_token_details", {}),
            **later.get("output_token_details", {}),
        },
    )


# Whole answers -------------------------------------------------------------------------------------------------------


def to_ai_message(answer: ParsedAnswer, trust: ServerTrust) -> AIMessage:
    """Convert a complete answer into LangChain's ``AIMessage``. Lone surrogates in its text are replaced.

    Raises:
        AnswerTooLargeError: The answer exceeds the bounds of ``trust``.
    """
    AnswerSizeLimiter(trust).add_answer(answer)
    if not answer.text.isascii():
        answer.text = repair_surrogates(answer.text)
    good, bad = parse_tool_calls(answer.calls, trust) if answer.calls else ([], [])
    return AIMessage(
        content=answer.message_content(),
        additional_kwargs=answer.additional_kwargs(),
        tool_calls=good,
        invalid_tool_calls=bad,
        usage_metadata=answer.usage,
        response_metadata=answer.response_metadata(),
    )


class AnswerSizeLimiter:
    """Adds up the size of an answer while it arrives, and raises an error when it exceeds a bound of `ServerTrust`."""

    def __init__(self, trust: ServerTrust) -> None:
        self._trust = trust
        self._text = self._refusal = self._logprobs = 0

    def add_answer(self, answer: ParsedAnswer) -> None:
        """Add the size of ``answer``: a complete answer, or the next piece of a stream.

        Raises:
            AnswerTooLargeError: The answer exceeds a bound.
        """
        trust = self._trust
        self._text += len(answer.text) + len(answer.thoughts)
        if self._text > trust.most_text:
            raise AnswerTooLargeError(f"{trust.most_text:,} characters")
        if len(answer.text) > trust.most_values:
            check_answer_limit(sum(map(answer.text.count, ",:[{")), trust.most_values, "values in a text")
        if answer.refusal:
            self._refusal += len(answer.refusal)
            check_answer_limit(self._refusal, trust.most_refusal, "characters of a refusal")
        if answer.logprobs:
            self._logprobs += len(answer.logprobs)
            check_answer_limit(self._logprobs, trust.most_logprobs, "tokens with their probabilities")
