"""The page "Requests": the last calls, and the attempts of one call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from backend.ledger.usage import UsageFilter, format_dollars

from .windows import datetime_from_microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.ledger.usage import FoundRequests, LedgerRequest
    from backend.utils.llm.ledger.record import AttemptRecord

PAGE: Final = 40
"""The number of calls on a page."""
OUTCOMES: Final = ("ok", "failed", "rejected", "cancelled")


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One call in the list of calls.

    Attributes:
        endpoint: The endpoint that answered; if no endpoint did, the last one that was tried.
        outcome: The outcome of the successful attempt, or else of the last one.
        category: The category of the failure; None if there was no failure.
        chips: Labels for what is unusual about the call, such as ``fallback``.
        seconds: The time from the start of the first attempt to the end of the last one.
        cost_usd: The cost of all attempts; None if the cost of any attempt is unknown.
    """

    call: str
    at: datetime
    feature: str
    endpoint: str
    user: str | None
    tenant: str | None
    owner: str
    outcome: str
    category: str | None
    attempts: int
    chips: tuple[str, ...]
    seconds: float
    first_token_s: float | None
    input: int | None
    output: int | None
    cost_usd: str | None


@dataclass(frozen=True, slots=True)
class RequestsView:
    """The data of the page "Requests": one page of the filtered list of calls, the newest first.

    Attributes:
        only: The value of the filter for each dimension, such as ``feature``; None for no filter.
        before: The cursor of this page: the id of the call before which it begins; None for the first page.
        further: The cursor of the next page; None if this is the last page.
        is_cut: Whether the search was stopped before it had filled the page. If so, older calls may match.
        features: The features to choose from in the filter.
        models: The models to choose from in the filter.
    """

    at: datetime
    only: dict[str, str | None]
    before: str | None
    further: str | None
    is_cut: bool
    requests: tuple[RequestRow, ...]
    features: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt of a call: one request to a provider.

    Attributes:
        offset_s: Seconds from the start of the call to the start of the attempt.
        requested_model: The model that was requested.
        served_model: The model that answered, as the provider names it; None if unknown.
    """

    number: int
    at: datetime
    offset_s: float
    seconds: float
    first_byte_s: float | None
    first_token_s: float | None
    endpoint: str
    requested_model: str
    served_model: str | None
    owner: str
    account: str | None
    key: str | None
    outcome: str
    category: str | None
    status: int | None
    finish_reason: str | None
    request_id: str | None
    hedge: bool
    stream: bool
    degraded: bool
    input: int | None
    output: int | None
    cached: int | None
    cache_write: int | None
    reasoning: int | None
    estimated: bool
    cost_usd: str | None
    price_version: str | None

    @property
    def is_served_by_other_model(self) -> bool:
        """Whether a different model than the requested one answered, not just another version of it."""
        served = self.served_model
        return served is not None and self.requested_model.rpartition("/")[2] not in served


@dataclass(frozen=True, slots=True)
class RequestView:
    """The data of the page that shows one call.

    Attributes:
        table_hash: The hash of the configuration table that was in force during the call.
        is_table_now: Whether the same table is in force now.
        arm: The arm of the feature's A/B test to which the call was assigned; None if there was no test.
        trace: The id of the OpenTelemetry trace; None if there is none.
    """

    row: RequestRow
    profile: str
    arm: str | None
    trace: str | None
    table_hash: str
    is_table_now: bool
    attempts: tuple[AttemptView, ...]


def make_requests_view(
    found: FoundRequests,
    usage_filter: UsageFilter,
    cursor: str | None,
    now: datetime,
    *,
    features: Sequence[str],
    models: Sequence[str],
) -> RequestsView:
    """Make the data of the page "Requests".

    Args:
        found: The calls that match the filter.
        usage_filter: The filter.
        cursor: The cursor of the page; None for the first page.
        now: The present time.
        features: The features to choose from in the filter.
        models: The models to choose from in the filter.
    """
    return RequestsView(
        at=now,
        only=usage_filter._asdict(),
        before=cursor,
        further=found.further,
        is_cut=found.further is not None and len(found.requests) < PAGE,
        requests=tuple(map(_row, found.requests)),
        features=tuple(features),
        models=tuple(models),
    )


def make_request_view(request: LedgerRequest, current_table_hash: str) -> RequestView:
    """Make the data of the page that shows one call. ``current_table_hash`` is the hash of the table in force now."""
    first, *_ = request.attempts
    return RequestView(
        row=_row(request),
        profile=first.profile,
        arm=first.arm,
        trace=next((attempt.trace for attempt in request.attempts if attempt.trace), None),
        table_hash=first.table_hash,
        is_table_now=first.table_hash == current_table_hash,
        attempts=tuple(_attempt(attempt, first.at) for attempt in request.attempts),
    )


def _row(request: LedgerRequest) -> RequestRow:
    attempts = request.attempts
    first, last = attempts[0], attempts[-1]
    decisive_attempt = next((attempt for attempt in attempts if attempt.outcome == "ok"), last)
    end = max(attempt.at + attempt.duration for attempt in attempts)
    costs = [attempt.cost for attempt in attempts]
    return RequestRow(
        call=request.call,
        at=datetime_from_microseconds(first.at),
        feature=first.feature,
        endpoint=decisive_attempt.endpoint,
        user=first.user,
        tenant=first.tenant,
        owner=decisive_attempt.key_owner,
        outcome=decisive_attempt.outcome,
        category=decisive_attempt.category,
        attempts=len(attempts),
        chips=tuple(_chips(attempts, decisive_attempt)),
        seconds=(end - first.at) / 1e6,
        first_token_s=None
        if decisive_attempt.first_token is None
        else (decisive_attempt.at + decisive_attempt.first_token - first.at) / 1e6,
        input=_sum([attempt.input for attempt in attempts]),
        output=_sum([attempt.output for attempt in attempts]),
        cost_usd=None if None in costs else format_dollars(sum(filter(None, costs))),
    )


def _chips(attempts: Sequence[AttemptRecord], decisive_attempt: AttemptRecord) -> list[str]:
    endpoints = {attempt.endpoint for attempt in attempts}
    retries = len(attempts) - len(endpoints)
    signs = {
        f"retry {retries}": retries > 0,
        "fallback": decisive_attempt.outcome == "ok" and decisive_attempt.degraded,
        "hedged": any(attempt.hedge for attempt in attempts),
        "cached": bool(decisive_attempt.cached),
        "truncated": decisive_attempt.finish_reason == "length",
        "user's key": decisive_attempt.key_owner == "user",
        "shadow": decisive_attempt.arm == "shadow",
    }
    return [word for word, is_so in signs.items() if is_so]


def _sum(counts: Sequence[int | None]) -> int | None:
    """The sum of the known ``counts``; None if none is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _attempt(one: AttemptRecord, began: int) -> AttemptView:
    return AttemptView(
        number=one.number,
        at=datetime_from_microseconds(one.at),
        offset_s=(one.at - began) / 1e6,
        seconds=one.duration / 1e6,
        first_byte_s=_seconds(one.first_byte),
        first_token_s=_seconds(one.first_token),
        endpoint=one.endpoint,
        requested_model=one.endpoint.partition(":")[2],
        served_model=one.served_model,
        owner=one.key_owner,
        account=one.account,
        key=one.key,
        outcome=one.outcome,
        category=one.category,
        status=one.status,
        finish_reason=one.finish_reason,
        request_id=one.request_id,
        hedge=one.hedge,
        stream=one.stream,
        degraded=one.degraded,
        input=one.input,
        output=one.output,
        cached=one.cached,
        cache_write=one.cache_write,
        reasoning=one.reasoning,
        estimated=one.estimated,
        cost_usd=None if one.cost is None else format_dollars(one.cost),
        price_version=one.price_version,
    )


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else timedelta(microseconds=microseconds).total_seconds()
