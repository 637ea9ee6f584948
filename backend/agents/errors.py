"""Errors of agents, each with its HTTP status. No message contains a tool's arguments or its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from backend.utils.llm.errors import ConfirmationError, LLMError
from backend.utils.llm.nearest import find_similar_words

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnknownAgentError(LLMError):
    """The application has no agent with this name."""

    code = "unknown_agent"
    http_status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        near = find_similar_words(name, known)
        hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
        super().__init__(f"There is no agent {name[:100]!r}.{hint}")


class RunNotFoundError(LLMError):
    """The run does not exist or belongs to another user. The message is the same in both cases."""

    code = "run_not_found"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("There is no such run.")


class RunBusyError(LLMError):
    """The run cannot be continued now, because another process is executing it."""

    code = "run_busy"
    http_status = 409
    retryable = True

    def __init__(self) -> None:
        super().__init__("The run goes on elsewhere. Ask again in a moment.")


class RunEndedError(LLMError):
    """The run has ended and cannot be continued."""

    code = "run_over"
    http_status = 409

    def __init__(self, state: str) -> None:
        super().__init__(f"The run is {state}: there is nothing to go on with.")


class StepConflictError(Exception):
    """A step could not be stored, because another process has stored a step with the same number.

    That process has continued the run.
    """


class ConfirmationNotFoundError(ConfirmationError):
    """The confirmation does not exist or belongs to another user. The message is the same in both cases."""

    code = "confirmation_not_found"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("There is no such confirmation.")


class AlreadyDecidedError(ConfirmationError):
    """The confirmation was already approved, rejected or withdrawn. The call is not executed again."""

    code = "already_decided"

    def __init__(self, state: str) -> None:
        super().__init__(f"This was answered before, and is {state}. Nothing was done again.")


class UnknownOutcomeError(ConfirmationError):
    """It is unknown whether the call was executed: the execution began, but no result was recorded.

    A person must check, and then approve the call with ``again=True``, or reject it.
    """

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "The process that ran this has ended, so it may be done. Reject it, or approve it with `again` to run it "
            "once more."
        )


class ConfirmationChangedError(ConfirmationError):
    """The digest of the approval differs from the stored one, or the stored confirmation was tampered with.

    Nothing is executed, because the person may have seen other arguments than those now stored.
    """

    code = "confirmation_changed"

    def __init__(self) -> None:
        super().__init__("What is to be confirmed is not what was shown. Nothing was done. Look at it again.")


class ConfirmationStaleError(ConfirmationError):
    """The tool's definition, risk or policy has changed since the confirmation was created."""

    code = "confirmation_stale"

    def __init__(self, new: str | None) -> None:
        more = "It is asked for anew." if new else "It cannot be called like this any more."
        super().__init__(f"The tool has changed since this was asked. Nothing was done. {more}")
        self.new = new

    @override
    def as_dict(self) -> dict[str, Any]:
        """Return the error as a dict. ``confirmation`` is the id of a new confirmation; None if there is none."""
        return {**super().as_dict(), "confirmation": self.new}


class ConfirmationExpiredError(ConfirmationError):
    """The confirmation was not decided before its deadline."""

    code = "confirmation_expired"
    http_status = 410

    def __init__(self) -> None:
        super().__init__("The time to answer is over. Nothing was done.")


class ConfirmationRevokedError(ConfirmationError):
    """The call is not allowed any more, although it was when the confirmation was created.

    The agent has no such tool any more, the tool's policy is now ``deny``, or the application's
    `CallAuthorizer` forbids the call.
    """

    code = "confirmation_revoked"
    http_status = 403

    def __init__(self, why: str) -> None:
        super().__init__(f"This may not be done any more: {why} Nothing was done.")


class InvalidEditedArgumentsError(ConfirmationError):
    """The arguments that a person entered to replace the model's are invalid for the tool."""

    code = "invalid_edit"
    http_status = 422

    def __init__(self, fault: str) -> None:
        super().__init__(f"The tool does not take these arguments: {fault} It can be answered again.")


class ConfirmationsUnreachableError(ConfirmationError):
    """Confirmations cannot be read or stored now, so no call that needs a confirmation is executed."""

    code = "confirmations_away"
    http_status = 503
    retryable = True

    def __init__(self) -> None:
        super().__init__("Confirmations cannot be had now. Nothing was done. Try again.", retry_after=1)
