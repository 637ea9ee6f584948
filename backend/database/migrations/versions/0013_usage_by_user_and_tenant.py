"""Sums of a user are kept by tenant, too, because the same name may be another person in each tenant.

Sums of existing rows are computed again. Sums of deleted rows have no known tenant: they get one that no token can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0013"
down_revision = "0012"

LABEL = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DAY = 86_400_000_000
SUMS = {
    "calls": "count(CASE WHEN number = 1 THEN 1 END)",
    "attempts": "count(*)",
    "failures": "count(CASE WHEN outcome IN ('failed', 'rejected') THEN 1 END)",
    "degraded": "count(CASE WHEN degraded AND outcome = 'ok' THEN 1 END)",
    "input": "coalesce(sum(input), 0)",
    "output": "coalesce(sum(output), 0)",
    "cached": "coalesce(sum(cached), 0)",
    "cache_write": "coalesce(sum(cache_write), 0)",
    "reasoning": "coalesce(sum(reasoning), 0)",
    "cost": "coalesce(sum(cost), 0)",
    "unpriced": "count(CASE WHEN cost IS NULL THEN 1 END)",
}
NAMES = ", ".join(SUMS)
SUMMED = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
UNKNOWN = "not\u00a0known"
"""No tenant of a token has such a space in its name."""


def upgrade() -> None:
    op.rename_table("usage_by_user", "old_usage_by_user")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_usage_by_user RENAME TO pk_old_usage_by_user")
    _create("day", "user_id", "tenant_id")
    op.execute(
        f"INSERT INTO usage_by_user (day, user_id, tenant_id, {NAMES})"  # noqa: S608 - names of ours
        f" SELECT at / {DAY}, coalesce(user_id, ''), coalesce(tenant_id, ''), {', '.join(SUMS.values())}"
        " FROM ledger_attempts GROUP BY 1, 2, 3"
    )
    op.execute(
        f"INSERT INTO usage_by_user (day, user_id, tenant_id, {NAMES})"  # noqa: S608 - names of ours
        f" SELECT old.day, old.user_id, '{UNKNOWN}', {', '.join(map(_rest, SUMS))}"
        " FROM old_usage_by_user AS old LEFT JOIN"
        f" (SELECT day, user_id, {SUMMED} FROM usage_by_user GROUP BY day, user_id) AS new"
        " ON new.day = old.day AND new.user_id = old.user_id"
        f" WHERE {' OR '.join(f'{_rest(name)} > 0' for name in SUMS)}"
    )
    op.drop_table("old_usage_by_user")


def downgrade() -> None:
    op.rename_table("usage_by_user", "new_usage_by_user")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_usage_by_user RENAME TO pk_new_usage_by_user")
    _create("day", "user_id")
    op.execute(
        f"INSERT INTO usage_by_user (day, user_id, {NAMES})"  # noqa: S608 - names of ours
        f" SELECT day, user_id, {SUMMED} FROM new_usage_by_user GROUP BY day, user_id"
    )
    op.drop_table("new_usage_by_user")


def _rest(name: str) -> str:
    """What is in the old sum and in no row."""
    new = f"coalesce(new.{name}, 0)"
    return f"CASE WHEN old.{name} > {new} THEN old.{name} - {new} ELSE 0 END"


def _create(*dimensions: str) -> None:
    op.create_table(
        "usage_by_user",
        *_columns(dimensions),
        sa.PrimaryKeyConstraint(*dimensions, name="pk_usage_by_user"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 60, "autovacuum_vacuum_scale_factor": 0.02},
    )


def _columns(dimensions: tuple[str, ...]) -> Iterator[sa.Column[object]]:
    for each in dimensions:
        kind = sa.Integer() if each == "day" else LABEL
        yield sa.Column(each, kind, nullable=False, autoincrement=False)
    for each in SUMS:
        yield sa.Column(each, sa.BigInteger(), nullable=False)
