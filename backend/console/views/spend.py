"""Spend: who burns money?"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from backend.ledger.usage import Total, Used, dollars

from .windows import Sums, sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from backend.ledger.usage import Cell, Period
    from backend.utils.llm.budgets import Balance

By = Literal["feature", "model", "owner", "tenant", "user"]
BYS: Final[tuple[By, ...]] = get_args(By)
SPANS: Final = (7, 30, 90)
"""Days that one may look back."""
SERIES: Final = 5
"""Of the dearest, each has a colour of its own; all others share one."""
ROWS: Final = 50
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Spender:
    """Who spent, the dearest first.

    Attributes:
        name: None for calls of nobody.
        share: Of the cost of all.
    """

    name: str | None
    sums: Sums
    share: float


@dataclass(frozen=True, slots=True)
class Day:
    """A day, and what each of the chart's series cost on it."""

    day: date
    cost_usd: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpendView:
    """What calls cost.

    Attributes:
        total: Of these days; ``before_usd`` what as many days before them cost.
        month_usd: What this month has cost; ``projected_usd`` what it will if it goes on as the last seven days.
        series: What the chart's colours stand for.
        spenders: The dearest, ``more`` if there are others.
        budgets: Every counter, the fullest first.
        shown: Whether there is a chart for ``by``.
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
class Told:
    """What the ledger says.

    Attributes:
        used: By what is asked for, the dearest first.
        days: By it and by day; empty where the two are not summed together.
        total: Of the period, and ``before`` of the one before.
        by_day: Of this month and the last seven days.
    """

    used: Sequence[Used]
    days: Sequence[Cell]
    total: Total
    before: Total
    by_day: Sequence[Used]

    @classmethod
    def of(cls, days: Sequence[Cell], before: Total, by_day: Sequence[Used]) -> Told:
        """All of it that ``days`` tells, which have everybody."""
        totals: dict[str | None, list[Total]] = {}
        for (name, _), total in days:
            totals.setdefault(name, []).append(total)
        used = [Used(name, Total.of(parts)) for name, parts in totals.items()]
        used.sort(key=lambda one: (-one.total.cost, one.key or ""))
        return cls(used, days, Total.of(total for _, total in days), before, by_day)


def spend_view(by: By, period: Period, told: Told, balances: Sequence[Balance]) -> SpendView:
    """What was spent in ``period``, of which the last day is today."""
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


def _costs(by_day: Iterable[Used]) -> Mapping[str, int]:
    return {one.key: one.total.cost for one in by_day if one.key is not None}


def _to_come(costs: Mapping[str, int], today: date) -> int:
    """Until the end of the month, at the pace of the seven days before today."""
    week = [costs.get((today - timedelta(days=back)).isoformat(), 0) for back in range(1, 8)]
    left = monthrange(today.year, today.month)[1] - today.day
    return round(Decimal(sum(week)) / 7 * left)


def _chart(told: Told, period: Period) -> tuple[tuple[str, ...], tuple[Day, ...]]:
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
