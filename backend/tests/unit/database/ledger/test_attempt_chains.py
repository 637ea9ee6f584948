"""Every attempt of the ledger is in a chain: whoever changes, removes or inserts one breaks it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from uuid_utils import uuid7

from backend.database.audit import AuditTrail, record_audit_event
from backend.database.ledger import make_ledger_store
from backend.database.ledger_tables import ATTEMPTS, COLUMNS
from backend.database.recompute import recompute_costs
from backend.database.retention import prune_ledger
from backend.database.tables import AuditChainRow
from backend.database.verification import ChainVerificationResult, verify_hash_chains
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey
from backend.keys.signing import AuditSigningKeys
from backend.ledger.usage import UsagePeriod
from backend.tests.fakes.records import DAY, NOON, WRITER, spooled
from backend.tests.fakes.records import record as attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.ledger.store import SpooledRecord

KEYS = AuditSigningKeys(EnvironmentMasterKeys(SecretStr(MasterKey.generate().to_text())))
MOMENT = datetime(2026, 11, 29, 12, tzinfo=UTC)
OTHER = "0" * 32


class Ledger:
    """A ledger, and the trail that holds it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.sessions = async_sessionmaker[AsyncSession](engine)
        self.store = make_ledger_store(engine)

    async def add(self, rows: Sequence[SpooledRecord]) -> None:
        await self.store.add(rows)

    async def sign(self, now: datetime = MOMENT) -> None:
        await AuditTrail(self.sessions, clock=lambda: now).sign_hash_chains(KEYS)

    async def verified(self) -> ChainVerificationResult:
        return await verify_hash_chains(self.sessions, KEYS)

    async def faults(self) -> list[tuple[str, str]]:
        return [(one.fault, one.where) for one in (await self.verified()).breaks]


@pytest.fixture
def ledger(engine: AsyncEngine) -> Ledger:
    return Ledger(engine)


def rows(count: int, first: int = 1, *, writer: str = WRITER, at: int = NOON) -> list[SpooledRecord]:
    made = [attempt(at=at + number, user=f"user {number}", stream=number % 2 == 0) for number in range(count)]
    return spooled(made, writer, first)


async def test_a_ledger_of_two_writers_holds(ledger: Ledger) -> None:
    await ledger.add(rows(30))
    await ledger.sign()
    await ledger.add(rows(20, 31) + rows(10, writer=OTHER))

    found = await ledger.verified()

    assert (found.attempts, found.heads, found.breaks) == (60, 1, ())


async def test_rows_that_come_again_are_in_it_once(ledger: Ledger) -> None:
    await ledger.add(rows(30))
    await ledger.add(rows(40))
    await ledger.add(rows(40)[4:14])

    assert await ledger.faults() == []


async def test_rows_of_one_writer_that_come_twice_at_once_are_in_it_once(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.add(rows(30)) for _ in range(4)))

    found = await ledger.verified()
    assert (found.attempts, found.breaks) == (30, ())


async def test_a_number_that_no_row_has_is_no_fault(ledger: Ledger) -> None:
    await ledger.add([row for row in rows(30) if row.sequence not in {7, 30}])
    await ledger.add(rows(5, 31))

    assert await ledger.faults() == []


async def test_a_text_that_no_database_holds_is_in_it_as_it_is_kept(ledger: Ledger) -> None:
    await ledger.add(spooled([attempt(user="half \ud83d of a pair", served_model="nul \0 of it")]))

    assert await ledger.faults() == []


async def test_a_row_that_is_not_added_is_in_no_chain(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ConnectionError("the connection broke")

    await ledger.add(rows(10))
    with monkeypatch.context() as patched:
        patched.setattr("backend.database.ledger.append_to_hash_chains", broken)
        with pytest.raises(Exception, match="away"):
            await ledger.add(rows(10, 11))

    found = await ledger.verified()
    assert (found.attempts, found.breaks) == (10, ())


async def test_what_an_attempt_cost_may_be_reckoned_anew(ledger: Ledger) -> None:
    await ledger.add(rows(10))
    await ledger.sign()
    async with ledger.sessions.begin() as session:
        await session.execute(update(ATTEMPTS).values(cost=1, price_version="another"))

    assert await ledger.faults() == []


class TestTampering:
    @pytest.fixture(autouse=True)
    async def signed(self, ledger: Ledger) -> None:
        """Three stretches of ten, of which the last is not signed yet."""
        for first in (1, 11, 21):
            await ledger.add(rows(10, first))
            if first < 21:
                await ledger.sign()

    @pytest.mark.parametrize(("sequence", "stretch"), [(1, "1 to 10"), (15, "11 to 20"), (30, "21 to 30")])
    async def test_a_change_is_found_and_its_stretch_named(
        self, ledger: Ledger, sequence: int, stretch: str
    ) -> None:
        async with ledger.sessions.begin() as session:
            mine = ATTEMPTS.c.sequence == sequence
            await session.execute(update(ATTEMPTS).where(mine).values(input=1))

        assert await ledger.faults() == [("changed", f"attempts {stretch} of {WRITER}")]

    @pytest.mark.parametrize(("sequence", "stretch"), [(1, "1 to 10"), (20, "11 to 20"), (30, "21 to 30")])
    async def test_a_removal_is_found_and_its_stretch_named(
        self, ledger: Ledger, sequence: int, stretch: str
    ) -> None:
        async with ledger.sessions.begin() as session:
            await session.execute(delete(ATTEMPTS).where(ATTEMPTS.c.sequence == sequence))

        assert await ledger.faults() == [("removed", f"attempts {stretch} of {WRITER}")]

    @pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("column", [name for name in COLUMNS if name not in {"cost", "price_version"}])
    async def test_a_change_of_any_column_is_found(self, ledger: Ledger, column: str) -> None:
        async with ledger.sessions.begin() as session:
            row = (await session.execute(select(ATTEMPTS).where(ATTEMPTS.c.sequence == 5))).mappings().one()
            value = row[column]
            changed = (
                not value
                if isinstance(value, bool)
                else (value or 0) + 1000
                if isinstance(value, int) or column == "status"
                else f"{value}0"
            )
            await session.execute(delete(ATTEMPTS).where(ATTEMPTS.c.sequence == 5))
            await session.execute(insert(ATTEMPTS).values({**row, column: changed}))

        assert await ledger.faults() != []

    @pytest.mark.parametrize(
        ("writer", "sequence", "where"),
        [(WRITER, 31, f"attempt 31 of {WRITER}"), (OTHER, 1, f"attempt 1 of {OTHER}")],
    )
    async def test_a_row_that_was_put_in_is_found(
        self, ledger: Ledger, writer: str, sequence: int, where: str
    ) -> None:
        async with ledger.sessions.begin() as session:
            row = (await session.execute(select(ATTEMPTS).where(ATTEMPTS.c.sequence == 5))).mappings().one()
            await session.execute(insert(ATTEMPTS).values({**row, "writer": writer, "sequence": sequence}))

        assert ("inserted", where) in await ledger.faults()

    async def test_a_chain_whose_end_was_taken_back_is_found(self, ledger: Ledger) -> None:
        async with ledger.sessions() as session:
            query = select(AuditChainRow.hash).where(AuditChainRow.chain == "ledger")
            before = await session.scalar(query)
        await ledger.sign()
        async with ledger.sessions.begin() as session:
            await session.execute(update(AuditChainRow).values(sequence=20, hash=before))

        assert await ledger.faults() != []


async def test_what_was_pruned_is_not_missed_and_what_was_removed_later_is(ledger: Ledger) -> None:
    for number in range(10):
        day = NOON + number * DAY
        await ledger.add(rows(10, number * 10 + 1, at=day))
        await ledger.sign(MOMENT + timedelta(days=number, minutes=1))
    pruned = MOMENT + timedelta(days=4)
    async with ledger.sessions.begin() as session:
        await session.execute(delete(ATTEMPTS).where(ATTEMPTS.c.sequence <= 45))
        before = {"before": pruned.date().isoformat()}
        await record_audit_event(
            session, "ledger.pruned", "attempts", actor="ann", now=MOMENT, details=before
        )

    held = await ledger.verified()
    async with ledger.sessions.begin() as session:
        await session.execute(delete(ATTEMPTS).where(ATTEMPTS.c.sequence == 95))

    assert (held.breaks, held.beside_pruned) == ((), 5)
    assert await ledger.faults() == [("removed", f"attempts 91 to 100 of {WRITER}")]


async def test_who_prunes_is_in_the_trail_and_the_rest_holds(ledger: Ledger) -> None:
    for number in range(4):
        day = NOON + number * DAY
        call = str(uuid7(day // 1_000_000, 0))
        await ledger.add(spooled([attempt(at=day, call=call)] * 5, first=number * 5 + 1))
        await ledger.sign(MOMENT + timedelta(days=number, minutes=1))

    before = (MOMENT + timedelta(days=2)).date()
    pruned = [await prune_ledger(ledger.engine, before, actor="ann") for _ in range(2)]

    assert [counts.rows for counts in pruned] == [10, 0]
    entries = await AuditTrail(ledger.sessions).list_entries(limit=9)
    assert [(entry.kind, entry.actor) for entry in entries] == [("ledger.pruned", "ann")]
    found = await ledger.verified()
    assert (found.attempts, found.breaks) == (10, ())


async def test_who_reckons_costs_anew_is_in_the_trail(ledger: Ledger) -> None:
    await ledger.add(rows(5))

    await recompute_costs(
        ledger.engine, UsagePeriod(MOMENT.date(), MOMENT.date()), [], "of today", actor="ann"
    )

    (entry,) = await AuditTrail(ledger.sessions).list_entries(limit=9)
    assert (entry.kind, entry.subject, entry.actor) == ("ledger.repriced", "of today", "ann")
    assert await ledger.faults() == []
