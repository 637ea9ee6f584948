"""The classifier of failures, for all APIs. It is total: every exception gets a category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import (
    CredentialNotAllowedError,
    LLMError,
    OwnEndpointError,
    ProviderDownError,
    WithheldCredentialError,
)
from ..interruptions import find_interruption
from ..types import FailureCategory
from .evidence import collect_evidence
from .features import find_unsupported_capability
from .hints import is_retry_allowed, read_retry_after
from .rows import find_failure_category

if TYPE_CHECKING:
    from datetime import datetime

    from ..observed import ObservedExchange
    from ..options import Api
    from .evidence import FailureEvidence

_CONTROL_FLOW = frozenset({"GraphBubbleUp"})
"""Exceptions that are no failures: LangGraph interrupts and commands travel as these."""


class BadAnswer(Exception):  # noqa: N818 - never leaves the facade
    """Raised for a complete answer that was rejected, such as invalid JSON.

    Args:
        category: The kind of failure.
        reason: What is wrong with the answer, for the model to correct. It appears in no error text and no
            log.
    """

    def __init__(self, category: FailureCategory, reason: str = "") -> None:
        super().__init__(category.value)
        self.category = category
        self.reason = reason


class ImportsNotReadyError(Exception):
    """This process could not send the request in time, because it was still importing packages."""


@dataclass(frozen=True)
class ClassifiedFailure:
    """A failed attempt, classified.

    Attributes:
        category: The kind of failure, which decides what is tried next.
        status: The HTTP status, if an answer came.
        retry_after: Seconds after which the provider asks to send the next request; None without such a
            hint.
        may_retry: False if the provider asks not to send the request again.
        was_late: Whether this process itself was slow, so that a timeout says nothing about the endpoint.
        lacks: The capability or option that the endpoint reported as unsupported, if it named one.
        error: The error to raise, if the failure is already an `LLMError` that says more than its category.
    """

    category: FailureCategory
    status: int | None = None
    retry_after: float | None = None
    may_retry: bool = True
    error: LLMError | None = None
    lacks: str | None = None
    was_late: bool = False


def classify_failure(
    exception: BaseException,
    observed: ObservedExchange,
    api: Api,
    *,
    now: datetime,
    handled_exception: BaseException | None = None,
) -> ClassifiedFailure:
    """Classify the exception that ended an attempt, mainly by the response that the transport observed.

    Args:
        exception: The exception that ended the attempt.
        observed: The transport's observations of request and response.
        api: The API that was called.
        now: The time now, timezone-aware, for retry hints that are dates.
        handled_exception: The exception that the caller was already handling, which is ignored.
    """
    if is_control_flow(exception):
        return ClassifiedFailure(FailureCategory.CANCELLED, observed.status)
    if isinstance(exception, BadAnswer):
        return ClassifiedFailure(exception.category, observed.status)
    if isinstance(exception, ImportsNotReadyError):
        return ClassifiedFailure(FailureCategory.TIMEOUT, was_late=True)
    if observed.refusal is not None:
        return ClassifiedFailure(
            _refused(observed.refusal, observed), observed.status, error=observed.refusal
        )
    if isinstance(exception, CredentialNotAllowedError | OwnEndpointError):
        return ClassifiedFailure(_refused(exception, observed), observed.status, error=exception)
    evidence = collect_evidence(exception, observed, api, handled_exception)
    category = find_failure_category(evidence)
    return ClassifiedFailure(
        category,
        evidence.status or observed.status,
        read_retry_after(observed.headers, evidence, now),
        is_retry_allowed(observed.headers),
        lacks=_lacking(evidence) if category is FailureCategory.UNSUPPORTED else None,
        was_late=observed.was_late,
    )


def _lacking(evidence: FailureEvidence) -> str | None:
    """What the endpoint reports as unsupported, in its own words."""
    return find_unsupported_capability(evidence) and find_unsupported_capability(
        evidence.without_request_echoes()
    )


def _refused(refusal: LLMError, observed: ObservedExchange) -> FailureCategory:
    """The category of a request that the transport did not send, or of an answer that it rejected."""
    match refusal:
        case ProviderDownError():
            return FailureCategory.CONNECT if observed.status is None else FailureCategory.UNREADABLE
        case OwnEndpointError() | WithheldCredentialError():
            return FailureCategory.REJECTED
        case _:
            return FailureCategory.BUG


def is_control_flow(exception: BaseException) -> bool:
    """Whether ``exception`` is no failure: a cancellation, `GeneratorExit`, or a call or graph interrupted."""
    if not isinstance(exception, Exception) or find_interruption(exception) is exception:
        return True
    return any(kind.__name__ in _CONTROL_FLOW for kind in type(exception).__mro__)
