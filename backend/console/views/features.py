"""The page "Features": the endpoints of each feature, and how its calls do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from backend.ledger.usage import UsageSums

from .windows import RecentStatistics, Sums, microseconds, recent_statistics, sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from backend.ledger.usage import CrossSums, Period
    from backend.recent import RecentAttempts
    from backend.utils.llm.diagnostics.qos import FeatureInfo, OverrideInfo, QosInfo
    from backend.utils.llm.diagnostics.retirements import Retires

DAYS: Final = 7
PAGE: Final = 36
"""The number of features on a page."""

Which = Literal["all", "trouble", "overridden", "unused"]


@dataclass(frozen=True, slots=True)
class Override:
    """An override of a feature that is in force: a person's temporary change."""

    id: str
    author: str
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature as a row of the list.

    Attributes:
        endpoint: The endpoint that serves it now; None if none can.
        chain: The endpoints and groups, in the order in which they are tried.
        problem: Why nothing can serve the feature; None if something can.
        instead_of: The first choice, if another endpoint replaces it now; else None.
        override: The override in force for the feature; None if there is none.
        now: The statistics of this process's last 15 minutes.
        week: The sums of the last seven days, all processes.
        by_day: Each of these days' attempts and failures, the oldest first.
    """

    name: str
    about: str
    endpoint: str | None
    chain: tuple[str, ...]
    profile: str
    layer: str
    problem: str | None
    instead_of: str | None
    override: Override | None
    retires: Retires | None
    now: RecentStatistics
    week: Sums
    by_day: tuple[tuple[int, int], ...]

    @property
    def is_in_trouble(self) -> bool:
        """Whether somebody should look at the feature.

        That is so if it cannot be served, its first choice is replaced, or an attempt failed in the last 15 minutes.
        """
        return bool(self.problem or self.instead_of or self.now.failures)


@dataclass(frozen=True, slots=True)
class FeaturesView:
    """One page of the list of features.

    Attributes:
        text: The text of the filter, searched in names, descriptions and chains.
        found: The number of matching features.
        all: The number of features in the table.
        page: The number of the page, from 1.
        pages: The number of pages.
    """

    profile: str
    at: datetime
    text: str
    only: Which
    found: int
    all: int
    page: int
    pages: int
    features: tuple[FeatureRow, ...]


@dataclass(frozen=True, slots=True)
class FeatureFilter:
    """Which features the list shows, and which page of them.

    Attributes:
        text: Text to search in names, descriptions and chains; empty for all.
        only: All features, or only some.
        page: The number of the page, from 1.
    """

    text: str = ""
    only: Which = "all"
    page: int = 1


def features_view(
    qos: QosInfo,
    recent: RecentAttempts,
    days: Sequence[CrossSums],
    period: Period,
    wanted: FeatureFilter,
    at: datetime,
) -> FeaturesView:
    """The page of features that ``wanted`` asks for.

    Args:
        qos: The table in force.
        recent: The statistics of the last 15 minutes.
        days: Sums by feature and day.
        period: The period of ``days``.
        wanted: The filter and the page number.
        at: The time of the view.
    """
    rows = [row for row in _rows(qos, recent, days, period, at) if _is_wanted(row, wanted)]
    pages = max(1, -(-len(rows) // PAGE))
    page = min(wanted.page, pages)
    return FeaturesView(
        profile=qos.profile,
        at=at,
        text=wanted.text,
        only=wanted.only,
        found=len(rows),
        all=len(qos.features),
        page=page,
        pages=pages,
        features=tuple(rows[(page - 1) * PAGE : page * PAGE]),
    )


def _rows(
    qos: QosInfo, recent: RecentAttempts, days: Sequence[CrossSums], period: Period, at: datetime
) -> Iterator[FeatureRow]:
    overrides = {one.subject: one for one in qos.overrides if one.state == "in_force" and one.links}
    windows, silent = recent.by_feature(microseconds(at)), recent.total(0)
    weeks = _weeks(days)
    for name, info in qos.features.items():
        week = weeks.get(name, {})
        yield _row(
            name,
            info,
            overrides.get(name),
            recent_statistics(windows.get(name, silent)),
            week,
            _dates(period),
        )


def _row(
    name: str,
    info: FeatureInfo,
    override: OverrideInfo | None,
    now: RecentStatistics,
    week: Mapping[str, UsageSums],
    dates: Sequence[str],
) -> FeatureRow:
    each = (week.get(day, UsageSums()) for day in dates)
    return FeatureRow(
        name=name,
        about=info.about,
        endpoint=info.endpoint,
        chain=info.chain,
        profile=info.profile,
        layer=info.layer,
        problem=info.problem,
        instead_of=info.preferred if info.degraded else None,
        override=Override(override.id, override.author, override.reason, override.until)
        if override
        else None,
        retires=info.retires,
        now=now,
        week=sums(UsageSums.of(week.values())),
        by_day=tuple((one.attempts, one.failures) for one in each),
    )


def _weeks(days: Iterable[CrossSums]) -> Mapping[str, dict[str, UsageSums]]:
    found: dict[str, dict[str, UsageSums]] = {}
    for (name, day), total in days:
        if name is not None and day is not None:
            found.setdefault(name, {})[day] = total
    return found


def _dates(period: Period) -> Sequence[str]:
    first: date = period.since
    count = (period.until - first).days + 1
    return [first.fromordinal(first.toordinal() + place).isoformat() for place in range(count)]


def _is_wanted(row: FeatureRow, wanted: FeatureFilter) -> bool:
    text = wanted.text.casefold()
    if text and not any(text in part.casefold() for part in (row.name, row.about, *row.chain)):
        return False
    match wanted.only:
        case "all":
            return True
        case "trouble":
            return row.is_in_trouble
        case "overridden":
            return row.override is not None
        case "unused":
            return not row.week.calls
