"""Sums and statistics as views show them: times as datetimes, money as decimal numbers in texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.ledger.usage import format_dollars

if TYPE_CHECKING:
    from backend.ledger.usage import UsageSums
    from backend.recent import AttemptStats, LastFailure


@dataclass(frozen=True, slots=True)
class LastFailureView:
    """The last failed attempt of an endpoint or a feature. ``call`` is the id of the call."""

    at: datetime
    category: str
    status: int | None
    call: str


@dataclass(frozen=True, slots=True)
class RecentStatistics:
    """Statistics of the attempts of the last 15 minutes, of this process. See `backend.recent.AttemptStats`."""

    attempts: int
    failures: int
    failure_rate: float
    limited: int
    degraded: int
    p50_s: float | None
    p95_s: float | None
    first_token_s: float | None
    by_minute: tuple[tuple[int, int], ...]
    success_at: datetime | None
    failure: LastFailureView | None


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums of calls, attempts, tokens and cost over some hours or days, of all processes."""

    calls: int = 0
    attempts: int = 0
    failures: int = 0
    degraded: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    cost_usd: str = "0"
    unpriced: int = 0

    @property
    def failure_rate(self) -> float:
        """The share of attempts that failed, from 0 to 1."""
        return self.failures / self.attempts if self.attempts else 0.0

    @property
    def degraded_rate(self) -> float:
        """The share of answers, from 0 to 1, that came from another endpoint than the feature's first choice."""
        answers = self.attempts - self.failures
        return self.degraded / answers if answers > 0 else 0.0

    @property
    def cached_rate(self) -> float:
        """The share of input tokens, from 0 to 1, that were read from a provider's prompt cache."""
        return self.cached / self.input if self.input else 0.0


def to_recent_statistics(window: AttemptStats) -> RecentStatistics:
    """Convert the statistics of a time window to the form that the pages show, with times as datetimes."""
    return RecentStatistics(
        attempts=window.attempts,
        failures=window.failures,
        failure_rate=window.failure_rate,
        limited=window.limited,
        degraded=window.degraded,
        p50_s=window.p50_s,
        p95_s=window.p95_s,
        first_token_s=window.first_token_s,
        by_minute=window.by_minute,
        success_at=None if window.success_at is None else datetime_from_microseconds(window.success_at),
        failure=None if window.failure is None else _failure(window.failure),
    )


def to_usage_totals(total: UsageSums) -> UsageTotals:
    """Convert sums from the ledger to the form that the pages show, with the cost as text in dollars."""
    values = total._asdict()
    cost = format_dollars(values.pop("cost"))
    del values["reasoning"]
    return UsageTotals(**values, cost_usd=cost)


def datetime_from_microseconds(microseconds: int) -> datetime:
    """Convert microseconds since 1970 to a datetime in UTC."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC)


def datetime_to_microseconds(at: datetime) -> int:
    """Convert a datetime to microseconds since 1970 (UTC)."""
    return int(at.timestamp() * 1e6)


def _failure(last: LastFailure) -> LastFailureView:
    return LastFailureView(datetime_from_microseconds(last.at), last.category, last.status, last.call)
