"""What an observer is, and what an attempt says about its endpoint, as predicates that several of them share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from ...failures import POLICY, Category
from ...transport import ERROR_STATUS

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ..steps import Try

PATIENCE_SECONDS = 5.0
"""A time-out after less than this, cut short by the call's deadline, says nothing about the endpoint."""
_OF_THE_ENDPOINT = frozenset({Category.MODEL_NOT_FOUND, Category.UNSUPPORTED})
_NEVER_ARRIVED = frozenset({Category.CONNECT, Category.UNWORDED})
_OF_THE_KEY = frozenset({Category.CREDENTIAL, Category.QUOTA, Category.MODEL_QUOTA})


class AttemptObserver(Protocol):
    """Watches attempts. What it raises is logged, and changes nothing.

    One that inherits `started` or `received` has no use for it, and is not told.
    """

    def started(self, step: Try, /) -> None:  # noqa: ARG002 - for those who look
        """A request goes out. Called under the lock under which its endpoint was chosen, so it must return at once."""
        return

    def received(self, step: Try, /) -> None:  # noqa: ARG002
        """The endpoint has sent the whole answer; whether that passes its tests is not known yet."""
        return

    def abandoned(self, step: Try, attempt: Attempt | None) -> None:  # noqa: ARG002
        """The application's exception came before `ended` could be called or return: release what the request holds.

        Args:
            step: Which request.
            attempt: What became of it; None if it was not sent.
        """
        return

    @abstractmethod
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None, /) -> None:
        """The attempt is over: answered, or failed. Called before it is decided what comes next."""


def never_arrived(failure: Failure | None) -> bool:
    """Whether no provider knows of the request."""
    return failure is not None and failure.category in _NEVER_ARRIVED


def used_nothing(failure: Failure | None) -> bool:
    """Whether the request has cost nobody a token: it never arrived, or was refused."""
    return never_arrived(failure) or (failure is not None and (failure.status or 0) >= ERROR_STATUS)


def was_patient(step: Try, failure: Failure) -> bool:
    """Whether a time-out is the endpoint's fault, not that of a caller in a hurry, nor of this process, which was late."""
    if failure.category is Category.TIMEOUT and failure.was_late:
        return False
    if failure.category is not Category.TIMEOUT or failure.status is not None:
        return True
    return step.seconds >= PATIENCE_SECONDS or step.seconds >= step.candidate.options.timeout


def is_its_fault(step: Try, failure: Failure) -> bool:
    """Whether the endpoint failed, not its key, nor the request."""
    return POLICY[failure.category].health in {"counts", "cool endpoint"} and was_patient(step, failure)


def is_telling(step: Try, failure: Failure | None) -> bool:
    """Whether the outcome says something about the endpoint, not only about this call or a caller's key."""
    if failure is not None and failure.category in _OF_THE_KEY:
        return step.candidate.owner == "house"
    if failure is None or is_its_fault(step, failure):
        return True
    if not was_patient(step, failure):
        return False
    return POLICY[failure.category].is_rejection or failure.category in _OF_THE_ENDPOINT
