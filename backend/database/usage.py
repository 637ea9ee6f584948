"""Reads usage from the ledger in the database."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, func, select

from backend.database.ledger import convert_store_errors
from backend.database.ledger_tables import ATTEMPTS, COLUMNS, MEASURES, ROLLUPS
from backend.ledger.usage import (
    ANY,
    CombinationSums,
    FoundRequests,
    GroupSums,
    LedgerRequest,
    MissingRollupError,
    RecentWorker,
    UsageFilter,
    UsagePeriod,
    UsageSums,
)
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.database.ledger_tables import RollupTable
    from backend.ledger.usage import Dimension

EPOCH: Final = date(1970, 1, 1)
HOURS: Final = 24
_SEEKS: Final = 1_000
"""Days up to which each is looked up by itself, where one user or tenant is asked for: an index begins with the day."""
MOST_LOOKED_AT: Final = 20_000
"""The most attempts that a search reads: no index fits every combination of filters."""
_LATELY: Final = 2_000
"""The last attempts, by which working processes are known."""
_FEW: Final = 200
"""Of whom all sums are told after it is known who they are."""
_INDEXED: Final = frozenset({"feature", "user", "tenant"})
_COLUMN: Final[dict[Dimension, str]] = {
    "feature": "feature",
    "model": "endpoint",
    "user": "user_id",
    "tenant": "tenant_id",
    "owner": "key_owner",
    "outcome": "outcome",
    "day": "day",
    "hour": "hour",
}
_RECORD: Final = [ATTEMPTS.c[name] for name in COLUMNS[2:]]
_NEWEST: Final = ATTEMPTS.c.call.desc()


class SqlUsageStore:
    """A `UsageStore` in SQLite or PostgreSQL.

    Sums are read from the smallest roll-up table that has the requested dimensions, never from ledger rows.
    """

    def __init__(self, engine: AsyncEngine, *, most_looked_at: int = MOST_LOOKED_AT) -> None:
        self._engine = engine
        self._most_looked_at = most_looked_at

    async def sum_by_dimension(
        self,
        dimension: Dimension,
        period: UsagePeriod,
        usage_filter: UsageFilter = ANY,
        *,
        limit: int | None = None,
    ) -> Sequence[GroupSums]:
        """Sum the attempts in ``period`` for each value of ``dimension``, such as each model or each user.

        Args:
            dimension: The dimension.
            period: The days.
            usage_filter: The attempts to count; by default, all.
            limit: The most values to return; None for all.

        Returns:
            The sums, the most expensive first; for ``day`` and ``hour``, in order of time.

        Raises:
            MissingRollupError: No roll-up table has these dimensions together.
            StoreUnreachableError: The database cannot be reached.
        """
        rollup = _rollup([dimension], usage_filter)
        key, is_time = rollup.table.c[_COLUMN[dimension]], dimension in {"day", "hour"}
        order = [key] if is_time else [func.sum(rollup.table.c.cost).desc(), key]
        sums = _sums(rollup, period, usage_filter, key)
        if limit is not None and limit <= _FEW and not is_time:
            # All sums of a hundred thousand users would be sorted, for some of them.
            dearest = sums.with_only_columns(key).group_by(key).order_by(*order).limit(limit)
            found = [row[0] for row in await self._all(dearest)]
            sums = _sums(rollup, period, usage_filter, key, few=True).where(key.in_(found))
        rows = await self._all(sums.group_by(key).order_by(*order).limit(limit))
        return [GroupSums(_name(dimension, row[0]), _total(row[1:])) for row in rows]

    async def sum_by_combination(
        self, dimensions: Sequence[Dimension], period: UsagePeriod, usage_filter: UsageFilter = ANY
    ) -> Sequence[CombinationSums]:
        """Sum the attempts in ``period`` for each combination of the values of several dimensions.

        Args:
            dimensions: The dimensions.
            period: The days.
            usage_filter: The attempts to count; by default, all.

        Raises:
            MissingRollupError: No roll-up table has these dimensions together.
            StoreUnreachableError: The database cannot be reached.
        """
        rollup = _rollup(dimensions, usage_filter)
        keys = [rollup.table.c[_COLUMN[each]] for each in dimensions]
        sums = _sums(rollup, period, usage_filter, *keys).group_by(*keys).order_by(*keys)
        width = len(dimensions)
        return [
            CombinationSums(tuple(map(_name, dimensions, row[:width])), _total(row[width:]))
            for row in await self._all(sums)
        ]

    async def sum_total(self, period: UsagePeriod, usage_filter: UsageFilter = ANY) -> UsageSums:
        """Sum all attempts in ``period`` that match ``usage_filter``.

        Raises:
            MissingRollupError: No roll-up table has the dimensions of the filter together.
            StoreUnreachableError: The database cannot be reached.
        """
        (row,) = await self._all(_sums(_rollup([], usage_filter), period, usage_filter))
        return _total(row)

    async def list_requests(
        self, usage_filter: UsageFilter = ANY, *, limit: int = 50, before: str | None = None
    ) -> Sequence[LedgerRequest]:
        """List the newest calls with at least one attempt that matches ``usage_filter``, the newest first.

        Args:
            usage_filter: The filter; by default, all attempts match.
            limit: The most calls to return.
            before: The id of a call: only earlier calls are listed. None to begin with the newest call.

        Raises:
            StoreUnreachableError: The database cannot be reached.
        """
        calls = (
            select(ATTEMPTS.c.call)
            .distinct()
            .where(*_meets(ATTEMPTS, usage_filter))
            .order_by(_NEWEST)
            .limit(limit)
        )
        if before is not None:
            calls = calls.where(ATTEMPTS.c.call < before)
        found = [row[0] for row in await self._all(calls)]
        return await self._requests(ATTEMPTS.c.call.in_(found)) if found else ()

    async def search_requests(
        self, usage_filter: UsageFilter = ANY, *, limit: int = 50, before: str | None = None
    ) -> FoundRequests:
        """List calls like `list_requests`, but read at most 20,000 attempts. For filters that no index supports.

        Returns:
            The calls that were found, and the id of the call before which to continue; None if none is left.

        Raises:
            StoreUnreachableError: The database cannot be reached.
        """
        looked_at = _newest(usage_filter, before).limit(self._most_looked_at).subquery()
        others = [
            looked_at.c[_COLUMN[name]] == value
            for name, value in usage_filter.restrictions()
            if name not in _INDEXED
        ]
        calls = select(looked_at.c.call).where(*others).distinct().order_by(looked_at.c.call.desc())
        found = [row[0] for row in await self._all(calls.limit(limit))]
        requests = await self._requests(ATTEMPTS.c.call.in_(found)) if found else ()
        return FoundRequests(
            requests, found[-1] if len(found) == limit else await self._given_up(usage_filter, before)
        )

    async def _given_up(self, only: UsageFilter, before: str | None) -> str | None:
        """The last call that a limited search looks at, if there may be more behind it."""
        query = _newest(only, before).with_only_columns(ATTEMPTS.c.call)
        last = query.offset(self._most_looked_at - 1).limit(1)
        return next((row[0] for row in await self._all(last)), None)

    async def list_recent_workers(self) -> Sequence[RecentWorker]:
        """List the processes that made the last 2,000 attempts, the most recently active first.

        Raises:
            StoreUnreachableError: The database cannot be reached.
        """
        columns = ATTEMPTS.c.writer, ATTEMPTS.c.at, ATTEMPTS.c.table_hash
        rows = await self._all(select(*columns).order_by(_NEWEST).limit(_LATELY))
        counts = Counter(writer for writer, _, _ in rows)
        last = {writer: (at, table_hash) for writer, at, table_hash in sorted(rows, key=itemgetter(1))}
        found = [RecentWorker(writer, *last[writer], attempts) for writer, attempts in counts.items()]
        return sorted(found, key=lambda worker: -worker.at)

    async def find_request(self, call_id: str) -> LedgerRequest | None:
        """Return the call ``call_id`` with all of its attempts; None if it is unknown.

        Raises:
            StoreUnreachableError: The database cannot be reached.
        """
        if "\0" in call_id:  # PostgreSQL has no such text
            return None
        return next(iter(await self._requests(ATTEMPTS.c.call == call_id)), None)

    async def _requests(self, condition: ColumnElement[bool]) -> Sequence[LedgerRequest]:
        query = select(*_RECORD).where(condition).order_by(_NEWEST, ATTEMPTS.c.number)
        records = [AttemptRecord(*row) for row in await self._all(query)]
        return [LedgerRequest(call, tuple(group)) for call, group in groupby(records, attrgetter("call"))]

    async def _all(self, query: Select[*tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        with convert_store_errors():
            async with self._engine.connect() as connection:
                return [tuple(row) for row in await connection.execute(query)]


def _newest(only: UsageFilter, before: str | None) -> Select[*tuple[Any, ...]]:
    """The newest attempts that ``only`` matches, found by an index."""
    columns = [ATTEMPTS.c.call, *(ATTEMPTS.c[_COLUMN[name]] for name, _ in only.restrictions())]
    indexed = [ATTEMPTS.c[_COLUMN[name]] == value for name, value in only.restrictions() if name in _INDEXED]
    query = select(*columns).where(*indexed).order_by(_NEWEST)
    return query if before is None else query.where(ATTEMPTS.c.call < before)


def _rollup(by: Sequence[Dimension], only: UsageFilter) -> RollupTable:
    """The first roll-up that has these dimensions; they are sorted by size, so it is the smallest, too."""
    asked = [*by, *(name for name, _ in only.restrictions())]
    wanted = {_COLUMN[name] for name in asked}
    for rollup in ROLLUPS:
        if wanted <= set(rollup.dimensions):
            return rollup
    raise MissingRollupError(f"There are no sums by {' and '.join(dict.fromkeys(asked))} together.")


def _sums(
    rollup: RollupTable,
    period: UsagePeriod,
    only: UsageFilter,
    *keys: ColumnElement[object],
    few: bool = False,
) -> Select[*tuple[Any, ...]]:
    """The sums of what ``only`` matches. ``few`` means that only few rows of each day match."""
    table = rollup.table
    sums = [func.coalesce(func.sum(table.c[each]), 0) for each in MEASURES]
    within = _within(rollup, period, few=few or only != ANY)
    return select(*keys, *sums).where(within, *_meets(table, only))


def _meets(table: Table, only: UsageFilter) -> Iterable[ColumnElement[bool]]:
    return [table.c[_COLUMN[name]] == value for name, value in only.restrictions()]


def _within(rollup: RollupTable, period: UsagePeriod, *, few: bool) -> ColumnElement[bool]:
    since, until = ((day - EPOCH).days for day in period)
    if "hour" in rollup.dimensions:
        return rollup.table.c.hour.between(since * HOURS, until * HOURS + HOURS - 1)
    if few and until - since < _SEEKS:
        return rollup.table.c.day.in_(range(since, until + 1))
    return rollup.table.c.day.between(since, until)


def _name(by: Dimension, key: object) -> str | None:
    if isinstance(key, int):
        if by == "day":
            return (EPOCH + timedelta(days=key)).isoformat()
        return f"{datetime.fromtimestamp(key * 3_600, UTC):%Y-%m-%dT%H:%MZ}"
    return str(key) or None


def _total(sums: Iterable[object]) -> UsageSums:
    """The sums as integers: PostgreSQL returns sums of integers as exact decimals."""
    return UsageSums(*(int(each) for each in sums))  # type: ignore[call-overload]
