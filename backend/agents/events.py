"""The events of a run, as they are streamed to whoever started or continued it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .rendering import argument_lines

if TYPE_CHECKING:
    from backend.utils.llm.errors import LLMError

    from .confirmations import Confirmation
    from .runs import Run
    from .steps import RunUsage, Status


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has started, or continues after a pause."""

    run: Run
    kind: ClassVar[str] = "run"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        run = self.run
        return {"run": run.id, "agent": run.agent, "conversation": run.conversation, "parent": run.parent}


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """The model has written a further piece of text."""

    run_id: str
    text: str
    kind: ClassVar[str] = "delta"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        return {"run": self.run_id, "text": self.text}


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model has called a tool.

    Attributes:
        call: The call's key in the run.
        verdict: How the call is handled: executed, confirmed first, delegated or refused.
        message: Why the call is refused, as sent to the model; unescaped text of a model or tool. Empty if it is not.
    """

    run_id: str
    call: str
    tool: str
    verdict: str
    message: str = ""
    kind: ClassVar[str] = "call"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        told = {"message": self.message} if self.message else {}
        return {"run": self.run_id, "call": self.call, "tool": self.tool, "verdict": self.verdict, **told}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool call has a result, which the model is sent next.

    Attributes:
        call: The call's key in the run.
        message: Why the call failed, as sent to the model; unescaped text of a model or tool. Empty if it did not fail.
    """

    run_id: str
    call: str
    tool: str
    status: Status
    message: str = ""
    kind: ClassVar[str] = "result"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        told = {"message": self.message} if self.message else {}
        return {"run": self.run_id, "call": self.call, "tool": self.tool, "status": self.status, **told}


@dataclass(frozen=True, slots=True)
class ConfirmationChanged:
    """A confirmation waits for a person, was decided, or has a result."""

    confirmation: Confirmation
    kind: ClassVar[str] = "confirmation"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        return confirmation_view(self.confirmation)


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run has ended, or waits for a person (state ``awaiting``). Always the last event.

    Attributes:
        reason: Why the run ended, as a code; None while it waits.
        text: The answer; of a run that was stopped, the model's last text.
        spent: What the run has used so far.
        error: The error of the model call, if that ended the run.
    """

    run_id: str
    state: str
    reason: str | None
    text: str
    spent: RunUsage
    error: LLMError | None = None
    kind: ClassVar[str] = "end"

    @property
    def message(self) -> str | None:
        """The message of the error that ended the run; None without an error."""
        return None if self.error is None else self.error.message

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        return {
            "run": self.run_id,
            "state": self.state,
            "reason": self.reason,
            "text": self.text,
            "message": self.message,
            "spent": self.spent.model_dump(mode="json"),
        }


Event = RunStarted | AnswerDelta | ToolCalled | ToolResult | ConfirmationChanged | RunEnded


def confirmation_view(one: Confirmation, *, whole: bool = False) -> dict[str, Any]:
    """Convert a confirmation to JSON for people and pages, with the arguments as they will be used.

    If an argument is cut, ``digest`` is None. As an approval must name it, nobody can approve what they were not shown.

    Args:
        one: The confirmation, in its present state.
        whole: Whether every argument is shown in full, whatever its length.
    """
    shown = argument_lines(one.arguments, whole=whole)
    is_cut = any(line.left_out for line in shown)
    return {
        "id": one.id,
        "agent": one.agent,
        "run": one.run,
        "tool": one.tool,
        "title": one.title,
        "risk": one.risk,
        "state": one.state,
        "arguments": [line._asdict() for line in shown],
        "is_cut": is_cut,
        "digest": None if is_cut else one.digest,
        "asked_at": one.asked_at,
        "expires_at": one.expires_at,
        "decided_by": one.decided_by,
        "decided_at": one.decided_at,
        "reason": one.reason,
        "edited": one.edited_from is not None,
        "status": one.status,
    }
