"""The events of a run, as they are streamed to the client that started or continued it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .rendering import render_argument_lines

if TYPE_CHECKING:
    from backend.utils.llm.errors import LLMError

    from .confirmations import Confirmation
    from .runs import Run
    from .steps import RunUsage, Status


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has started, or continues after an interruption or a person's decision."""

    run: Run
    kind: ClassVar[str] = "run"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        run = self.run
        return {"run": run.id, "agent": run.agent, "conversation": run.conversation, "parent": run.parent}


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """The next piece of text that the model has written."""

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
        call: The key of the call in its run.
        verdict: What happens to the call: executed, confirmed first, delegated or refused.
        message: Why the call was refused, as the model is told; empty if it was not refused. May contain
            unescaped text of a model or tool.
    """

    run_id: str
    call: str
    tool: str
    verdict: str
    message: str = ""
    kind: ClassVar[str] = "call"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        message = {"message": self.message} if self.message else {}
        return {"run": self.run_id, "call": self.call, "tool": self.tool, "verdict": self.verdict, **message}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool call has a result, which is sent to the model next.

    Attributes:
        call: The key of the call in its run.
        message: Why the call failed, as the model is told; empty if it succeeded. May contain unescaped text
            of a model or tool.
    """

    run_id: str
    call: str
    tool: str
    status: Status
    message: str = ""
    kind: ClassVar[str] = "result"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        message = {"message": self.message} if self.message else {}
        return {"run": self.run_id, "call": self.call, "tool": self.tool, "status": self.status, **message}


@dataclass(frozen=True, slots=True)
class ConfirmationChanged:
    """A confirmation is waiting for a person, was decided, or has a result."""

    confirmation: Confirmation
    kind: ClassVar[str] = "confirmation"

    def as_dict(self) -> dict[str, Any]:
        """The event as a dict that is ready for JSON."""
        return confirmation_to_json(self.confirmation)


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The last event: the run has ended, or waits for a person (state ``awaiting``).

    Attributes:
        reason: Why the run ended, as a code; None while it waits.
        text: The answer. If the run was stopped by a limit or an error, the last text of the model.
        spent: What the run has used so far.
        error: The error of the model call that ended the run; None if the run ended for another reason.
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
        """The message of `error`; None if no error ended the run."""
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


def confirmation_to_json(confirmation: Confirmation, *, untruncated: bool = False) -> dict[str, Any]:
    """Convert a confirmation to the JSON that people and clients are shown.

    If an argument is too long and therefore truncated, ``digest`` is None. Because an approval must contain
    the digest, nobody can approve arguments that were not completely shown.

    Args:
        confirmation: The confirmation, with its state as of now.
        untruncated: Whether to show every argument completely, whatever its length.
    """
    shown = render_argument_lines(confirmation.arguments, untruncated=untruncated)
    is_cut = any(line.left_out for line in shown)
    return {
        "id": confirmation.id,
        "agent": confirmation.agent,
        "run": confirmation.run,
        "tool": confirmation.tool,
        "title": confirmation.title,
        "risk": confirmation.risk,
        "state": confirmation.state,
        "arguments": [line._asdict() for line in shown],
        "is_cut": is_cut,
        "digest": None if is_cut else confirmation.digest,
        "asked_at": confirmation.asked_at,
        "expires_at": confirmation.expires_at,
        "decided_by": confirmation.decided_by,
        "decided_at": confirmation.decided_at,
        "reason": confirmation.reason,
        "edited": confirmation.edited_from is not None,
        "status": confirmation.status,
    }
