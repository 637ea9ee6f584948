"""The attempts of this process's last quarter of an hour, minute by minute: how many, how they ended, how long they took.

For whoever is on call. The ledger has every attempt for good; this is what can be told at once, also while the database is away.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from backend.utils.llm.forks import PerProcess
from backend.utils.llm.model_config import OWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backend.utils.llm.ledger.record import AttemptRecord

MINUTES: Final = 15
MOST_SERIES: Final = 1_000
"""Combinations of feature and endpoint that are told apart. Further ones are counted as `OTHER`."""
OTHER: Final = "other"
LIMITED: Final = 429
STEPS: Final = 6
"""Of a duration's logarithm, for each doubling: durations are known to within a twelfth."""

_MINUTE: Final = 60_000_000
_FAILED: Final = frozenset({"failed", "rejected"})

Where = tuple[str, str]
"""Feature and endpoint. All endpoints that users bring are one."""


@dataclass(slots=True)
class _Minute:
    """The counts of one minute; durations and times to the first token by their step."""

    number: int
    attempts: int = 0
    failures: int = 0
    limited: int = 0
    degraded: int = 0
    durations: Counter[int] = field(default_factory=Counter)
    first_tokens: Counter[int] = field(default_factory=Counter)


class LastFailure(NamedTuple):
    """The last attempt that failed.

    Attributes:
        at: When it ended, in microseconds since 1970 (UTC).
        call: The id of its call.
    """

    at: int
    category: str
    status: int | None
    call: str


@dataclass(slots=True)
class _Series:
    minutes: list[_Minute] = field(default_factory=lambda: [_Minute(-1) for _ in range(MINUTES + 1)])
    success: int | None = None
    failure: LastFailure | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What some attempts come to.

    Attributes:
        failures: Those that gave no answer that could be handed on.
        limited: Those that a provider refused for a rate limit, with status 429.
        degraded: Answers of another endpoint than the first choice.
        p50_s: Half of the answers took at most so many seconds; None without an answer. ``p95_s`` the same of 95 in 100.
        first_token_s: Half of the streams had their first token after so many seconds.
        by_minute: Attempts and failures of each minute, the oldest first.
        success_at: When the last success ended, in microseconds since 1970 (UTC), whenever that was.
        failure: The last failure, whenever that was.
    """

    attempts: int
    failures: int
    limited: int
    degraded: int
    p50_s: float | None
    p95_s: float | None
    first_token_s: float | None
    by_minute: tuple[tuple[int, int], ...]
    success_at: int | None
    failure: LastFailure | None

    @property
    def failure_rate(self) -> float:
        """The share of attempts that failed, from 0 to 1."""
        return self.failures / self.attempts if self.attempts else 0.0


class RecentAttempts(PerProcess):
    """A `LedgerSink` that forgets after a quarter of an hour. A forked child begins at nothing."""

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[Where, _Series] = {}

    def append(self, record: AttemptRecord) -> None:
        """Count ``record`` in the minute in which it ended. See `LedgerSink`."""
        ended = record.at + record.duration
        number = ended // _MINUTE
        with self._lock:
            series = self._of(record)
            minute = series.minutes[number % len(series.minutes)]
            if minute.number != number:
                minute = series.minutes[number % len(series.minutes)] = _Minute(number)
            _count(minute, record)
            _remember(series, record, ended)

    def by_endpoint(self, now: int) -> Mapping[str, Window]:
        """The window of each endpoint that something is known of; ``now`` in microseconds since 1970 (UTC)."""
        return self._grouped(1, now)

    def by_feature(self, now: int) -> Mapping[str, Window]:
        """The window of each feature."""
        return self._grouped(0, now)

    def total(self, now: int) -> Window:
        """The window of all."""
        return _window([series for _, series in self._all()], now)

    def _grouped(self, part: int, now: int) -> Mapping[str, Window]:
        groups: dict[str, list[_Series]] = {}
        for where, series in self._all():
            groups.setdefault(where[part], []).append(series)
        return {name: _window(group, now) for name, group in sorted(groups.items())}

    def _all(self) -> list[tuple[Where, _Series]]:
        """Calls wait for the lock, so nothing is added up under it."""
        with self._lock:
            return list(self._series.items())

    def _of(self, record: AttemptRecord) -> _Series:
        endpoint = OWN if record.endpoint.startswith(f"{OWN}:") else record.endpoint
        where = record.feature, endpoint
        if where not in self._series and len(self._series) >= MOST_SERIES:
            where = OTHER, OTHER
        return self._series.setdefault(where, _Series())


def _count(minute: _Minute, record: AttemptRecord) -> None:
    minute.attempts += 1
    minute.limited += record.status == LIMITED
    if record.outcome in _FAILED:
        minute.failures += 1
    elif record.outcome == "ok":
        minute.degraded += record.degraded
        minute.durations[_step(record.duration)] += 1
        if record.first_token is not None:
            minute.first_tokens[_step(record.first_token)] += 1


def _remember(series: _Series, record: AttemptRecord, ended: int) -> None:
    if record.outcome == "ok":
        series.success = max(ended, series.success or 0)
    elif record.outcome in _FAILED:
        category = record.category or record.outcome
        series.failure = LastFailure(ended, category, record.status, record.call)


def _window(group: Iterable[_Series], now: int) -> Window:
    first = now // _MINUTE - MINUTES + 1
    attempts, failures = [0] * MINUTES, [0] * MINUTES
    limited = degraded = 0
    durations, first_tokens = Counter[int](), Counter[int]()
    success: int | None = None
    failure: LastFailure | None = None
    for series in group:
        for minute in tuple(series.minutes):
            if 0 <= (place := minute.number - first) < MINUTES:
                attempts[place] += minute.attempts
                failures[place] += minute.failures
                limited += minute.limited
                degraded += minute.degraded
                durations.update(dict(minute.durations))  # copied in one step: calls go on counting
                first_tokens.update(dict(minute.first_tokens))
        success = max(filter(None, (success, series.success)), default=None)
        failure = max(filter(None, (failure, series.failure)), default=None, key=lambda one: one.at)
    return Window(
        attempts=sum(attempts),
        failures=sum(failures),
        limited=limited,
        degraded=degraded,
        p50_s=_quantile(durations, 0.5),
        p95_s=_quantile(durations, 0.95),
        first_token_s=_quantile(first_tokens, 0.5),
        by_minute=tuple(zip(attempts, failures, strict=True)),
        success_at=success,
        failure=failure,
    )


def _step(microseconds: int) -> int:
    return round(STEPS * math.log2(max(1, microseconds)))


def _quantile(counts: Counter[int], share: float) -> float | None:
    """In seconds; None of nothing."""
    left = math.ceil(counts.total() * share)
    for step in sorted(counts):
        left -= counts[step]
        if left <= 0:
            return float(2.0 ** (step / STEPS) / 1e6)
    return None
