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
    """The base class of observers, which are notified when a request starts, is answered, and ends.

    An exception of an observer is logged, and does not affect the call. `on_started` and
    `on_answer_received` are called only on observers that override them.
    """

    def on_started(self, step: Try, /) -> None:  # noqa: ARG002 - for those who look
        """Called before a chosen request is sent.

        Must not block: the caller holds the lock of the state that all calls share.
        """
        return

    def on_answer_received(self, step: Try, /) -> None:  # noqa: ARG002
        """Called when the endpoint's whole answer has arrived, before it is tested."""
        return

    def on_abandoned(self, step: Try, attempt: Attempt | None) -> None:  # noqa: ARG002
        """Release what was reserved for a request, after an exception such as ``KeyboardInterrupt`` ended the call.

        ``attempt`` is the record of the request; None if it was not sent.
        """
        return

    @abstractmethod
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None, /) -> None:
        """Called when a request has ended, before the call's next step is chosen.

        Args:
            step: The request.
            attempt: The record of the request.
            failure: Why the request failed; None if it was answered.
        """


class TrafficObserver(AttemptObserver, ABC):
    """The base class of observers that update `TrafficState`, the shared state of load and limits."""

    def __init__(self, traffic: TrafficState) -> None:
        self._traffic = traffic


def never_reached_provider(failure: ClassifiedFailure | None) -> bool:
    """Whether the request failed before it reached a provider, so that it costs nothing.

    ``failure`` is None for an answered request, for which this is False.
    """
    return failure is not None and failure.category in _NEVER_ARRIVED


def used_no_tokens(failure: ClassifiedFailure | None) -> bool:
    """Whether the request failed without using tokens: it never arrived, or got an HTTP error status.

    ``failure`` is None for an answered request, for which this is False.
    """
    return never_reached_provider(failure) or (failure is not None and (failure.status or 0) >= ERROR_STATUS)


def may_blame_endpoint(step: Try, failure: ClassifiedFailure) -> bool:
    """Whether the endpoint may be blamed for the failure. Only a timeout may have another cause.

    Other causes: this process was busy or stopped, or the call's deadline left the request few seconds.
    """
    if failure.category is FailureCategory.TIMEOUT and failure.was_late:
        return False
    if failure.category is not FailureCategory.TIMEOUT or failure.status is not None:
        return True
    return step.seconds >= PATIENCE_SECONDS or step.seconds >= step.candidate.options.timeout


def is_endpoint_fault(step: Try, failure: ClassifiedFailure) -> bool:
    """Whether the endpoint caused the failure, and not the key or the request."""
    return POLICY[failure.category].health in {"counts", "cool endpoint"} and may_blame_endpoint(
        step, failure
    )


def reflects_endpoint_quality(step: Try, failure: ClassifiedFailure | None) -> bool:
    """Whether the outcome of ``step`` counts for or against the endpoint's quality.

    False if it only says something about this call or a user's key. ``failure`` is None for a good answer.
    """
    if failure is not None and failure.category in _OF_THE_KEY:
        return step.candidate.owner == "house"
    if failure is None or is_endpoint_fault(step, failure):
        return True
    if not may_blame_endpoint(step, failure):
        return False
    return POLICY[failure.category].is_rejection or failure.category in _OF_THE_ENDPOINT
