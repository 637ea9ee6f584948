"""Computes the costs of old attempts again from other prices, in their rows and in the sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from backend.database.audit import record_audit_event
from backend.database.ledger import convert_store_errors, fetch_int
from backend.database.ledger_tables import DAY, MEASURES
from backend.database.rollups import add_to_rollups
from backend.database.usage import EPOCH
from backend.ledger.audit import SYSTEM
from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from backend.ledger.prices import TokenRates
    from backend.ledger.usage import UsagePeriod

_ALONE: Final = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(5077290464)"}
_TABLE: Final = "CREATE TEMP TABLE ledger_recomputed AS SELECT writer, sequence, at, cost FROM ledger_attempts WHERE 1 = 0"
_COST: Final = (
    "(input - coalesce(cached, 0) - coalesce(cache_write, 0)) * :input + output * :output"
    " + coalesce(cached, 0) * :cached + coalesce(cache_write, 0) * :cache_write"
)
"""As `pricing` reckons it."""
_FIND: Final = text(
    f"INSERT INTO ledger_recomputed SELECT writer, sequence, at, {_COST} FROM ledger_attempts"  # noqa: S608
    " WHERE at >= :since AND at < :until AND endpoint = :endpoint AND input IS NOT NULL AND output IS NOT NULL"
    " AND coalesce(cached, 0) + coalesce(cache_write, 0) <= input"
    f" AND (cost IS NULL OR cost <> {_COST})"
)
_CHANGED: Final = (
    "(SELECT a.*, r.cost AS new_cost FROM ledger_attempts AS a JOIN ledger_recomputed AS r"
    " ON a.writer = r.writer AND a.sequence = r.sequence AND a.at = r.at) AS changed"
)
_DIFFERENCE: Final = dict.fromkeys(MEASURES, "0") | {
    "cost": "sum(new_cost - coalesce(cost, 0))",
    "unpriced": "-count(CASE WHEN cost IS NULL THEN 1 END)",
}
_UPDATE: Final = text(
    "UPDATE ledger_attempts SET cost = r.cost, price_version = :version FROM ledger_recomputed AS r"
    " WHERE ledger_attempts.writer = r.writer AND ledger_attempts.sequence = r.sequence"
    " AND ledger_attempts.at = r.at"
)


async def recompute_costs(
    engine: AsyncEngine,
    period: UsagePeriod,
    rates: Iterable[TokenRates],
    price_version: str,
    *,
    actor: str = SYSTEM,
) -> int:
    """Compute the costs of past attempts again with new prices, in one transaction.

    The costs in the ledger rows and in the sums (roll-ups) are updated. Rows whose endpoint has no entry in
    ``rates``, and rows without token counts, keep their costs. In the sums, the costs of deleted rows stay.

    Args:
        engine: The engine of the database.
        period: The days whose attempts are computed again.
        rates: The new token prices of each endpoint.
        price_version: The name of the new price list, which is stored with each changed row.
        actor: The user or operator who asked for this; recorded in the audit trail.

    Returns:
        How many rows were changed.

    Raises:
        StoreUnreachableError: The database cannot be reached.
    """
    since, until = (period.since - EPOCH).days * DAY, ((period.until - EPOCH).days + 1) * DAY
    with convert_store_errors():
        async with engine.begin() as connection:
            await connection.exec_driver_sql(_ALONE[engine.dialect.name])
            await connection.exec_driver_sql(_TABLE)
            for rate in rates:
                await connection.execute(_FIND, {**rate._asdict(), "since": since, "until": until})
            await connection.run_sync(add_to_rollups, _CHANGED, measures=_DIFFERENCE)
            await connection.execute(_UPDATE, {"version": price_version})
            changed = await _changed(connection)
            facts = {"since": str(period.since), "until": str(period.until), "changed": changed}
            await record_audit_event(
                connection, "ledger.repriced", price_version, actor=actor, now=Time().now(), details=facts
            )
            return changed


async def _changed(connection: AsyncConnection) -> int:
    found = await connection.run_sync(fetch_int, "SELECT count(*) FROM ledger_recomputed")
    await connection.exec_driver_sql("DROP TABLE ledger_recomputed")
    return found
