"""The protocol of observers, and predicates on what an attempt says about its endpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from ...failures import POLICY, Category
from ...transport import ERROR_STATUS

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...state.traffic import Traffic
    from ..steps import Try

PATIENCE_SECONDS = 5.0
"""A timeout after fewer seconds, set by the call's deadline, says nothing about the endpoint."""
_OF_THE_ENDPOINT = frozenset({Category.MODEL_NOT_FOUND, Category.UNSUPPORTED})
_NEVER_ARRIVED = frozenset({Category.CONNECT, Category.UNWORDED})
_OF_THE_KEY = frozenset({Category.CREDENTIAL, Category.QUOTA, Category.MODEL_QUOTA})


class AttemptObserver(Protocol):
    """The base of all observers, which are told when each request starts, is answered, and ends.

    Exceptions of an observer are logged, and change nothing for the call.

    A method `started` or `received` that is not overridden is not called.
    """

    def started(self, step: Try, /) -> None:  # noqa: ARG002 - for those who look
        """Called when a request is about to be sent, under the lock of the choice of its endpoint, so it must not block."""
        return

    def received(self, step: Try, /) -> None:  # noqa: ARG002
        """Called when the endpoint has sent the whole answer, which is not tested yet."""
        return

    def abandoned(self, step: Try, attempt: Attempt | None) -> None:  # noqa: ARG002
        """Release what a request holds after an exception from outside kept `ended` from being called or returning.

        Args:
            step: The request.
            attempt: Its record; None if it was not sent.
        """
        return

    @abstractmethod
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None, /) -> None:
        """Called when an attempt is over, before the next step of the call is chosen; ``failure`` is None for an answer."""


class TrafficObserver(AttemptObserver, ABC):
    """The base of observers that write into `Traffic`, the state that the calls of a process share."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic


def never_arrived(failure: Failure | None) -> bool:
    """Whether the request never reached a provider, so that it costs nothing; False for an answer."""
    return failure is not None and failure.category in _NEVER_ARRIVED


def used_nothing(failure: Failure | None) -> bool:
    """Whether the failed request used no tokens, because it never arrived or was refused; False for an answer."""
    return never_arrived(failure) or (failure is not None and (failure.status or 0) >= ERROR_STATUS)


def may_blame_endpoint(step: Try, failure: Failure) -> bool:
    """Whether a timeout was the endpoint's fault; False after a short deadline or in a busy process. True for other failures."""
    if failure.category is Category.TIMEOUT and failure.was_late:
        return False
    if failure.category is not Category.TIMEOUT or failure.status is not None:
        return True
    return step.seconds >= PATIENCE_SECONDS or step.seconds >= step.candidate.options.timeout


def is_its_fault(step: Try, failure: Failure) -> bool:
    """Whether the endpoint caused the failure; False if the key or the request did."""
    return POLICY[failure.category].health in {"counts", "cool endpoint"} and may_blame_endpoint(
        step, failure
    )


def concerns_endpoint(step: Try, failure: Failure | None) -> bool:
    """Whether the outcome says something about the endpoint; False if only about this call or a caller's key."""
    if failure is not None and failure.category in _OF_THE_KEY:
        return step.candidate.owner == "house"
    if failure is None or is_its_fault(step, failure):
        return True
    if not may_blame_endpoint(step, failure):
        return False
    return POLICY[failure.category].is_rejection or failure.category in _OF_THE_ENDPOINT
