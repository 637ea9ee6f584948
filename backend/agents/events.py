"""What whoever follows a run is told, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .rendering import lines

if TYPE_CHECKING:
    from backend.utils.llm.errors import LLMError

    from .confirmations import Confirmation
    from .runs import Run
    from .steps import Spent, Status


@dataclass(frozen=True, slots=True)
class Started:
    """A run goes on."""

    run: Run
    kind: ClassVar[str] = "run"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        run = self.run
        return {"run": run.id, "agent": run.agent, "conversation": run.conversation, "parent": run.parent}


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of what the model says."""

    run_id: str
    text: str
    kind: ClassVar[str] = "delta"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"run": self.run_id, "text": self.text}


@dataclass(frozen=True, slots=True)
class Called:
    """The model wants a tool.

    Attributes:
        message: If it does not run, why: what the model is told. As the model, or a tool, wrote it.
    """

    run_id: str
    call: str
    tool: str
    verdict: str
    message: str = ""
    kind: ClassVar[str] = "call"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        told = {"message": self.message} if self.message else {}
        return {"run": self.run_id, "call": self.call, "tool": self.tool, "verdict": self.verdict, **told}


@dataclass(frozen=True, slots=True)
class Result:
    """A tool call has a result, which the model is told.

    Attributes:
        message: If it came to nothing, why: what the model is told. As the model, or a tool, wrote it.
    """

    run_id: str
    call: str
    tool: str
    status: Status
    message: str = ""
    kind: ClassVar[str] = "result"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        told = {"message": self.message} if self.message else {}
        return {"run": self.run_id, "call": self.call, "tool": self.tool, "status": self.status, **told}


@dataclass(frozen=True, slots=True)
class Asked:
    """A person is asked, or has decided."""

    confirmation: Confirmation
    kind: ClassVar[str] = "confirmation"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return view(self.confirmation)


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over, or waits for a person: ``awaiting``.

    Attributes:
        text: The answer; of a run that was stopped, the last that the model said.
        error: Of the model, if it is why no answer came.
    """

    run_id: str
    state: str
    reason: str | None
    text: str
    spent: Spent
    error: LLMError | None = None
    kind: ClassVar[str] = "end"

    @property
    def message(self) -> str | None:
        """Why no answer came, as a sentence."""
        return None if self.error is None else self.error.message

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "run": self.run_id,
            "state": self.state,
            "reason": self.reason,
            "text": self.text,
            "message": self.message,
            "spent": self.spent.model_dump(mode="json"),
        }


Event = Started | Delta | Called | Result | Asked | Ended


def view(one: Confirmation, *, whole: bool = False) -> dict[str, Any]:
    """A confirmation as JSON for people and pages: what would be done, said by the arguments alone.

    A yes names the ``digest``, so there is none where something is left out: nobody confirms what they were not shown.

    Args:
        one: In its state as of now.
        whole: Whether all of each argument is shown, however long it is.
    """
    shown = lines(one.arguments, whole=whole)
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
