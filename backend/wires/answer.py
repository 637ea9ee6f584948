"""The form of answers that all wires share: complete (`Answer`), or as the events of a stream (`Event`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from backend.utils.llm.receipt import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .faults import RequestFault

NOTHING_USED: Final = TokenUsage()
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended, in the terms of Chat Completions."""


class ToolCall(NamedTuple):
    """A tool call in a model's answer. ``arguments`` is the text that the model wrote: usually JSON, but perhaps invalid."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One complete answer of the model. A request with ``n`` greater than 1 gets several choices.

    Attributes:
        refusal: The text of the model's refusal; empty if the model does not refuse.
        reasoning: The model's reasoning as text; empty if the provider sends none.
        reasoning_items: The provider's own reasoning items, which the client returns unchanged in its next request.
        calls: The tool calls.
        logprobs: The tokens' log probabilities, in the form of Chat Completions.
        receipt: The receipt of the call; empty if there is none.
        stop_sequence: The stop sequence that ended the choice; None if there was none, or if it is unknown.
    """

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    reasoning_items: Sequence[Mapping[str, Any]] = ()
    calls: Sequence[ToolCall] = ()
    finish_reason: FinishReason = "stop"
    usage: TokenUsage = NOTHING_USED
    logprobs: Sequence[Mapping[str, Any]] = ()
    receipt: Mapping[str, Any] = field(default_factory=dict)
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The complete answer to a request: all of its choices.

    Attributes:
        ignored: The names of requested options that were left out, because no endpoint supports them.
    """

    choices: Sequence[Choice]
    ignored: Sequence[str] = ()

    @property
    def usage(self) -> TokenUsage:
        """The sum of the token usage of all choices. Each choice is a separate call of the model."""
        return sum_usage(choice.usage for choice in self.choices)


def sum_usage(usages: Iterable[TokenUsage]) -> TokenUsage:
    """Add up the token usage of several calls, field by field."""
    return TokenUsage(*map(sum, zip(*usages, strict=True)))


# Streams -------------------------------------------------------------------------------------------------------------


class ChoiceStarted(NamedTuple):
    """The first event of a choice, sent when the model's first output arrives.

    Attributes:
        ignored: The names of requested options that were left out, because no endpoint supports them.
        choice: The index of the choice, from 0.
    """

    ignored: Sequence[str] = ()
    choice: int = 0


class TextDelta(NamedTuple):
    """The next piece of a choice's text, with its tokens' log probabilities."""

    text: str
    choice: int = 0
    logprobs: Sequence[Mapping[str, Any]] = ()


class RefusalDelta(NamedTuple):
    """The next piece of the text with which the model refuses to answer."""

    text: str
    choice: int = 0


class ReasoningDelta(NamedTuple):
    """The next piece of the model's reasoning text."""

    text: str
    choice: int = 0


class ReasoningItems(NamedTuple):
    """The provider's own reasoning items of a choice, complete, which the client returns in its next request."""

    items: Sequence[Mapping[str, Any]]
    choice: int = 0


class ToolCallDelta(NamedTuple):
    """The beginning of a tool call, or the next piece of its arguments.

    Attributes:
        place: The index of the tool call among the calls of its choice, from 0.
        id: The id of the call; None in later pieces of the same call.
        name: The name of the tool; None in later pieces of the same call.
        arguments: The next piece of the arguments' JSON text.
        choice: The index of the choice, from 0.
    """

    place: int
    id: str | None
    name: str | None
    arguments: str
    choice: int = 0


class ChoiceFinished(NamedTuple):
    """The last event of a choice: its finish reason, token usage and receipt.

    Attributes:
        choice: The index of the choice, from 0.
        stop_sequence: The stop sequence that ended the choice; None if there was none, or if it is unknown.
    """

    reason: FinishReason
    usage: TokenUsage
    receipt: Mapping[str, Any]
    choice: int = 0
    stop_sequence: str | None = None


class StreamFailed(NamedTuple):
    """The last event of a stream that fails before the answer is complete."""

    fault: RequestFault


Event = (
    ChoiceStarted
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningItems
    | ToolCallDelta
    | ChoiceFinished
    | StreamFailed
)
"""An event of a stream. Each choice begins with `ChoiceStarted` and ends with `ChoiceFinished`, or the whole stream with `StreamFailed`."""
