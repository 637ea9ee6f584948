"""An answer as values: as a whole, and as the events of a stream. Neither knows of a wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from backend.utils.llm.receipt import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .faults import Fault

NOTHING_USED: Final = Usage()
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why an answer ended, by the names of Chat Completions."""


class ToolCall(NamedTuple):
    """The call of a tool. ``arguments`` are JSON as the model wrote it, and may be wrong."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer.

    Attributes:
        refusal: Why the model declines; empty if it does not.
        reasoning: What it thought, as far as that is told.
        reasoning_items: The same as its provider wants it back, unchanged.
        logprobs: How likely each token was, in the shape of Chat Completions.
        receipt: The receipt of its call; empty if there was none.
        stop_sequence: Which of the request's stop sequences ended it, where the provider tells that.
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
    """All choices of one request.

    Attributes:
        ignored: Options that were asked for and that no endpoint takes.
    """

    choices: Sequence[Choice]
    ignored: Sequence[str] = ()

    @property
    def usage(self) -> Usage:
        """Of all choices. Each was a call of its own."""
        return total_usage(choice.usage for choice in self.choices)


def total_usage(parts: Iterable[Usage]) -> Usage:
    """The sum of several usages."""
    return Usage(*map(sum, zip(*parts, strict=True)))


# Streams -------------------------------------------------------------------------------------------------------------


class Started(NamedTuple):
    """The first event of a choice: its first content is there. ``ignored`` as in `Answer`."""

    ignored: Sequence[str] = ()
    choice: int = 0


class TextDelta(NamedTuple):
    """The next piece of the text of a choice, with how likely its tokens were."""

    text: str
    choice: int = 0
    logprobs: Sequence[Mapping[str, Any]] = ()


class RefusalDelta(NamedTuple):
    """The next piece of why the model declines."""

    text: str
    choice: int = 0


class ReasoningDelta(NamedTuple):
    """The next piece of what the model thought."""

    text: str
    choice: int = 0


class ReasoningItems(NamedTuple):
    """What the provider wants back of the thoughts. Comes once, whole, near the end."""

    items: Sequence[Mapping[str, Any]]
    choice: int = 0


class ToolCallDelta(NamedTuple):
    """The beginning of a tool's call, or the next piece of its arguments.

    Attributes:
        place: Which of the choice's calls it is, from 0, in the order in which they began.
        id: Only in its first piece, as the ``name``; None later.
    """

    place: int
    id: str | None
    name: str | None
    arguments: str
    choice: int = 0


class Finished(NamedTuple):
    """A choice is complete: why it ended, what it used, its receipt. ``stop_sequence`` as in `Choice`."""

    reason: FinishReason
    usage: Usage
    receipt: Mapping[str, Any]
    choice: int = 0
    stop_sequence: str | None = None


class Failed(NamedTuple):
    """The stream ends here, incomplete."""

    fault: Fault


Event = (
    Started | TextDelta | RefusalDelta | ReasoningDelta | ReasoningItems | ToolCallDelta | Finished | Failed
)
"""What a stream is made of. Each choice begins with `Started` and ends with `Finished`, or the whole stream with `Failed`."""
