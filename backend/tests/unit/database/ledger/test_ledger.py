"""Rows are kept once, and add up to what roll-ups say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, func, select

from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.database.ledger_tables import ATTEMPTS, COLUMNS, MEASURES, ROLLUPS
from backend.ledger.store import RefusedRowError, StoreUnreachableError
from backend.tests.fakes.records import DAY, NOON, record, spooled
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

OTHER = "0193a1b2c3d47e5f8a9b0c1d2e3f4a5c"


async def all_rows(engine: AsyncEngine) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        found = await connection.execute(select(ATTEMPTS).order_by(ATTEMPTS.c.writer, ATTEMPTS.c.sequence))
        return [tuple(row) for row in found]


async def sums(engine: AsyncEngine) -> dict[str, dict[str, int]]:
    """The totals of each roll-up."""
    async with engine.connect() as connection:
        found = {}
        for rollup in ROLLUPS:
            columns = [func.sum(rollup.table.c[each]).label(each) for each in MEASURES]
            row = (await connection.execute(select(*columns))).one()
            found[rollup.table_name] = {each: int(value or 0) for each, value in row._mapping.items()}
        return found


def test_a_row_has_its_fields_in_the_order_of_the_record() -> None:
    assert tuple(ATTEMPTS.c.keys()) == COLUMNS


async def test_a_row_is_kept_as_it_came(engine: AsyncEngine) -> None:
    rows = spooled(
        [record(), record(user=None, cost=None, input=None, status=None, tenant="tab\there\\N\nnext\rline")]
    )

    assert await make_ledger_store(engine).add(rows) == 2

    assert await all_rows(engine) == [(row.writer, row.sequence, *row.record) for row in rows]


async def test_every_batch_is_told_in_the_same_statements(engine: AsyncEngine) -> None:
    """A database parses a statement of another text anew, which took half of a small batch's time."""
    store, told = make_ledger_store(engine), list[str]()
    rows = spooled(record(at=NOON + number) for number in range(3))
    await store.add(rows[:1])

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        told.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for row in rows[1:]:
            await store.add([row])
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert told[: len(told) // 2] == told[len(told) // 2 :]


async def test_a_row_that_comes_again_is_neither_kept_nor_counted_again(engine: AsyncEngine) -> None:
    store = make_ledger_store(engine)
    rows = spooled(record(at=NOON + number) for number in range(10))
    await store.add(rows[:6])
    before = await sums(engine)

    assert await store.add(rows[:6]) == 0
    assert await sums(engine) == before
    assert await store.add(rows) == 4

    assert len(await all_rows(engine)) == 10
    assert {each["attempts"] for each in (await sums(engine)).values()} == {10}


async def test_a_row_twice_in_one_batch_is_one(engine: AsyncEngine) -> None:
    row = spooled([record()])

    assert await make_ledger_store(engine).add(row * 3) == 1

    assert (await sums(engine))["usage_by_endpoint"]["attempts"] == 1


async def test_two_writers_may_have_the_same_numbers(engine: AsyncEngine) -> None:
    store = make_ledger_store(engine)

    assert await store.add(spooled([record()])) == 1
    assert await store.add(spooled([record()], OTHER)) == 1


async def test_nothing_is_no_row(engine: AsyncEngine) -> None:
    assert await make_ledger_store(engine).add([]) == 0


async def test_every_roll_up_has_the_same_sums(engine: AsyncEngine) -> None:
    rows = [
        record(),
        record(
            number=2,
            outcome="failed",
            input=None,
            output=None,
            cached=None,
            cache_write=None,
            reasoning=None,
            cost=None,
        ),
        record(number=3, outcome="rejected", user=None, tenant=None),
        record(number=4, outcome="cancelled", degraded=True, at=NOON + DAY),
        record(
            number=5,
            degraded=True,
            feature="chat",
            endpoint="gemini:gemini-3-flash",
            key_owner="user",
            at=NOON - DAY,
        ),
    ]

    await make_ledger_store(engine).add(spooled(rows))

    expected = {
        "calls": 1,
        "attempts": 5,
        "failures": 2,
        "degraded": 1,
        "input": 4_000,
        "output": 200,
        "cached": 800,
        "cache_write": 0,
        "reasoning": 40,
        "cost": 4 * 450_000_000,
        "unpriced": 1,
    }
    assert await sums(engine) == dict.fromkeys((rollup.table_name for rollup in ROLLUPS), expected)


async def test_a_roll_up_has_a_row_for_each_of_its_dimensions(engine: AsyncEngine) -> None:
    by_feature = ROLLUPS[0].table
    rows = [record(), record(at=NOON + 1), record(feature="chat"), record(outcome="failed")]

    await make_ledger_store(engine).add(spooled(rows))

    keys = [by_feature.c[each] for each in ("day", "feature", "outcome", "attempts")]
    async with engine.connect() as connection:
        found = (await connection.execute(select(*keys))).all()
    day = NOON // DAY
    assert sorted(tuple(row) for row in found) == [
        (day, "chat", "ok", 1),
        (day, "conv_folder", "failed", 1),
        (day, "conv_folder", "ok", 2),
    ]


async def test_shippers_that_come_at_once_wait_for_each_other_and_lose_nothing(engine: AsyncEngine) -> None:
    store = make_ledger_store(engine)
    features = [f"feature_{number}" for number in range(7)]

    def batch(shipper: int) -> list[Any]:
        # Each in an order of its own, with one batch of all that everybody sends.
        places = [(number * (shipper + 1)) % 7 for number in range(70)]
        mixed = [record(feature=features[at], tenant=f"t{6 - at}", user=f"u{at}") for at in places]
        return spooled([record()] * 5) + spooled(mixed, f"{shipper:032x}")

    counts = await asyncio.gather(*(store.add(batch(shipper)) for shipper in range(8)))

    assert sum(counts) == 8 * 70 + 5
    assert {each["attempts"] for each in (await sums(engine)).values()} == {8 * 70 + 5}


async def test_a_text_that_no_database_holds_is_kept_without_what_it_cannot_hold(engine: AsyncEngine) -> None:
    assert await make_ledger_store(engine).add(spooled([record(user="half \ud83d", tenant="ac\0me")])) == 1

    ((_, _, *fields),) = await all_rows(engine)
    kept = AttemptRecord(*fields)
    assert kept.user == "half ?"
    assert kept.tenant in {"ac\N{REPLACEMENT CHARACTER}me", "ac\0me"}


@pytest.mark.parametrize("wrong", [{"input": 2**63}, {"at": -1}, {"at": 2**62}, {"feature": None}])
async def test_a_row_that_no_database_takes_is_refused_with_its_batch(
    engine: AsyncEngine, wrong: dict[str, Any]
) -> None:
    store = make_ledger_store(engine)

    with pytest.raises(RefusedRowError):
        await store.add(spooled([record(), record(**wrong)]))

    assert await all_rows(engine) == []
    assert await store.add(spooled([record()])) == 1


async def test_a_file_that_is_gone_is_a_store_that_is_away(tmp_path: Path) -> None:
    async with open_and_migrate_sqlite(tmp_path / "ledger.sqlite3") as engine:
        store = make_ledger_store(engine)
        (tmp_path / "ledger.sqlite3").rename(tmp_path / "elsewhere")
        with pytest.raises(StoreUnreachableError):
            await store.add(spooled([record()]))

        (tmp_path / "elsewhere").rename(tmp_path / "ledger.sqlite3")
        assert await store.add(spooled([record()])) == 1
