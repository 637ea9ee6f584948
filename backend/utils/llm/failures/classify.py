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
from ..interruptions import interruption_in
from ..types import Category
from .evidence import gather
from .features import lacking
from .hints import may_retry, retry_after
from .rows import category_of

if TYPE_CHECKING:
    from datetime import datetime

    from ..observed import Observed
    from ..options import Api
    from .evidence import Evidence

_CONTROL_FLOW = frozenset({"GraphBubbleUp"})
"""Exceptions that are no failures: LangGraph interrupts and commands travel as these."""


class BadAnswer(Exception):  # noqa: N818 - never leaves the facade
    """A complete answer that was rejected.

    Args:
        category: The category of the failure.
        reason: What is wrong with the answer, for the model to correct. It is in no error text and no log.
    """

    def __init__(self, category: Category, reason: str = "") -> None:
        super().__init__(category.value)
        self.category = category
        self.reason = reason


class NotReadyError(Exception):
    """This process could not send the request in time, because it was still importing packages."""


@dataclass(frozen=True)
class Failure:
    """A classified failure.

    Attributes:
        status: The HTTP status, if an answer came.
        retry_after: Seconds until the next request makes sense, if the provider said so.
        may_retry: False if the provider asks not to send the request again.
        was_late: Whether this process itself was late, so that a timeout says nothing about the endpoint.
        lacks: The need or the option that the endpoint reported as unsupported, if it named one.
        error: The error to raise, if the failure is already an `LLMError` that says more than its category.
    """

    category: Category
    status: int | None = None
    retry_after: float | None = None
    may_retry: bool = True
    error: LLMError | None = None
    lacks: str | None = None
    was_late: bool = False


def classify(
    exception: BaseException,
    observed: Observed,
    api: Api,
    *,
    now: datetime,
    outer: BaseException | None = None,
) -> Failure:
    """Classify ``exception`` by what the transport observed.

    Args:
        exception: The exception that ended the attempt.
        observed: The transport's observations of request and response.
        api: The API that was called.
        now: The time now, timezone-aware, for hints that are dates.
        outer: The exception that the caller was already handling, which is ignored.
    """
    if is_control_flow(exception):
        return Failure(Category.CANCELLED, observed.status)
    if isinstance(exception, BadAnswer):
        return Failure(exception.category, observed.status)
    if isinstance(exception, NotReadyError):
        return Failure(Category.TIMEOUT, was_late=True)
    if observed.refusal is not None:
        return Failure(_refused(observed.refusal, observed), observed.status, error=observed.refusal)
    if isinstance(exception, CredentialNotAllowedError | OwnEndpointError):
        return Failure(_refused(exception, observed), observed.status, error=exception)
    seen = gather(exception, observed, api, outer)
    category = category_of(seen)
    return Failure(
        category,
        seen.status or observed.status,
        retry_after(observed.headers, seen, now),
        may_retry(observed.headers),
        lacks=_lacking(seen) if category is Category.UNSUPPORTED else None,
        was_late=observed.was_late,
    )


def _lacking(seen: Evidence) -> str | None:
    """What the endpoint reports as unsupported, in its own words."""
    return lacking(seen) and lacking(seen.in_own_words())


def _refused(refusal: LLMError, observed: Observed) -> Category:
    """The category of a request that the transport did not send, or of an answer that it rejected."""
    match refusal:
        case ProviderDownError():
            return Category.CONNECT if observed.status is None else Category.UNREADABLE
        case OwnEndpointError() | WithheldCredentialError():
            return Category.REJECTED
        case _:
            return Category.BUG


def is_control_flow(exception: BaseException) -> bool:
    """Whether ``exception`` is control flow, not a failure: a cancellation, `GeneratorExit`, a graph's interrupt."""
    if not isinstance(exception, Exception) or interruption_in(exception) is exception:
        return True
    return any(kind.__name__ in _CONTROL_FLOW for kind in type(exception).__mro__)
