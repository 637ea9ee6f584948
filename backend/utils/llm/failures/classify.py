"""One classifier for both SDKs. Total: whatever happens has a category."""

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

_CONTROL_FLOW = frozenset({"GraphBubbleUp"})
"""Exceptions that are no failures: LangGraph interrupts and commands travel as these."""


class BadAnswer(Exception):  # noqa: N818 - never leaves the facade
    """A complete answer that must not be handed on.

    Args:
        category: Why.
        reason: What is wrong with it, for the model to mend. In no text and no log of ours.
    """

    def __init__(self, category: Category, reason: str = "") -> None:
        super().__init__(category.value)
        self.category = category
        self.reason = reason


class NotReadyError(Exception):
    """This process could not send the request in time: it was still importing what it needs."""


@dataclass(frozen=True)
class Failure:
    """A classified failure.

    Attributes:
        status: The HTTP status, if an answer came.
        retry_after: Seconds until the provider wants to be asked again, if it says so.
        may_retry: False if the provider asks not to be sent this again.
        was_late: Whether this process was late itself: a time-out then says nothing of the endpoint.
        lacks: The need, or the option, that the endpoint says it does not take, if it says of which.
        error: Set if the failure is already one of ours and says more than its category does.
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
    """Classify ``exception``, given what was observed on the wire.

    Args:
        exception: What the attempt ended with.
        observed: What was seen of its request and of the response.
        api: The one that was asked.
        now: The wall clock, for hints that are dates.
        outer: What the caller of the call was handling anyway; it says nothing about this attempt.
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
        lacks=lacking(seen) if category is Category.UNSUPPORTED else None,
        was_late=observed.was_late,
    )


def _refused(refusal: LLMError, observed: Observed) -> Category:
    """The category of a request that the transport did not send, or an answer that it did not take."""
    match refusal:
        case ProviderDownError():
            return Category.CONNECT if observed.status is None else Category.UNREADABLE
        case OwnEndpointError() | WithheldCredentialError():
            return Category.REJECTED
        case _:
            return Category.BUG


def is_control_flow(exception: BaseException) -> bool:
    """Whether ``exception`` is control flow and no failure: a cancellation, a close, an interrupt, an exit, a graph's interrupt."""
    if not isinstance(exception, Exception) or interruption_in(exception) is exception:
        return True
    return any(kind.__name__ in _CONTROL_FLOW for kind in type(exception).__mro__)
