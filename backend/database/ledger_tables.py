"""The tables of the ledger: rows of attempts, and roll-ups. `migrations` creates them.

Days and hours are whole numbers since 1970 (UTC).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from backend.database.tables import Base
from backend.utils.llm.ledger.record import AttemptRecord

DAY: Final = 86_400_000_000
"""A day in microseconds."""
HOUR: Final = 3_600_000_000

LABEL: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared byte by byte: no locale's rules, which are slow, and of which a new version breaks indexes."""
_OWN_NAMES: Final = {"user": "user_id", "tenant": "tenant_id"}
"""``user`` is a function of PostgreSQL: who forgot to quote it would ask for something else, and get it."""
COLUMNS: Final = (
    "writer",
    "sequence",
    *(_OWN_NAMES.get(field, field) for field in AttemptRecord._fields),
)
"""The columns of a row: its writer and sequence, then the record's fields."""


def _attempts() -> Table:
    return Table(
        "ledger_attempts",
        Base.metadata,
        Column("writer", LABEL, nullable=False),
        Column("sequence", BigInteger, nullable=False, autoincrement=False),
        Column("call", LABEL, nullable=False),
        Column("number", Integer, nullable=False),
        Column("at", BigInteger, nullable=False, autoincrement=False),
        Column("duration", BigInteger, nullable=False),
        Column("first_byte", BigInteger),
        Column("first_token", BigInteger),
        Column("feature", LABEL, nullable=False),
        Column("profile", LABEL, nullable=False),
        Column("endpoint", LABEL, nullable=False),
        Column("served_model", LABEL),
        Column("request_id", LABEL),
        Column("user_id", LABEL),
        Column("tenant_id", LABEL),
        Column("key_owner", LABEL, nullable=False),
        Column("key", LABEL),
        Column("account", LABEL),
        Column("outcome", LABEL, nullable=False),
        Column("category", LABEL),
        Column("status", SmallInteger),
        Column("finish_reason", LABEL),
        Column("stream", Boolean, nullable=False),
        Column("hedge", Boolean, nullable=False),
        Column("degraded", Boolean, nullable=False),
        Column("input", BigInteger),
        Column("output", BigInteger),
        Column("cached", BigInteger),
        Column("cache_write", BigInteger),
        Column("reasoning", BigInteger),
        Column("estimated", Boolean, nullable=False),
        Column("cost", BigInteger),
        Column("price_version", LABEL),
        Column("table_hash", LABEL, nullable=False),
        Column("arm", LABEL),
        Column("trace", LABEL),
        # The day's partition is told by `at`, so PostgreSQL wants it in the key. A row that is sent again has the same.
        PrimaryKeyConstraint("writer", "sequence", "at"),
        postgresql_partition_by="RANGE (at)",
    )


ATTEMPTS: Final = _attempts()
# Ids of calls are UUIDv7, so this is the order of time, too. An index on `at` alone would lead SQLite to read a month
# row by row where it should read a roll-up.
Index("ix_ledger_attempts_call", ATTEMPTS.c.call)
Index("ix_ledger_attempts_feature_call", ATTEMPTS.c.feature, ATTEMPTS.c.call)
Index("ix_ledger_attempts_user_id_call", ATTEMPTS.c.user_id, ATTEMPTS.c.call)
Index("ix_ledger_attempts_tenant_id_call", ATTEMPTS.c.tenant_id, ATTEMPTS.c.call)

MEASURES: Final = (
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
"""The columns that a roll-up sums."""


class RollupTable(NamedTuple):
    """A table with sums of ledger rows: one row for each combination of the dimensions' values.

    Attributes:
        table: The SQLAlchemy table.
        dimensions: The columns of its primary key, such as ``day`` and ``feature``.
    """

    table: Table
    dimensions: tuple[str, ...]

    @property
    def table_name(self) -> str:
        """The name of the table in the database."""
        return self.table.name


def _rollup(name: str, *dimensions: str) -> RollupTable:
    numbers = {"day", "hour"}
    keys = (
        Column(each, Integer if each in numbers else LABEL, nullable=False, autoincrement=False)
        for each in dimensions
    )
    sums = (Column(each, BigInteger, nullable=False) for each in MEASURES)
    table = Table(
        name,
        Base.metadata,
        *keys,
        *sums,
        PrimaryKeyConstraint(*dimensions),
        sqlite_with_rowid=False,
        # Room on each page for the row's next version, so that no index has to be told of it.
        postgresql_with={"fillfactor": 60, "autovacuum_vacuum_scale_factor": 0.02},
    )
    return RollupTable(table, dimensions)


ROLLUPS: Final = (
    _rollup("usage_by_endpoint", "day", "feature", "endpoint", "key_owner", "outcome"),
    _rollup("usage_by_tenant", "day", "tenant_id"),
    _rollup("usage_by_tenant_feature", "day", "tenant_id", "feature"),
    _rollup("usage_by_user", "day", "user_id", "tenant_id"),
    _rollup("usage_by_hour", "hour", "feature", "endpoint"),
)
"""The roll-ups, in the order in which every writer writes them. None has all dimensions: of a million rows it would have nearly as many."""


def first_id(at: int) -> str:
    """Return the lowest possible id of a call or run from ``at`` (microseconds since 1970) on.

    Ids begin with their time (UUIDv7), so ``id >= first_id(at)`` selects by time with the index on the ids.
    """
    digits = f"{at // 1_000:012x}"
    return f"{digits[:8]}-{digits[8:]}"
