"""The form of answers that all wires share: complete (`Answer`), or as the events of a stream (`Event`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from backend.utils.llm.receipt import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .faults import Fault

NOTHING_USED: Final = Usage()
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended, in the terms of Chat Completions."""


class ToolCall(NamedTuple):
    """A tool call in a model's answer. ``arguments`` is the text that the model wrote: usually JSON, but perhaps invalid."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One complete answer of the model. A request with ``n`` greater than 1 gets several.

    Attributes:
        refusal: The model's refusal; empty if it does not refuse.
        reasoning: The reasoning text, as far as the provider sends it.
        reasoning_items: The reasoning as the provider's own items, to be sent back unchanged.
        logprobs: The tokens' log probabilities, in the form of Chat Completions.
        receipt: The receipt of the call; empty if there is none.
        stop_sequence: The stop sequence of the request that ended the choice, if the provider names it.
    """

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    reasoning_items: Sequence[Mapping[str, Any]] = ()
    calls: Sequence[ToolCall] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = NOTHING_USED
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
    def usage(self) -> Usage:
        """The token usage of all choices added up; each choice was a call of its own."""
        return total_usage(choice.usage for choice in self.choices)


def total_usage(parts: Iterable[Usage]) -> Usage:
    """Add up the token usage of several calls."""
    return Usage(*map(sum, zip(*parts, strict=True)))


# Streams -------------------------------------------------------------------------------------------------------------


class ChoiceStarted(NamedTuple):
    """The first event of a choice, sent when its first content has arrived. ``ignored`` names options that were left out."""

    ignored: Sequence[str] = ()
    choice: int = 0


class TextDelta(NamedTuple):
    """The next piece of a choice's text, with its tokens' log probabilities."""

    text: str
    choice: int = 0
    logprobs: Sequence[Mapping[str, Any]] = ()


class RefusalDelta(NamedTuple):
    """The next piece of the model's refusal."""

    text: str
    choice: int = 0


class ReasoningDelta(NamedTuple):
    """The next piece of the model's reasoning."""

    text: str
    choice: int = 0


class ReasoningItems(NamedTuple):
    """The provider's own reasoning items, which the client sends back in its next request. Comes once, complete, near the end."""

    items: Sequence[Mapping[str, Any]]
    choice: int = 0


class ToolCallDelta(NamedTuple):
    """The beginning of a tool call, or the next piece of its arguments.

    Attributes:
        place: The index, from 0, of the tool call among the choice's calls.
        id: The id of the call in its first piece, where ``name`` is set too; None later.
    """

    place: int
    id: str | None
    name: str | None
    arguments: str
    choice: int = 0


class Finished(NamedTuple):
    """The last event of a choice, with its finish reason, usage and receipt. ``stop_sequence`` is as in `Choice`."""

    reason: FinishReason
    usage: Usage
    receipt: Mapping[str, Any]
    choice: int = 0
    stop_sequence: str | None = None


class Failed(NamedTuple):
    """The last event of a stream that ends with an error before the answer is complete."""

    fault: Fault


Event = (
    ChoiceStarted
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningItems
    | ToolCallDelta
    | Finished
    | Failed
)
"""An event of a stream. Each choice begins with `ChoiceStarted` and ends with `Finished`, or the whole stream with `Failed`."""
