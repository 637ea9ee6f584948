"""Adds ledger rows to the tables of sums (roll-ups)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backend.database.ledger_tables import DAY, HOUR, MEASURES, ROLLUPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from backend.database.ledger_tables import RollupTable

_DIMENSIONS: Final = {
    "day": f"at / {DAY}",
    "hour": f"at / {HOUR}",
    "tenant_id": "coalesce(tenant_id, '')",
    "user_id": "coalesce(user_id, '')",
}
"""Those that are no column of a row, or may be NULL there, which no key may be."""


def _times(condition: str) -> str:
    return f"count(CASE WHEN {condition} THEN 1 END)"


_MEASURES: Final = {
    "calls": _times("number = 1"),
    "attempts": "count(*)",
    "failures": _times("outcome IN ('failed', 'rejected')"),
    "degraded": _times("degraded AND outcome = 'ok'"),
    "unpriced": _times("cost IS NULL"),
}
"""Those that are no sum of a column. A call is counted by its first attempt, so once, whichever rows come when."""
_OF_NEW: Final = {each: _MEASURES.get(each, f"coalesce(sum({each}), 0)") for each in MEASURES}


def add_to_rollups(
    connection: Connection,
    rows_sql: str,
    values: tuple[int, ...] = (),
    measures: Mapping[str, str] | None = None,
) -> None:
    """Add ledger rows to the sums in all roll-up tables, in the transaction of ``connection``.

    All writers update the tables and their rows in the same order, so that they cannot deadlock.

    Args:
        connection: A connection in a transaction.
        rows_sql: The SQL after ``FROM`` that selects the rows. Use the same text in each call, because the
            statement is cached.
        values: The values of the placeholders in ``rows_sql``.
        measures: The SQL expression of the amount to add to each column; by default, that of new rows.
    """
    for rollup in ROLLUPS:
        connection.exec_driver_sql(_statement(rollup, rows_sql, measures or _OF_NEW), values)


def _statement(rollup: RollupTable, rows: str, measures: Mapping[str, str]) -> str:
    """The SQL that adds rows to ``rollup``. It contains no text from outside."""
    keys = ", ".join(rollup.dimensions)
    dimensions = ", ".join(_DIMENSIONS.get(each, each) for each in rollup.dimensions)
    places = ", ".join(str(place) for place, _ in enumerate(rollup.dimensions, 1))
    sums = ", ".join(f"{each} = {rollup.table_name}.{each} + excluded.{each}" for each in measures)
    return (
        f"INSERT INTO {rollup.table_name} ({keys}, {', '.join(measures)})"  # noqa: S608
        f" SELECT {dimensions}, {', '.join(measures.values())} FROM {rows}"
        f" GROUP BY {places} ORDER BY {places}"
        f" ON CONFLICT ({keys}) DO UPDATE SET {sums}"
    )
