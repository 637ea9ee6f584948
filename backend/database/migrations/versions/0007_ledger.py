"""The ledger: an attempt's row, and the sums of rows by what people ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0007"
down_revision = "0006"

LABEL = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ROLLUPS = {
    "usage_by_endpoint": ("day", "feature", "endpoint", "key_owner", "outcome"),
    "usage_by_tenant": ("day", "tenant_id"),
    "usage_by_tenant_feature": ("day", "tenant_id", "feature"),
    "usage_by_user": ("day", "user_id"),
    "usage_by_hour": ("hour", "feature", "endpoint"),
}
SUMS = (
    "calls",
    "attempts",
    "failures",
    "degraded",
    "input",
    "output",
    "cached",
    "cache_write",
    "reasoning",
    "cost",
    "unpriced",
)


def upgrade() -> None:
    op.create_table(
        "ledger_attempts",
        sa.Column("writer", LABEL, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("call", LABEL, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.Column("first_byte", sa.BigInteger(), nullable=True),
        sa.Column("first_token", sa.BigInteger(), nullable=True),
        sa.Column("feature", LABEL, nullable=False),
        sa.Column("profile", LABEL, nullable=False),
        sa.Column("endpoint", LABEL, nullable=False),
        sa.Column("served_model", LABEL, nullable=True),
        sa.Column("request_id", LABEL, nullable=True),
        sa.Column("user_id", LABEL, nullable=True),
        sa.Column("tenant_id", LABEL, nullable=True),
        sa.Column("key_owner", LABEL, nullable=False),
        sa.Column("key", LABEL, nullable=True),
        sa.Column("account", LABEL, nullable=True),
        sa.Column("outcome", LABEL, nullable=False),
        sa.Column("category", LABEL, nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("finish_reason", LABEL, nullable=True),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("hedge", sa.Boolean(), nullable=False),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("input", sa.BigInteger(), nullable=True),
        sa.Column("output", sa.BigInteger(), nullable=True),
        sa.Column("cached", sa.BigInteger(), nullable=True),
        sa.Column("cache_write", sa.BigInteger(), nullable=True),
        sa.Column("reasoning", sa.BigInteger(), nullable=True),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("price_version", LABEL, nullable=True),
        sa.Column("table_hash", LABEL, nullable=False),
        sa.Column("arm", LABEL, nullable=True),
        sa.Column("trace", LABEL, nullable=True),
        sa.PrimaryKeyConstraint("writer", "sequence", "at", name="pk_ledger_attempts"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_ledger_attempts_call", "ledger_attempts", ["call"])
    op.create_index("ix_ledger_attempts_feature_call", "ledger_attempts", ["feature", "call"])
    op.create_index("ix_ledger_attempts_user_id_call", "ledger_attempts", ["user_id", "call"])
    op.create_index("ix_ledger_attempts_tenant_id_call", "ledger_attempts", ["tenant_id", "call"])
    for name, dimensions in ROLLUPS.items():
        op.create_table(
            name,
            *_columns(dimensions),
            sa.PrimaryKeyConstraint(*dimensions, name=f"pk_{name}"),
            sqlite_with_rowid=False,
            postgresql_with={"fillfactor": 60, "autovacuum_vacuum_scale_factor": 0.02},
        )


def _columns(dimensions: tuple[str, ...]) -> Iterator[sa.Column[object]]:
    for each in dimensions:
        kind = sa.Integer() if each in {"day", "hour"} else LABEL
        yield sa.Column(each, kind, nullable=False, autoincrement=False)
    for each in SUMS:
        yield sa.Column(each, sa.BigInteger(), nullable=False)


def downgrade() -> None:
    for name in reversed(ROLLUPS):
        op.drop_table(name)
    op.drop_table("ledger_attempts")
