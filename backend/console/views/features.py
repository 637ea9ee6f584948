"""The page "Features": the endpoints of each feature, and how many of its calls fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from backend.ledger.usage import UsageSums

from .windows import (
    RecentStatistics,
    UsageTotals,
    datetime_to_microseconds,
    to_recent_statistics,
    to_usage_totals,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from backend.ledger.usage import CombinationSums, UsagePeriod
    from backend.recent import RecentAttemptStats
    from backend.utils.llm.diagnostics.qos import FeatureInfo, OverrideInfo, QosInfo
    from backend.utils.llm.diagnostics.retirements import EndpointRetirement

DAYS: Final = 7
PAGE: Final = 36
"""The number of features on a page."""

Which = Literal["all", "trouble", "overridden", "unused"]


@dataclass(frozen=True, slots=True)
class ActiveOverride:
    """A temporary change of a feature's endpoints that is in force now."""

    id: str
    author: str
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One feature in the list of features.

    Attributes:
        endpoint: The endpoint that serves the feature now; None if no endpoint can.
        chain: The endpoints and groups of the feature, in the order in which they are tried.
        problem: Why no endpoint can serve the feature; None if an endpoint can.
        instead_of: The first endpoint of the chain, if another one is used now; else None.
        override: The override that changes the feature now; None if there is none.
        now: The statistics of the last 15 minutes, of this process.
        week: The sums of the last seven days, of all processes.
        by_day: The numbers of attempts and failures on each of the last seven days, the oldest first.
    """

    name: str
    about: str
    endpoint: str | None
    chain: tuple[str, ...]
    profile: str
    layer: str
    problem: str | None
    instead_of: str | None
    override: ActiveOverride | None
    retires: EndpointRetirement | None
    now: RecentStatistics
    week: UsageTotals
    by_day: tuple[tuple[int, int], ...]

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look at the feature.

        True if no endpoint can serve it, if another endpoint than its first is used now, or if an attempt failed
        in the last 15 minutes.
        """
        return bool(self.problem or self.instead_of or self.now.failures)


@dataclass(frozen=True, slots=True)
class FeaturesView:
    """The data of the page "Features": one page of the filtered list of features.

    Attributes:
        text: The text that was searched in names, descriptions and chains.
        found: How many features match the filter.
        all: How many features are configured.
        page: The number of this page, from 1.
        pages: How many pages there are.
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
    """The filter and the page number for the list of features.

    Attributes:
        text: The text to search in names, descriptions and chains; empty for all features.
        only: Which features to list: ``all``, or those in ``trouble``, ``overridden`` or ``unused``.
        page: The number of the page, from 1.
    """

    text: str = ""
    only: Which = "all"
    page: int = 1


def make_features_view(
    qos: QosInfo,
    recent: RecentAttemptStats,
    daily_sums: Sequence[CombinationSums],
    period: UsagePeriod,
    feature_filter: FeatureFilter,
    now: datetime,
) -> FeaturesView:
    """Make the data of the page "Features".

    Args:
        qos: The configuration table in force.
        recent: The attempts of the last 15 minutes, of this process.
        daily_sums: The sums by feature and day, of all processes.
        period: The days that ``daily_sums`` covers.
        feature_filter: The filter and the page number.
        now: The present time.
    """
    rows = [row for row in _rows(qos, recent, daily_sums, period, now) if _is_wanted(row, feature_filter)]
    pages = max(1, -(-len(rows) // PAGE))
    page = min(feature_filter.page, pages)
    return FeaturesView(
        profile=qos.profile,
        at=now,
        text=feature_filter.text,
        only=feature_filter.only,
        found=len(rows),
        all=len(qos.features),
        page=page,
        pages=pages,
        features=tuple(rows[(page - 1) * PAGE : page * PAGE]),
    )


def _rows(
    qos: QosInfo,
    recent: RecentAttemptStats,
    days: Sequence[CombinationSums],
    period: UsagePeriod,
    at: datetime,
) -> Iterator[FeatureRow]:
    overrides = {
        override.subject: override
        for override in qos.overrides
        if override.state == "in_force" and override.links
    }
    windows, silent = recent.stats_by_feature(datetime_to_microseconds(at)), recent.total_stats(0)
    weeks = _weeks(days)
    for name, info in qos.features.items():
        week = weeks.get(name, {})
        yield _row(
            name,
            info,
            overrides.get(name),
            to_recent_statistics(windows.get(name, silent)),
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
        override=ActiveOverride(override.id, override.author, override.reason, override.until)
        if override
        else None,
        retires=info.retires,
        now=now,
        week=to_usage_totals(UsageSums.from_parts(week.values())),
        by_day=tuple((sums.attempts, sums.failures) for sums in each),
    )


def _weeks(days: Iterable[CombinationSums]) -> Mapping[str, dict[str, UsageSums]]:
    found: dict[str, dict[str, UsageSums]] = {}
    for (name, day), total in days:
        if name is not None and day is not None:
            found.setdefault(name, {})[day] = total
    return found


def _dates(period: UsagePeriod) -> Sequence[str]:
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
            return row.needs_attention
        case "overridden":
            return row.override is not None
        case "unused":
            return not row.week.calls
