"""Whoever reads PostgreSQL's logical replication gets every row of the ledger, as of one table."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import psycopg
import pytest

from backend.database.ledger import make_ledger_store
from backend.database.postgres import open_postgres_engine
from backend.database.retention import prune_ledger
from backend.tests.fakes.records import DAY, NOON, record, spooled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.tests.fakes.postgres import Postgres

SLOT = "warehouse_of_a_test"
INSERT, DELETE, RELATION = b"I", b"D", b"R"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as made:
        try:
            yield made
        finally:
            run(made, f"SELECT pg_drop_replication_slot('{SLOT}')")
            run(made, "DROP PUBLICATION warehouse")


def run(url: str, statement: str) -> list[tuple[bytes]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return list(found) if found.description else []


async def test_rows_are_published_as_of_one_table_and_no_retention_is(url: str) -> None:
    run(
        url, "CREATE PUBLICATION warehouse FOR TABLE ledger_attempts WITH (publish_via_partition_root = true)"
    )
    run(url, f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    async with open_postgres_engine(url) as engine:
        await make_ledger_store(engine).add(spooled(record(at=NOON - age * DAY) for age in range(3)))
        await prune_ledger(engine, date(2026, 11, 29))

    changes = [
        change
        for (change,) in run(
            url,
            f"SELECT data FROM pg_logical_slot_get_binary_changes('{SLOT}', NULL, NULL,"  # noqa: S608
            " 'proto_version', '1', 'publication_names', 'warehouse')",
        )
    ]

    # Each change names its table by a number, which a message of its own explains: https://www.postgresql.org/docs/18/protocol-logicalrep-message-formats.html
    names = {change[1:5]: change[5:].split(b"\0")[1] for change in changes if change.startswith(RELATION)}
    inserted = [names[change[1:5]] for change in changes if change.startswith(INSERT)]
    assert inserted == [b"ledger_attempts"] * 3
    assert not any(change.startswith(DELETE) for change in changes)
