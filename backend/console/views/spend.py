"""The page "Spend": the cost of calls, by feature, user, tenant or model."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from backend.ledger.usage import GroupSums, UsageSums, dollars

from .windows import Sums, sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from backend.ledger.usage import CrossSums, Period
    from backend.utils.llm.budgets import Balance

By = Literal["feature", "model", "owner", "tenant", "user"]
BYS: Final[tuple[By, ...]] = get_args(By)
SPANS: Final = (7, 30, 90)
"""The periods to choose from, in days."""
SERIES: Final = 5
"""How many of the dearest have a colour of their own in the chart; the others share one."""
ROWS: Final = 50
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Spender:
    """A feature, user, tenant or model, with its cost.

    Attributes:
        name: The name; None for calls without one.
        sums: The usage in the period.
        share: The share of the whole cost, from 0 to 1.
    """

    name: str | None
    sums: Sums
    share: float


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the chart, with the cost for each of the chart's series."""

    day: date
    cost_usd: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpendView:
    """Everything that the page shows.

    Attributes:
        total: The sums of the period.
        before_usd: The cost of the period before it.
        month_usd: The cost of this month so far.
        projected_usd: The expected cost of the whole month, at the rate of the last seven days.
        series: The names of the chart's series.
        spenders: The most expensive spenders.
        more: Whether there are other spenders.
        budgets: Every counter, the fullest first.
        shown: Whether there is a chart of the dimension ``by``.
    """

    by: By
    since: date
    until: date
    total: Sums
    before_usd: str
    month_usd: str
    projected_usd: str
    series: tuple[str, ...]
    days: tuple[Day, ...]
    spenders: tuple[Spender, ...]
    more: bool
    budgets: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SpendSums:
    """The sums that the page needs from the ledger.

    Attributes:
        used: The sums by the chosen dimension, the most expensive first.
        days: The sums by the dimension and by day; empty if there is no such roll-up.
        total: The sums of the period.
        before: The sums of the period before it.
        by_day: The sums of each day of this month and of the last seven days.
    """

    used: Sequence[GroupSums]
    days: Sequence[CrossSums]
    total: UsageSums
    before: UsageSums
    by_day: Sequence[GroupSums]

    @classmethod
    def of(cls, days: Sequence[CrossSums], before: UsageSums, by_day: Sequence[GroupSums]) -> SpendSums:
        """Add up the other sums from ``days``, which must cover every spender in the period."""
        totals: dict[str | None, list[UsageSums]] = {}
        for (name, _), total in days:
            totals.setdefault(name, []).append(total)
        used = [GroupSums(name, UsageSums.of(parts)) for name, parts in totals.items()]
        used.sort(key=lambda one: (-one.total.cost, one.key or ""))
        return cls(used, days, UsageSums.of(total for _, total in days), before, by_day)


def spend_view(by: By, period: Period, told: SpendSums, balances: Sequence[Balance]) -> SpendView:
    """Build the page.

    Args:
        by: The dimension by which the cost is shown.
        period: The days, whose last is today.
        told: The sums from the ledger.
        balances: The counters of budgets.
    """
    known = told.used[:ROWS]
    cost = told.total.cost or 1
    series, days = _chart(told, period)
    month = _costs(told.by_day)
    so_far = sum(cost for day, cost in month.items() if day[:7] == period.until.isoformat()[:7])
    return SpendView(
        by=by,
        since=period.since,
        until=period.until,
        total=sums(told.total),
        before_usd=dollars(told.before.cost),
        month_usd=dollars(so_far),
        projected_usd=dollars(so_far + _to_come(month, period.until)),
        series=series,
        days=days,
        spenders=tuple(Spender(one.key, sums(one.total), one.total.cost / cost) for one in known),
        more=len(told.used) > ROWS,
        budgets=tuple(one.as_dict() for one in balances),
    )


def _costs(by_day: Iterable[GroupSums]) -> Mapping[str, int]:
    return {one.key: one.total.cost for one in by_day if one.key is not None}


def _to_come(costs: Mapping[str, int], today: date) -> int:
    """The expected cost of the rest of the month, at the average of the seven days before today."""
    week = [costs.get((today - timedelta(days=back)).isoformat(), 0) for back in range(1, 8)]
    left = monthrange(today.year, today.month)[1] - today.day
    return round(Decimal(sum(week)) / 7 * left)


def _chart(told: SpendSums, period: Period) -> tuple[tuple[str, ...], tuple[Day, ...]]:
    if not told.days:
        return (), ()
    names = [one.key or "" for one in told.used[:SERIES] if one.total.cost]
    place = {name: number for number, name in enumerate(names)}
    count = (period.until - period.since).days + 1
    costs = {(period.since + timedelta(days=day)).isoformat(): [0] * (len(names) + 1) for day in range(count)}
    for (name, day), total in told.days:
        if day in costs:
            costs[day][place.get(name or "", len(names))] += total.cost
    has_others = any(each[-1] for each in costs.values())
    kept = len(names) + has_others
    days = (
        Day(period.since + timedelta(days=number), tuple(map(dollars, each[:kept])))
        for number, each in enumerate(costs.values())
    )
    return (*names, *([OTHERS] if has_others else [])), tuple(days)
