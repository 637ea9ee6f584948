"""The protocol of attempt observers, and functions that tell what an outcome says about its endpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from ...failures import POLICY, FailureCategory
from ...transport import ERROR_STATUS

if TYPE_CHECKING:
    from ...failures import ClassifiedFailure
    from ...receipt import Attempt
    from ...state.traffic import TrafficState
    from ..steps import Try

PATIENCE_SECONDS = 5.0
"""A timeout after fewer seconds, set by the call's deadline, says nothing about the endpoint."""
_OF_THE_ENDPOINT = frozenset({FailureCategory.MODEL_NOT_FOUND, FailureCategory.UNSUPPORTED})
_NEVER_ARRIVED = frozenset({FailureCategory.CONNECT, FailureCategory.UNWORDED})
_OF_THE_KEY = frozenset({FailureCategory.CREDENTIAL, FailureCategory.QUOTA, FailureCategory.MODEL_QUOTA})


class AttemptObserver(Protocol):
    """The base class of observers, which are called when each request starts, is answered, and ends.

    An exception of an observer is logged, and does not affect the call. `on_started` and
    `on_answer_received` are called only on observers that override them.
    """

    def on_started(self, step: Try, /) -> None:  # noqa: ARG002 - for those who look
        """Called when a request was chosen and is about to be sent.

        Must not block: the lock of the state that all calls share is held.
        """
        return

    def on_answer_received(self, step: Try, /) -> None:  # noqa: ARG002
        """Called when the whole answer has arrived from the endpoint, before it is tested."""
        return

    def on_abandoned(self, step: Try, attempt: Attempt | None) -> None:  # noqa: ARG002
        """Release what was reserved for a request, after an exception from outside interrupted `on_ended`.

        Args:
            step: The request.
            attempt: The record of the request; None if it was not sent.
        """
        return

    @abstractmethod
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None, /) -> None:
        """Called when a request has ended, before the next step of the call is chosen.

        Args:
            step: The request.
            attempt: The record of the request.
            failure: Why it failed; None if it was answered.
        """


class TrafficObserver(AttemptObserver, ABC):
    """The base class of observers that update `TrafficState`, the state of load and limits of all calls."""

    def __init__(self, traffic: TrafficState) -> None:
        self._traffic = traffic


def never_reached_provider(failure: ClassifiedFailure | None) -> bool:
    """Whether the request failed before it reached a provider, so that it costs nothing.

    False if it was answered.
    """
    return failure is not None and failure.category in _NEVER_ARRIVED


def used_no_tokens(failure: ClassifiedFailure | None) -> bool:
    """Whether the request failed without using tokens: it never arrived, or had an HTTP error status.

    False if it was answered.
    """
    return never_reached_provider(failure) or (failure is not None and (failure.status or 0) >= ERROR_STATUS)


def may_blame_endpoint(step: Try, failure: ClassifiedFailure) -> bool:
    """Whether a timeout may be blamed on the endpoint. Always True for failures other than timeouts.

    False if this process was busy or stopped, or if the call's deadline left the request only a few seconds.
    """
    if failure.category is FailureCategory.TIMEOUT and failure.was_late:
        return False
    if failure.category is not FailureCategory.TIMEOUT or failure.status is not None:
        return True
    return step.seconds >= PATIENCE_SECONDS or step.seconds >= step.candidate.options.timeout


def is_endpoint_fault(step: Try, failure: ClassifiedFailure) -> bool:
    """Whether the endpoint caused the failure. False if the key or the request caused it."""
    return POLICY[failure.category].health in {"counts", "cool endpoint"} and may_blame_endpoint(
        step, failure
    )


def concerns_endpoint(step: Try, failure: ClassifiedFailure | None) -> bool:
    """Whether the outcome says something about the endpoint's quality. ``failure`` is None for a good answer.

    False if the outcome only says something about this call, or about a user's own key.
    """
    if failure is not None and failure.category in _OF_THE_KEY:
        return step.candidate.owner == "house"
    if failure is None or is_endpoint_fault(step, failure):
        return True
    if not may_blame_endpoint(step, failure):
        return False
    return POLICY[failure.category].is_rejection or failure.category in _OF_THE_ENDPOINT
