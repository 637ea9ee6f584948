"""Statistics of this process's attempts in the last 15 minutes: number, outcomes and durations.

Pages for on-call staff show them. Unlike the ledger, which keeps every attempt, they are available at
once and without the database.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from backend.utils.llm.forks import ForkSafe
from backend.utils.llm.model_config import OWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backend.utils.llm.ledger.record import AttemptRecord

MINUTES: Final = 15
MOST_SERIES: Final = 1_000
"""The most combinations of feature and endpoint. Those beyond are counted as `OTHER`."""
OTHER: Final = "other"
LIMITED: Final = 429
_BITS: Final = 4
"""Of a duration, the first of which are kept: durations are known to within a sixteenth."""

_MINUTE: Final = 60_000_000
_SLOTS: Final = MINUTES + 1
_FAILED: Final = frozenset({"failed", "rejected"})

Where = tuple[str, str]
"""The feature and the endpoint. All endpoints of users' own are one."""


@dataclass(slots=True)
class _Minute:
    """The counts of one minute; durations and times to the first token by their step."""

    number: int
    attempts: int = 0
    failures: int = 0
    limited: int = 0
    degraded: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    first_tokens: dict[int, int] = field(default_factory=dict)


class LastFailure(NamedTuple):
    """The last failed attempt of a feature or an endpoint.

    Attributes:
        at: When the attempt ended, in microseconds since 1970 (UTC).
        category: The kind of failure.
        status: The HTTP status of the provider's response; None without a response.
        call: The id of the call that the attempt belonged to, as in the ledger.
    """

    at: int
    category: str
    status: int | None
    call: str


@dataclass(slots=True)
class _Series:
    minutes: list[_Minute] = field(default_factory=lambda: [_Minute(-1) for _ in range(_SLOTS)])
    success: int | None = None
    failure: LastFailure | None = None


@dataclass(frozen=True, slots=True)
class AttemptStats:
    """Statistics of the attempts of the last 15 minutes: of one endpoint, of one feature, or of all.

    Attributes:
        attempts: The number of attempts.
        failures: The number of attempts that failed, or whose answer was rejected.
        limited: The number of attempts that a provider refused because of a rate limit (status 429).
        degraded: The number of successful answers from an endpoint other than the first choice.
        p50_s: The median duration of the successful attempts, in seconds; None if none succeeded.
        p95_s: The 95th percentile of the duration of the successful attempts, in seconds; None if none did.
        first_token_s: The median time to the first token of the successful streams, in seconds; None if
            there was no stream.
        by_minute: The number of attempts and of failures in each minute, the oldest minute first.
        success_at: When the last success ended, in microseconds since 1970 (UTC). It may be older than 15
            minutes; None if there was no success since this process started.
        failure: The last failure. It may be older than 15 minutes; None if there was none since this process
            started.
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
        """The proportion of attempts that failed, from 0 to 1; 0 if there was no attempt."""
        return self.failures / self.attempts if self.attempts else 0.0


class RecentAttemptStats(ForkSafe):
    """Keeps statistics of the attempts of the last 15 minutes. A forked child process starts at zero.

    As a `LedgerSink` it receives the record of each attempt.
    """

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[Where, _Series] = {}

    def append(self, record: AttemptRecord) -> None:
        """Count ``record`` in the minute in which its attempt ended. See `LedgerSink.append`."""
        outcome, ended = record.outcome, record.at + record.duration
        number = ended // _MINUTE
        with self._lock:
            series = self._series.get((record.feature, record.endpoint)) or self._made(record)
            minute = series.minutes[number % _SLOTS]
            if minute.number != number:
                minute = series.minutes[number % _SLOTS] = _Minute(number)
            minute.attempts += 1
            if outcome == "ok":
                if record.degraded:
                    minute.degraded += 1
                _add(minute.durations, record.duration)
                if record.first_token is not None:
                    _add(minute.first_tokens, record.first_token)
                series.success = ended
            elif outcome in _FAILED:
                minute.failures += 1
                if record.status == LIMITED:
                    minute.limited += 1
                series.failure = LastFailure(ended, record.category or outcome, record.status, record.call)

    def stats_by_endpoint(self, now_us: int) -> Mapping[str, AttemptStats]:
        """Return the statistics of the 15 minutes before ``now_us`` (microseconds since 1970), by called endpoint."""
        return self._grouped(1, now_us)

    def stats_by_feature(self, now_us: int) -> Mapping[str, AttemptStats]:
        """Return the statistics of the 15 minutes before ``now_us`` (microseconds since 1970), by called feature."""
        return self._grouped(0, now_us)

    def total_stats(self, now_us: int) -> AttemptStats:
        """Return the statistics of all attempts in the 15 minutes before ``now_us`` (microseconds since 1970)."""
        return _window([series for _, series in self._all()], now_us)

    def _grouped(self, part: int, now: int) -> Mapping[str, AttemptStats]:
        groups: dict[str, list[_Series]] = {}
        for where, series in self._all():
            groups.setdefault(where[part], []).append(series)
        return {name: _window(group, now) for name, group in sorted(groups.items())}

    def _all(self) -> list[tuple[Where, _Series]]:
        """All series with their keys, copied under the lock. They are added up without it, because calls wait for the lock."""
        with self._lock:
            return list(self._series.items())

    def _made(self, record: AttemptRecord) -> _Series:
        """The series of ``record``, made if missing. All users' own endpoints share one; so do all series beyond `MOST_SERIES`."""
        endpoint = OWN if record.endpoint.startswith(f"{OWN}:") else record.endpoint
        where = record.feature, endpoint
        if where not in self._series and len(self._series) >= MOST_SERIES:
            where = OTHER, OTHER
        return self._series.setdefault(where, _Series())


def _add(counts: dict[int, int], microseconds: int) -> None:
    step = _step(microseconds)
    counts[step] = counts.get(step, 0) + 1


def _window(group: Iterable[_Series], now: int) -> AttemptStats:
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
        failure = max(filter(None, (failure, series.failure)), default=None, key=lambda failure: failure.at)
    return AttemptStats(
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
    """The logarithmic step of a duration: its first bits, and how many bits follow."""
    rest = max(0, microseconds.bit_length() - _BITS)
    return rest << _BITS | microseconds >> rest


def _middle(step: int) -> float:
    """The middle of the durations of ``step``, in microseconds."""
    rest, first = step >> _BITS, step & (1 << _BITS) - 1
    return first * 2.0**rest + (2.0**rest - 1) / 2


def _quantile(counts: Counter[int], share: float) -> float | None:
    """A quantile of durations, in seconds; None without any."""
    left = math.ceil(counts.total() * share)
    for step in sorted(counts):
        left -= counts[step]
        if left <= 0:
            return _middle(step) / 1e6
    return None
