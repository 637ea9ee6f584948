from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from backend.background import BackgroundTaskRunner
from backend.ledger.folders import ShippedPosition, list_spool_folders, lock_backlog
from backend.ledger.lines import decode_lines
from backend.ledger.segments import SegmentFile
from backend.ledger.shipper import OTHERS_SECONDS, REFUSED, Shipper, ShipperState
from backend.ledger.spool import Spool, SpoolLimits
from backend.tests.fakes.clock import Clock
from backend.tests.fakes.records import record
from backend.tests.fakes.spools import MemoryLedgerStore, crash
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = record()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def spool(root: Path) -> Iterator[Spool]:
    with Spool(root, SpoolLimits(segment=2_000)) as opened:
        yield opened


@pytest.fixture
def store() -> MemoryLedgerStore:
    return MemoryLedgerStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shipper(spool: Spool, store: MemoryLedgerStore, clock: Clock) -> Shipper:
    return Shipper(spool, store, clock=clock, now=clock, chance=lambda: 0.5)


def abandoned(root: Path, rows: int) -> None:
    """Leave a folder of a process that was killed."""
    dead = Spool(root)
    for _ in range(rows):
        dead.append(RECORD)
    crash(dead)


def segments(root: Path) -> list[Path]:
    return list(root.rglob("*.log"))


async def test_a_row_is_shipped_as_it_was_written(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    spool.append(RECORD)

    await shipper.ship()

    assert store.rows == {(spool.writer, 1): RECORD}


async def test_what_is_shipped_is_not_shipped_again(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    spool.append(RECORD)
    await shipper.ship()
    spool.append(RECORD)
    await shipper.ship()
    await shipper.ship()

    assert store.batches == [1, 1]


async def test_a_batch_has_a_thousand_rows_at_most_and_passes_from_file_to_file(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    for number in range(2_500):
        spool.append(RECORD)
        if number % 100 == 0:
            spool.run_maintenance()

    await shipper.ship()

    assert (sum(store.batches), len(store.batches)) == (2_500, 3)
    assert max(store.batches) <= 1_000


async def test_files_that_are_shipped_are_deleted_and_the_one_that_is_written_to_is_not(
    root: Path, spool: Spool, shipper: Shipper
) -> None:
    for _ in range(12):
        spool.append(RECORD)
        spool.run_maintenance()
    spool.append(RECORD)

    await shipper.ship()

    assert len(segments(root)) == 1


async def test_a_file_that_the_next_one_was_made_for_is_not_left_before_that_has_a_line(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    spool.append(RECORD)
    assert spool.folder is not None
    SegmentFile(spool.folder / "00000002.log", 10_000)
    await shipper.ship()
    spool.append(RECORD)
    await shipper.ship()

    assert sorted(sequence for _, sequence in store.rows) == [1, 2]


async def test_a_store_that_is_away_loses_nothing_and_is_asked_after_longer_and_longer_pauses(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore, clock: Clock
) -> None:
    spool.append(RECORD)
    store.is_away = True
    tried = []
    for second in range(200):
        clock.now = second / 10
        fails = shipper._fails
        await shipper.ship()
        tried += [clock.now] * (shipper._fails > fails)
    assert tried == [0.0, 0.3, 0.8, 1.8, 3.8, 7.8, 11.8, 15.8, 19.8]
    assert shipper.stats.away_since == 0.0

    store.is_away = False
    clock.now = 600.0
    await shipper.ship()

    assert len(store.rows) == 1
    assert shipper.stats == ShipperState(rows=1)


async def test_the_log_tells_once_that_a_store_is_away_and_once_that_it_is_back(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    spool.append(RECORD)
    store.is_away = True
    for minute in range(5):
        clock.now = 60.0 * minute
        await shipper.ship()
    store.is_away = False
    clock.now = 600.0
    await shipper.ship()

    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message.split()[0] for message in told] == ["ledger.store_away:", "ledger.store_back"]
    assert told[1] == "ledger.store_back after_seconds=600"


async def test_a_store_that_does_not_answer_is_away(
    spool: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(MemoryLedgerStore):
        async def add(self, rows: object) -> int:
            return await asyncio.Event().wait()

    monkeypatch.setattr("backend.ledger.shipper.ADD_SECONDS", 0.001)
    shipper = Shipper(spool, Silent(), clock=clock, now=clock)
    spool.append(RECORD)

    await shipper.ship()

    assert shipper.stats.away_since == 0.0


async def test_rows_that_the_store_refuses_are_set_aside_and_the_others_are_shipped(
    root: Path, spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    store.refuses = lambda row: row.sequence in {3, 4}
    for number in range(1, 8):
        spool.append(record(user=str(number)))

    await shipper.ship()

    assert sorted(sequence for _, sequence in store.rows) == [1, 2, 5, 6, 7]
    aside = decode_lines((root / REFUSED).read_bytes(), 10, AttemptRecord._fields)
    assert [row.record.user for row in aside.rows] == ["3", "4"]
    assert (shipper.stats.rows, shipper.stats.refused) == (5, 2)


async def test_what_a_killed_process_left_is_shipped_and_its_folder_removed(
    root: Path, spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    abandoned(root, 3)
    spool.append(RECORD)

    await shipper.ship()

    assert len(store.rows) == 4
    assert list_spool_folders(root) == [spool.folder]


async def test_others_are_looked_at_every_two_seconds_and_ones_own_each_time(
    root: Path, spool: Spool, shipper: Shipper, store: MemoryLedgerStore, clock: Clock
) -> None:
    await shipper.ship()
    abandoned(root, 1)
    spool.append(RECORD)
    clock.now = OTHERS_SECONDS - 0.1
    await shipper.ship()
    assert len(store.rows) == 1

    clock.now = OTHERS_SECONDS
    await shipper.ship()

    assert len(store.rows) == 2


async def test_a_process_that_lives_and_does_not_ship_is_shipped_for_and_keeps_its_folder(
    root: Path, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    with Spool(root) as other:
        other.append(RECORD)

        await shipper.ship()

        assert list(store.rows) == [(other.writer, 1)]
        assert list_spool_folders(root) == [other.folder]


async def test_a_folder_that_another_ships_is_left_to_them(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    spool.append(RECORD)
    assert spool.folder is not None

    with lock_backlog(spool.folder):
        await shipper.ship()
        assert store.rows == {}
    await shipper.ship()

    assert len(store.rows) == 1


@pytest.mark.parametrize("mark", [b"", b"00000001.log 000", b"00000001.log 9999999999999999\n"])
async def test_a_mark_that_was_not_written_whole_or_is_of_what_was_lost_ships_anew(
    root: Path, shipper: Shipper, store: MemoryLedgerStore, mark: bytes
) -> None:
    abandoned(root, 2)
    (list_spool_folders(root)[0] / "shipped").write_bytes(mark)

    await shipper.ship()

    assert len(store.rows) == 2
    assert list_spool_folders(root) == []


async def test_a_folder_that_cannot_be_read_is_told_of_and_keeps_no_other_from_being_shipped(
    root: Path, spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    abandoned(root, 1)
    bad = list_spool_folders(root)[0]
    (bad / "00000001.log").unlink()
    (bad / "00000001.log").mkdir()
    spool.append(RECORD)

    with pytest.raises(IsADirectoryError):
        await shipper.ship()

    assert list(store.rows) == [(spool.writer, 1)]
    assert bad.exists()


async def test_at_the_end_all_is_shipped_in_time_or_left_for_the_next_start(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    store.is_away = True
    spool.append(RECORD)
    await shipper.ship()

    assert not await shipper.ship_remaining(5.0)
    store.is_away = False
    assert await shipper.ship_remaining(5.0)

    assert len(store.rows) == 1


async def test_what_is_appended_until_the_end_is_shipped_at_the_end(
    spool: Spool, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    async with shipper.run_in_background(BackgroundTaskRunner()):
        spool.append(RECORD)

    assert len(store.rows) == 1


async def test_lines_that_were_damaged_are_counted(
    root: Path, shipper: Shipper, store: MemoryLedgerStore
) -> None:
    abandoned(root, 3)
    (path,) = segments(root)
    path.write_bytes(path.read_bytes().replace(b'"ann"', b'"bob"', 1))

    await shipper.ship()

    assert sorted(sequence for _, sequence in store.rows) == [2, 3]
    assert shipper.stats.damaged == 1


def test_a_mark_is_read_as_it_was_written(root: Path) -> None:
    abandoned(root, 1)

    with lock_backlog(list_spool_folders(root)[0]) as backlog:
        assert backlog is not None
        backlog.mark_shipped(ShippedPosition("00000007.log", 12_345))
    with lock_backlog(list_spool_folders(root)[0]) as again:
        assert again is not None
        assert again.mark == ShippedPosition("00000007.log", 12_345)
