"""Daily partitions of the ledger in PostgreSQL: old days are dropped as whole tables."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from backend.database.ledger_tables import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_EPOCH: Final = date(1970, 1, 1)
_PREFIX: Final = "ledger_attempts_"
_ALONE: Final = "SELECT pg_advisory_xact_lock(5077290462)"
_THERE: Final = "SELECT relid::text FROM pg_partition_tree('ledger_attempts') WHERE isleaf AND level = 1"


class LedgerPartitions:
    """Creates and drops the daily partitions of the table ``ledger_attempts`` in PostgreSQL.

    A day is given as the number of days since 1970-01-01.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: set[int] = set()

    async def create_missing_partitions(self, days: Iterable[int], *, refresh: bool = False) -> None:
        """Create the partitions of ``days`` that do not exist yet.

        Args:
            days: Days, as numbers of days since 1970.
            refresh: Whether to read again which partitions exist, because another process may have dropped some.
        """
        if refresh:
            self._known.clear()
        if missing := set(days) - self._known:
            await self._make(missing)

    async def _make(self, days: set[int]) -> None:
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql(_ALONE)
            there = await _days(connection)
            for day in sorted(days - there):
                await _attach(connection, day)
        self._known = there | days

    async def has_partition_before(self, before_day: int) -> bool:
        """Whether there is a partition of a day before ``before_day`` (days since 1970)."""
        async with self._engine.connect() as connection:
            return any(day < before_day for day in await _days(connection))

    async def drop_partitions_before(self, before_day: int) -> int:
        """Drop the partitions of all days before ``before_day`` (days since 1970).

        Returns:
            How many rows they had, approximately.

        Raises:
            OperationalError: A partition was in use for more than two seconds. The partitions of earlier days
                are dropped.
        """
        rows = 0
        async with self._engine.connect() as connection:
            old = sorted(day for day in await _days(connection) if day < before_day)
        for day in old:
            rows += await self._drop(day)
        return rows

    async def _drop(self, day: int) -> int:
        """Drop the partition of ``day`` in a transaction of its own. It waits for readers only briefly, because others wait behind it."""
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            found = await connection.exec_driver_sql(f"SELECT count(*) FROM {_name(day)}")  # noqa: S608
            await connection.exec_driver_sql(f"DROP TABLE {_name(day)}")
        self._known.discard(day)
        return int(found.scalar_one())


async def _attach(connection: AsyncConnection, day: int) -> None:
    """Create a table and then attach it, because ``PARTITION OF`` would block inserts of other days meanwhile."""
    name = _name(day)
    await connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE ledger_attempts INCLUDING ALL)")
    await connection.exec_driver_sql(
        f"ALTER TABLE ledger_attempts ATTACH PARTITION {name}"
        f" FOR VALUES FROM ({day * DAY}) TO ({(day + 1) * DAY})"
    )


async def _days(connection: AsyncConnection) -> set[int]:
    found = await connection.exec_driver_sql(_THERE)
    return {_day(name) for name in found.scalars()}


def _name(day: int) -> str:
    return f"{_PREFIX}{_EPOCH + timedelta(days=day):%Y%m%d}"


def _day(name: str) -> int:
    written = name.removeprefix(_PREFIX)
    return (date.fromisoformat(written) - _EPOCH).days
