"""The audit trail: what is in it stays as it is, or it is told what was done to it."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from backend.database import audit
from backend.database.audit import AuditTrail, record_audit_event
from backend.database.tables import AuditChainRow, AuditEntryRow, AuditHeadRow
from backend.database.verification import verify_hash_chains
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey
from backend.keys.signing import AuditSigningKeys
from backend.ledger.audit import START, AuditEntry, AuditEvent, SignedHead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.database.verification import ChainVerificationResult

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MASTER = MasterKey.generate().to_text()
TABLES = {"audit_entries": AuditEntryRow, "audit_chains": AuditChainRow, "audit_heads": AuditHeadRow}
Sessions = async_sessionmaker[AsyncSession]
Row = dict[str, Any]


def head_keys(*masters: str) -> AuditSigningKeys:
    return AuditSigningKeys(EnvironmentMasterKeys(SecretStr(",".join(masters or (MASTER,)))))


@pytest.fixture
def sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine)


@pytest.fixture
def as_writer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go on as another process would."""
    return lambda name: monkeypatch.setattr(audit._writer, "name", name * 32)


async def write(sessions: Sessions, *subjects: str, **details: Any) -> None:
    for number, subject in enumerate(subjects):
        async with sessions.begin() as session:
            now = NOON + timedelta(seconds=number)
            await record_audit_event(session, "key.added", subject, actor="ann", now=now, details=details)


async def verified(sessions: Sessions, *masters: str) -> ChainVerificationResult:
    return await verify_hash_chains(sessions, head_keys(*masters))


async def sign(sessions: Sessions, *masters: str) -> None:
    await AuditTrail(sessions, clock=lambda: NOON).sign_hash_chains(head_keys(*masters))


class TestWhole:
    async def test_an_empty_trail_holds(self, sessions: Sessions) -> None:
        assert (await verified(sessions)).breaks == ()

    async def test_chains_of_two_writers_hold_together(
        self, sessions: Sessions, as_writer: Callable[[str], None]
    ) -> None:
        await write(sessions, "a", "b")
        as_writer("e")
        await write(sessions, "c")
        await sign(sessions)
        await write(sessions, "d")

        found = await verified(sessions)

        assert (found.entries, found.heads, found.unverified, found.breaks) == (4, 1, 0, ())

    async def test_entries_that_are_written_at_once_are_one_chain(self, sessions: Sessions) -> None:
        await asyncio.gather(*(write(sessions, f"s{number}") for number in range(12)))

        found = await verified(sessions)

        assert (found.entries, found.breaks) == (12, ())

    async def test_an_entry_stands_or_falls_with_what_it_tells_of(self, sessions: Sessions) -> None:
        await write(sessions, "a")
        with suppress(KeyboardInterrupt):
            async with sessions.begin() as session:
                await record_audit_event(session, "key.added", "b", actor="ann", now=NOON)
                raise KeyboardInterrupt
        await write(sessions, "c")

        found = await verified(sessions)

        assert (found.entries, found.breaks) == (2, ())
        assert {entry.subject for entry in await AuditTrail(sessions).list_entries(limit=9)} == {"a", "c"}

    async def test_without_anything_new_no_head_is_signed(self, sessions: Sessions) -> None:
        await write(sessions, "a")
        await sign(sessions)

        assert await AuditTrail(sessions).sign_hash_chains(head_keys()) is None

    async def test_a_head_that_cannot_be_signed_leaves_all_to_the_next(self, sessions: Sessions) -> None:
        class NoKeys:
            def newest_signing_key(self, *, may_create_master_key: bool) -> Any:
                raise RuntimeError("no master key")

        await write(sessions, "a")
        with pytest.raises(RuntimeError):
            await AuditTrail(sessions).sign_hash_chains(NoKeys())
        await sign(sessions)

        found = await verified(sessions)
        assert (found.heads, found.breaks) == (1, ())

    async def test_heads_that_are_signed_at_once_do_not_fork(self, sessions: Sessions) -> None:
        await write(sessions, "a")

        await asyncio.gather(*(sign(sessions) for _ in range(4)))

        found = await verified(sessions)
        assert (found.heads, found.breaks) == (1, ())

    async def test_what_is_read_while_others_write_holds(self, sessions: Sessions) -> None:
        async def verify_often() -> list[Any]:
            return [one for _ in range(8) for one in (await verified(sessions)).breaks]

        breaks, *_ = await asyncio.gather(
            verify_often(), *(write(sessions, *"abcdef") for _ in range(3)), sign(sessions)
        )

        assert breaks == []


class TestMasterKeys:
    async def test_a_head_vouches_for_those_before_it_whose_master_key_is_gone(
        self, sessions: Sessions
    ) -> None:
        old, new = MASTER, MasterKey.generate().to_text()
        await write(sessions, "a")
        await sign(sessions, old)
        await write(sessions, "b")
        await sign(sessions, new)

        found = await verified(sessions, new)

        assert (found.unverified, found.breaks) == (0, ())

    async def test_heads_that_nobody_can_verify_are_counted(self, sessions: Sessions) -> None:
        await write(sessions, "a")
        await sign(sessions)

        found = await verified(sessions, MasterKey.generate().to_text())

        assert (found.unverified, found.breaks) == (1, ())

    async def test_the_signing_key_is_not_the_master_key(self) -> None:
        signed = head_keys().newest_signing_key(may_create_master_key=False).sign(b"message")

        assert MasterKey.from_text(MASTER).secret not in signed
        assert head_keys(MASTER).is_valid_signature(MasterKey.from_text(MASTER).name, b"message", signed)
        assert not head_keys(MASTER).is_valid_signature(MasterKey.from_text(MASTER).name, b"another", signed)


class TestSecrets:
    async def test_no_key_enters_an_entry(self, sessions: Sessions) -> None:
        canary = "sk-canary-" + secrets.token_hex(8)

        await write(sessions, f"about {canary}", reason=f"it was {canary}", more=[{"deep": canary}])

        (entry,) = await AuditTrail(sessions).list_entries(limit=1)
        assert canary not in str(entry)
        assert json.loads(entry.details) == {"reason": "it was [hidden]", "more": [{"deep": "[hidden]"}]}
        assert (await verified(sessions)).breaks == ()

    async def test_what_somebody_wrote_acts_nowhere(self, sessions: Sessions) -> None:
        await write(sessions, "a\x1b[2J\nb\x00")

        (entry,) = await AuditTrail(sessions).list_entries(limit=1)
        assert entry.subject == r"a\x1b[2J\nb\x00"


class TestKept:
    """The database itself refuses to change or delete what is in the trail."""

    @pytest.mark.parametrize("table", ["audit_entries", "audit_heads"])
    @pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET hash = ''"])
    async def test_rows_are_only_added(self, sessions: Sessions, table: str, change: str) -> None:
        await write(sessions, "a")
        await sign(sessions)

        with pytest.raises(DBAPIError, match="the audit trail is only added to"):
            async with sessions.begin() as session:
                await session.execute(text(change.format(table)))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
class TestTampering:
    """Somebody who may write to the database, triggers and all, changes one row. Each such change is found."""

    @pytest.fixture
    async def rows(
        self, sessions: Sessions, engine: AsyncEngine, as_writer: Callable[[str], None]
    ) -> AsyncIterator[dict[str, list[Row]]]:
        """Two chains, signed twice, with entries behind the last head."""
        for name in ("a", "b"):
            as_writer(name)
            await write(sessions, "one", "two", "three")
        await sign(sessions)
        as_writer("a")
        await write(sessions, "four")
        await sign(sessions)
        await write(sessions, "five")
        await _without_triggers(engine)
        async with sessions() as session:
            yield {
                name: [dict(row) for row in (await session.execute(select(kind.__table__))).mappings()]
                for name, kind in TABLES.items()
            }

    async def _found(self, sessions: Sessions, name: str, rows: Sequence[Row]) -> list[str]:
        await _put(sessions, name, rows)
        return [one.fault for one in (await verified(sessions)).breaks]

    @pytest.mark.parametrize("name", TABLES)
    async def test_any_change_of_any_value_is_found(
        self, sessions: Sessions, rows: dict[str, list[Row]], name: str
    ) -> None:
        unseen = []
        for at, row in enumerate(rows[name][:5]):
            for column, value in row.items():
                changed = value + 1000 if isinstance(value, int) else f"{value}0"
                tampered = [*rows[name][:at], {**row, column: changed}, *rows[name][at + 1 :]]
                if not await self._found(sessions, name, tampered):
                    unseen.append((at, column))

        assert unseen == []

    @pytest.mark.parametrize("name", TABLES)
    async def test_any_removal_is_found(
        self, sessions: Sessions, rows: dict[str, list[Row]], name: str
    ) -> None:
        unseen = [
            at
            for at in range(len(rows[name]))
            if not await self._found(sessions, name, [*rows[name][:at], *rows[name][at + 1 :]])
        ]

        assert unseen == []

    async def test_any_two_that_changed_places_are_found(
        self, sessions: Sessions, rows: dict[str, list[Row]]
    ) -> None:
        name, kept = "audit_entries", rows["audit_entries"]
        places = [(row["writer"], row["sequence"]) for row in kept]
        unseen = []
        for first in range(len(kept)):
            for second in range(first + 1, len(kept)):
                order = list(range(len(kept)))
                order[first], order[second] = second, first
                moved = [
                    {**kept[at], "writer": writer, "sequence": sequence}
                    for at, (writer, sequence) in zip(order, places, strict=True)
                ]
                if not await self._found(sessions, name, moved):
                    unseen.append((first, second))

        assert unseen == []

    @pytest.mark.parametrize("writer", ["a", "c"])
    @pytest.mark.parametrize("sequence", [-1, 0, 6, 99])
    async def test_a_link_that_was_put_in_is_found_also_if_it_hangs_together(
        self, sessions: Sessions, rows: dict[str, list[Row]], writer: str, sequence: int
    ) -> None:
        mine = [row for row in rows["audit_entries"] if row["writer"] == writer * 32]
        entry = AuditEntry.from_event(
            AuditEvent(1, "eve", "key.added", "x"),
            writer * 32,
            sequence,
            mine[-1]["hash"] if mine else START,
        )

        assert await self._found(sessions, "audit_entries", [*rows["audit_entries"], entry._asdict()])

    async def test_the_break_is_named(self, sessions: Sessions, rows: dict[str, list[Row]]) -> None:
        entries, b = rows["audit_entries"], "b" * 32

        async def broken(change: Callable[[Row], Row | None]) -> tuple[str, str]:
            changed = [change(row) if row["writer"] == b else row for row in entries]
            await _put(sessions, "audit_entries", [row for row in changed if row is not None])
            first = (await verified(sessions)).breaks[0]
            return first.fault, first.where

        swapped = {1: 2, 2: 1, 3: 3}
        assert [
            await broken(lambda row: {**row, "actor": "eve"} if row["sequence"] == 2 else row),
            await broken(lambda row: None if row["sequence"] == 2 else row),
            await broken(lambda row: None if row["sequence"] == 3 else row),
            await broken(lambda row: {**row, "sequence": swapped[row["sequence"]]}),
        ] == [
            ("changed", f"entry 2 of {b} (key.added two)"),
            ("removed", f"entry 2 of {b}"),
            ("truncated", f"entry 3 of {b}"),
            ("reordered", f"entry 1 of {b} (key.added two)"),
        ]

    async def test_a_chain_that_was_cut_off_with_what_is_noted_of_it_is_missed_by_the_signed_head(
        self, sessions: Sessions, rows: dict[str, list[Row]]
    ) -> None:
        kept = [row for row in rows["audit_entries"] if (row["writer"], row["sequence"]) != ("b" * 32, 3)]
        two = next(row["hash"] for row in kept if (row["writer"], row["sequence"]) == ("b" * 32, 2))
        await _put(sessions, "audit_entries", kept)
        async with sessions.begin() as session:
            mine = AuditChainRow.writer == "b" * 32
            await session.execute(update(AuditChainRow).where(mine).values(sequence=2, hash=two))

        assert [one.fault for one in (await verified(sessions)).breaks] == ["truncated"]

    async def test_a_chain_that_was_written_anew_is_missed_by_the_signed_head(
        self, sessions: Sessions, rows: dict[str, list[Row]]
    ) -> None:
        """All its hashes are right, but nobody else can sign a head."""
        forged, previous = [], START
        for row in rows["audit_entries"]:
            if row["writer"] != "b" * 32:
                forged.append(row)
                continue
            event = AuditEvent(row["at"], "eve", row["kind"], row["subject"])
            entry = AuditEntry.from_event(event, row["writer"], row["sequence"], previous)
            previous = entry.hash
            forged.append(entry._asdict())
        await _put(sessions, "audit_entries", forged)
        async with sessions.begin() as session:
            mine = AuditChainRow.writer == "b" * 32
            await session.execute(update(AuditChainRow).where(mine).values(hash=previous))

        (found,) = (await verified(sessions)).breaks

        assert (found.fault, found.says) == ("changed", "a signed head has another hash for it")

    async def test_a_head_of_another_key_is_forged(
        self, sessions: Sessions, rows: dict[str, list[Row]]
    ) -> None:
        class Forger:
            name = MasterKey.from_text(MASTER).name

            def sign(self, message: bytes) -> bytes:
                return (
                    head_keys(MasterKey.generate().to_text())
                    .newest_signing_key(may_create_master_key=False)
                    .sign(message)
                )

        last = SignedHead(**rows["audit_heads"][-1])
        forged = SignedHead.sign_next(last.number, last.at, last.parse_tips(), last.previous, Forger())
        await _put(sessions, "audit_heads", [*rows["audit_heads"][:-1], forged._asdict()])

        assert [one.fault for one in (await verified(sessions)).breaks] == ["forged"]


async def _without_triggers(engine: AsyncEngine) -> None:
    """As whoever owns the database may."""
    async with engine.begin() as connection:
        for table in ("audit_entries", "audit_heads"):
            await connection.execute(text(f"DROP TRIGGER {table}_no_update"))
            await connection.execute(text(f"DROP TRIGGER {table}_no_delete"))


async def _put(sessions: Sessions, name: str, rows: Sequence[Row]) -> None:
    async with sessions.begin() as session:
        await session.execute(delete(TABLES[name]))
        if rows:
            await session.execute(insert(TABLES[name]), list(rows))
