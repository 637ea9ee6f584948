"""Errors of agents, each with its HTTP status. No message contains a tool's arguments or its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from backend.utils.llm.errors import ConfirmationError, LLMError
from backend.utils.llm.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnknownAgentError(LLMError):
    """The application has no agent with the given name."""

    code = "unknown_agent"
    http_status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        near = nearest(name, known)
        hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
        super().__init__(f"There is no agent {name[:100]!r}.{hint}")


class RunNotFoundError(LLMError):
    """There is no run with the given id, or it is another user's. The message does not tell which."""

    code = "run_not_found"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("There is no such run.")


class RunBusyError(LLMError):
    """The run cannot be continued here, because another process holds its lease."""

    code = "run_busy"
    http_status = 409
    retryable = True

    def __init__(self) -> None:
        super().__init__("The run goes on elsewhere. Ask again in a moment.")


class RunOverError(LLMError):
    """The run has ended, so it cannot be continued."""

    code = "run_over"
    http_status = 409

    def __init__(self, state: str) -> None:
        super().__init__(f"The run is {state}: there is nothing to go on with.")


class StepTakenError(Exception):
    """Storing a step failed, because another process has stored a step with that number and continues the run."""


class ConfirmationNotFoundError(ConfirmationError):
    """There is no confirmation with the given id, or it is another user's. The message does not tell which."""

    code = "confirmation_not_found"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("There is no such confirmation.")


class AlreadyDecidedError(ConfirmationError):
    """Somebody has already approved or rejected the confirmation. The call is not executed again."""

    code = "already_decided"

    def __init__(self, state: str) -> None:
        super().__init__(f"This was answered before, and is {state}. Nothing was done again.")


class UnknownOutcomeError(ConfirmationError):
    """A process ended while it executed the call, so nobody knows whether the tool has run.

    A person must decide explicitly to run it again.
    """

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "The process that ran this has ended, so it may be done. Reject it, or approve it with `again` to run it "
            "once more."
        )


class ConfirmationChangedError(ConfirmationError):
    """The decision names another digest than that of the stored confirmation, or the stored one was tampered with.

    The person may have been shown something else than what would be executed.
    """

    code = "confirmation_changed"

    def __init__(self) -> None:
        super().__init__("What is to be confirmed is not what was shown. Nothing was done. Look at it again.")


class ConfirmationStaleError(ConfirmationError):
    """The tool's definition, risk or policy has changed since the confirmation was created, so a new one is needed."""

    code = "confirmation_stale"

    def __init__(self, new: str | None) -> None:
        more = "It is asked for anew." if new else "It cannot be called like this any more."
        super().__init__(f"The tool has changed since this was asked. Nothing was done. {more}")
        self.new = new

    @override
    def as_dict(self) -> dict[str, Any]:
        """The error as JSON, with the id of the confirmation that replaces the outdated one."""
        return {**super().as_dict(), "confirmation": self.new}


class ConfirmationExpiredError(ConfirmationError):
    """Nobody decided on the confirmation before its deadline."""

    code = "confirmation_expired"
    http_status = 410

    def __init__(self) -> None:
        super().__init__("The time to answer is over. Nothing was done.")


class ConfirmationRevokedError(ConfirmationError):
    """The call was allowed when the confirmation was created, and is not any more.

    The agent lost the tool, its policy is now ``deny``, or the application's last check refused the call.
    """

    code = "confirmation_revoked"
    http_status = 403

    def __init__(self, why: str) -> None:
        super().__init__(f"This may not be done any more: {why} Nothing was done.")


class InvalidEditError(ConfirmationError):
    """The person changed the arguments, and the new ones do not fit the tool's schema."""

    code = "invalid_edit"
    http_status = 422

    def __init__(self, fault: str) -> None:
        super().__init__(f"The tool does not take these arguments: {fault} It can be answered again.")


class ConfirmationsAwayError(ConfirmationError):
    """The store of confirmations is unavailable, so no call that needs a confirmation is executed."""

    code = "confirmations_away"
    http_status = 503
    retryable = True

    def __init__(self) -> None:
        super().__init__("Confirmations cannot be had now. Nothing was done. Try again.", retry_after=1)
