"""The page "Spend": the cost of calls, by feature, user, tenant or model."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from backend.ledger.usage import GroupSums, UsageSums, format_dollars

from .windows import UsageTotals, to_usage_totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from backend.ledger.usage import CombinationSums, UsagePeriod
    from backend.utils.llm.budgets import BudgetBalance

By = Literal["feature", "model", "owner", "tenant", "user"]
BYS: Final[tuple[By, ...]] = get_args(By)
SPANS: Final = (7, 30, 90)
"""The periods to choose from, in days."""
SERIES: Final = 5
"""How many of the dearest have a colour of their own in the chart; the others share one."""
ROWS: Final = 50
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class SpendRow:
    """The cost of one feature, user, tenant, model or key owner in a period.

    Attributes:
        name: The name; None for calls that have none.
        sums: The usage in the period.
        share: The share of the total cost, from 0 to 1.
    """

    name: str | None
    sums: UsageTotals
    share: float


@dataclass(frozen=True, slots=True)
class SpendChartDay:
    """One day of the chart. ``cost_usd`` has the cost for each of the chart's series."""

    day: date
    cost_usd: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpendView:
    """The data of the page "Spend": what calls cost in a period, by feature, user, tenant, model or key owner.

    Attributes:
        total: The sums of the period.
        before_usd: The cost of the preceding period of the same length.
        month_usd: The cost of this month until now.
        projected_usd: The expected cost of the whole month, if the rate of the last seven days continues.
        series: The names of the chart's series; empty if there is no chart.
        spenders: The rows with the highest cost.
        more: Whether there are further rows.
        budgets: The counters of all budgets, the fullest first.
    """

    by: By
    since: date
    until: date
    total: UsageTotals
    before_usd: str
    month_usd: str
    projected_usd: str
    series: tuple[str, ...]
    days: tuple[SpendChartDay, ...]
    spenders: tuple[SpendRow, ...]
    more: bool
    budgets: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SpendSums:
    """The sums from the ledger that the page "Spend" needs. The user chooses a dimension, such as ``feature``.

    Attributes:
        used: The sums by the chosen dimension, the highest cost first.
        days: The sums by the chosen dimension and by day; empty if the ledger does not have these.
        total: The sums of the period.
        before: The sums of the preceding period.
        by_day: The sums of each day of this month and of the last seven days.
    """

    used: Sequence[GroupSums]
    days: Sequence[CombinationSums]
    total: UsageSums
    before: UsageSums
    by_day: Sequence[GroupSums]

    @classmethod
    def from_days(
        cls,
        daily_sums: Sequence[CombinationSums],
        previous_sums: UsageSums,
        recent_daily_sums: Sequence[GroupSums],
    ) -> SpendSums:
        """Compute the sums of the period from ``daily_sums``, which must have all of the period's rows."""
        totals: dict[str | None, list[UsageSums]] = {}
        for (name, _), total in daily_sums:
            totals.setdefault(name, []).append(total)
        used = [GroupSums(name, UsageSums.from_parts(parts)) for name, parts in totals.items()]
        used.sort(key=lambda sums: (-sums.total.cost, sums.key or ""))
        return cls(
            used,
            daily_sums,
            UsageSums.from_parts(total for _, total in daily_sums),
            previous_sums,
            recent_daily_sums,
        )


def make_spend_view(
    dimension: By, period: UsagePeriod, spend_sums: SpendSums, balances: Sequence[BudgetBalance]
) -> SpendView:
    """Make the data of the page "Spend".

    Args:
        dimension: What the cost is grouped by, such as ``feature``.
        period: The days of the period. The last one is today.
        spend_sums: The sums from the ledger.
        balances: The counters of the budgets, the fullest first.
    """
    known = spend_sums.used[:ROWS]
    cost = spend_sums.total.cost or 1
    series, days = _chart(spend_sums, period)
    month = _costs(spend_sums.by_day)
    so_far = sum(cost for day, cost in month.items() if day[:7] == period.until.isoformat()[:7])
    return SpendView(
        by=dimension,
        since=period.since,
        until=period.until,
        total=to_usage_totals(spend_sums.total),
        before_usd=format_dollars(spend_sums.before.cost),
        month_usd=format_dollars(so_far),
        projected_usd=format_dollars(so_far + _to_come(month, period.until)),
        series=series,
        days=days,
        spenders=tuple(
            SpendRow(sums.key, to_usage_totals(sums.total), sums.total.cost / cost) for sums in known
        ),
        more=len(spend_sums.used) > ROWS,
        budgets=tuple(balance.as_dict() for balance in balances),
    )


def _costs(by_day: Iterable[GroupSums]) -> Mapping[str, int]:
    return {sums.key: sums.total.cost for sums in by_day if sums.key is not None}


def _to_come(costs: Mapping[str, int], today: date) -> int:
    """The expected cost of the rest of the month, at the average of the seven days before today."""
    week = [costs.get((today - timedelta(days=back)).isoformat(), 0) for back in range(1, 8)]
    left = monthrange(today.year, today.month)[1] - today.day
    return round(Decimal(sum(week)) / 7 * left)


def _chart(spend: SpendSums, period: UsagePeriod) -> tuple[tuple[str, ...], tuple[SpendChartDay, ...]]:
    if not spend.days:
        return (), ()
    names = [sums.key or "" for sums in spend.used[:SERIES] if sums.total.cost]
    place = {name: number for number, name in enumerate(names)}
    count = (period.until - period.since).days + 1
    costs = {(period.since + timedelta(days=day)).isoformat(): [0] * (len(names) + 1) for day in range(count)}
    for (name, day), total in spend.days:
        if day in costs:
            costs[day][place.get(name or "", len(names))] += total.cost
    has_others = any(each[-1] for each in costs.values())
    kept = len(names) + has_others
    days = (
        SpendChartDay(period.since + timedelta(days=number), tuple(map(format_dollars, each[:kept])))
        for number, each in enumerate(costs.values())
    )
    return (*names, *([OTHERS] if has_others else [])), tuple(days)
