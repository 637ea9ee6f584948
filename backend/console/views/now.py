"""The page "Now", for people on call: whether a fault is ours or a provider's, and what is failing or nearly full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.ledger.usage import UsageSums
from backend.recent import RecentAttemptStats
from backend.utils.llm.receipt import endpoint_label

from .signs import (
    EndpointStatus,
    HealthWarning,
    Level,
    LocalModelStatus,
    ProcessFaults,
    UsageGauge,
    find_warnings,
    is_failing_often,
    summarize_warnings,
)
from .windows import (
    RecentStatistics,
    UsageTotals,
    datetime_to_microseconds,
    to_recent_statistics,
    to_usage_totals,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from backend.ledger.usage import CombinationSums
    from backend.utils.llm.budgets import BudgetBalance
    from backend.utils.llm.diagnostics.health import HealthInfo
    from backend.utils.llm.diagnostics.limits import LimitInfo
    from backend.utils.llm.diagnostics.qos import QosInfo

HOURS: Final = 24
NEARLY_FULL: Final = 0.8
"""The share of a limit or budget from which it counts as nearly full."""


@dataclass(frozen=True, slots=True)
class CooldownRow:
    """An endpoint or key that is not used now, because it is in cooldown or its circuit breaker is open.

    The fields are those of `HealthInfo`.
    """

    name: str
    owner: str
    keys: int
    state: str
    category: str
    reason: str
    failures: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class MissingProviderKey:
    """A provider for which the operator has no API key.

    ``variable`` names the environment variables for the key; None if none is configured.
    """

    provider: str
    host: str
    variable: str | None


@dataclass(frozen=True, slots=True)
class DemoNotice:
    """A notice that the built-in demo model serves every feature, because none of these API ``keys`` is set."""

    label: str
    keys: tuple[MissingProviderKey, ...]


@dataclass(frozen=True, slots=True)
class NowView:
    """The data of the page "Now": the present state of the whole service.

    Attributes:
        level: The state in one word, such as ``warn``.
        verdict: The state in one sentence.
        signs: All warnings, the most serious first.
        demo: The notice that the demo model serves every feature; None if it does not.
        window: The statistics of the last 15 minutes, of this process.
        day: The sums of the last 24 hours, of all processes.
        ledger: Whether the ledger could be read. If not, ``day`` is empty.
    """

    at: datetime
    level: Level
    verdict: str
    signs: tuple[HealthWarning, ...]
    demo: DemoNotice | None
    local_model: LocalModelStatus | None
    problems: tuple[str, ...]
    resting: tuple[CooldownRow, ...]
    limits: tuple[UsageGauge, ...]
    budgets: tuple[UsageGauge, ...]
    window: RecentStatistics
    day: UsageTotals
    by_hour: tuple[tuple[int, int], ...]
    endpoints: tuple[EndpointStatus, ...]
    overrides: int
    ledger: bool


def make_now_view(
    qos: QosInfo,
    recent: RecentAttemptStats,
    process_faults: ProcessFaults,
    hourly_sums: Sequence[CombinationSums] | None,
    balances: Sequence[BudgetBalance],
    now: datetime,
) -> NowView:
    """Make the data of the page "Now".

    Args:
        qos: The configuration table in force, with the health of its endpoints.
        recent: The attempts of the last 15 minutes, of this process.
        process_faults: The faults of this process.
        hourly_sums: The sums by endpoint and hour, of all processes; None if the ledger cannot be read.
        balances: The counters of the budgets, the fullest first.
        now: The present time.
    """
    day = _by_endpoint(hourly_sums or (), now)
    endpoints = tuple(_endpoints(qos, recent, day, now))
    budgets = tuple(map(_budget, (balance for balance in balances if _share(balance) >= NEARLY_FULL)))
    limits = tuple(_limit(limit) for limit in qos.limits if limit.used_share >= NEARLY_FULL or limit.waiting)
    signs = sorted(
        find_warnings(qos, process_faults, endpoints, limits, budgets), key=lambda warning: warning.level
    )
    window = to_recent_statistics(recent.total_stats(datetime_to_microseconds(now)))
    level, verdict = summarize_warnings(signs, window)
    return NowView(
        at=now,
        level=level,
        verdict=verdict,
        signs=tuple(signs),
        demo=_demo(qos, process_faults.local_model) if qos.demo_active else None,
        local_model=process_faults.local_model,
        problems=qos.problems,
        resting=tuple(map(_resting, qos.health)),
        limits=limits,
        budgets=budgets,
        window=window,
        day=_total(day.values()),
        by_hour=_stacked(endpoint.by_hour for endpoint in endpoints),
        endpoints=endpoints,
        overrides=len(qos.overrides),
        ledger=hourly_sums is not None,
    )


class _Day(NamedTuple):
    total: UsageSums
    by_hour: tuple[tuple[int, int], ...]


_NO_DAY: Final = _Day(UsageSums(), ((0, 0),) * HOURS)


def _by_endpoint(hours: Sequence[CombinationSums], at: datetime) -> Mapping[str, _Day]:
    """The last 24 hours of each endpoint, the present hour included."""
    this = at.replace(minute=0, second=0, microsecond=0)
    places = {f"{this - timedelta(hours=HOURS - 1 - place):%Y-%m-%dT%H:%MZ}": place for place in range(HOURS)}
    found: dict[str, dict[int, UsageSums]] = {}
    for (name, hour), total in hours:
        if name is not None and hour in places:
            found.setdefault(name, {})[places[hour]] = total
    return {name: _day(totals) for name, totals in found.items()}


def _day(totals: Mapping[int, UsageSums]) -> _Day:
    each = (totals.get(place, UsageSums()) for place in range(HOURS))
    return _Day(UsageSums.from_parts(totals.values()), tuple((sums.attempts, sums.failures) for sums in each))


def _total(days: Iterable[_Day]) -> UsageTotals:
    return to_usage_totals(UsageSums.from_parts(day.total for day in days))


def _stacked(series: Iterable[tuple[tuple[int, int], ...]]) -> tuple[tuple[int, int], ...]:
    columns = list(zip(*series, strict=True))
    return tuple((sum(a for a, _ in column), sum(f for _, f in column)) for column in columns)


def _endpoints(
    qos: QosInfo, recent: RecentAttemptStats, days: Mapping[str, _Day], at: datetime
) -> Iterator[EndpointStatus]:
    """The endpoints called in the last 24 hours: first those in trouble, then by number of calls."""
    states = {health.endpoint: health.state for health in qos.health}
    windows = recent.stats_by_endpoint(datetime_to_microseconds(at))
    silent = RecentAttemptStats().total_stats(datetime_to_microseconds(at))
    found = [
        EndpointStatus(
            name=name,
            state=states.get(name) or states.get(name.partition(":")[0]),
            now=to_recent_statistics(windows.get(name, silent)),
            day=to_usage_totals(days.get(name, _NO_DAY).total),
            by_hour=days.get(name, _NO_DAY).by_hour,
        )
        for name in sorted({*windows, *days})
    ]
    yield from sorted(
        found,
        key=lambda endpoint: (not is_failing_often(endpoint), -endpoint.now.attempts, -endpoint.day.attempts),
    )


def _demo(qos: QosInfo, local_model: LocalModelStatus | None) -> DemoNotice:
    missing = (
        MissingProviderKey(name, provider.host, ", ".join(provider.api_key_envs) or None)
        for name, provider in qos.providers.items()
        if provider.house_key == "absent"
    )
    return DemoNotice(local_model.label if local_model else "the built-in demo model", tuple(missing))


def _resting(info: HealthInfo) -> CooldownRow:
    return CooldownRow(
        name=endpoint_label(info.endpoint, info.account),
        owner=info.key_owner,
        keys=info.keys,
        state=info.state,
        category=info.category.value,
        reason=info.reason,
        failures=info.failures,
        since=info.since,
        until=info.until,
    )


def _limit(info: LimitInfo) -> UsageGauge:
    what = f"{info.what} per {info.per}" if info.per else f"requests {info.what}"
    return UsageGauge(
        f"{what} {info.whose}", info.used_share, str(info.used), str(info.most), waiting=info.waiting
    )


def _share(balance: BudgetBalance) -> float:
    return float(balance.counter.used_share(balance.budget.cap))


def _budget(balance: BudgetBalance) -> UsageGauge:
    fields = balance.as_dict()
    name = f"budget {fields['budget']} of the {fields['per']} {fields['subject']}"
    unit = "$" if fields["unit"] == "usd" else ""
    return UsageGauge(
        name, fields["used"], f"{unit}{fields['spent']}", f"{unit}{fields['cap']}", balance.resets_at
    )
