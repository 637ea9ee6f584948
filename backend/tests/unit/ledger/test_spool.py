from __future__ import annotations

import logging
import os
import resource
import shutil
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from backend.ledger import segments
from backend.ledger.folders import has_writer, list_spool_folders, lock_backlog, total_bytes
from backend.ledger.spool import Spool, SpoolLimits
from backend.tests.fakes.children import fork, in_child
from backend.tests.fakes.records import record
from backend.tests.fakes.spools import crash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = SpoolLimits(on_disk=20_000, segment=2_000, in_memory=5)
"""A segment for three records or so."""

RECORD = record()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def spool(root: Path) -> Iterator[Spool]:
    with Spool(root) as opened:
        yield opened


def written(root: Path) -> list[tuple[str, int]]:
    """The writer and the number of every record on the disk."""
    found = []
    for folder in list_spool_folders(root):
        with lock_backlog(folder) as backlog:
            assert backlog is not None
            found += [(row.writer, row.sequence) for row in backlog.read_batch(1_000_000).rows]
    return found


def sequences(root: Path) -> list[int]:
    return [sequence for _, sequence in written(root)]


def test_a_record_is_in_the_file_when_append_returns(spool: Spool, root: Path) -> None:
    spool.append(RECORD)

    assert written(root) == [(spool.writer, 1)]


def test_what_is_kept_is_for_its_owner_alone(spool: Spool, root: Path) -> None:
    old = os.umask(0)
    try:
        spool.append(RECORD)
        with lock_backlog(list_spool_folders(root)[0]):
            pass
    finally:
        os.umask(old)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*.*")} == {0o600}
    assert stat.S_IMODE((list_spool_folders(root)[0] / "shipped").stat().st_mode) == 0o600


def test_a_record_is_synced_beside_the_call(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    monkeypatch.setattr(segments, "_sync", lambda _: synced.set())

    with Spool(root) as spool:
        spool.append(RECORD)

        assert synced.wait(20)


def test_records_of_many_threads_are_numbered_without_gaps(root: Path) -> None:
    def write() -> None:
        for _ in range(200):
            written_by_all.append(RECORD)

    with Spool(root, SpoolLimits(segment=50_000)) as written_by_all:
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sequences(root) == list(range(1, 801))


def test_a_large_file_is_followed_by_the_next(root: Path) -> None:
    with Spool(root, SMALL._replace(on_disk=10**9)) as spool:
        for _ in range(12):
            spool.append(RECORD)
            spool.run_maintenance()

        assert len(list(root.rglob("*.log"))) >= 3
        assert sequences(root) == list(range(1, 13))


def test_the_room_of_a_file_is_set_aside_and_given_back_at_the_end(root: Path) -> None:
    """Whoever writes to a file that grows waits while it is synced."""
    with Spool(root) as spool:
        spool.append(RECORD)
        (segment,) = root.rglob("*.log")
        before = segment.stat().st_size
        spool.append(RECORD)
        assert segment.stat().st_size == before

    assert segment.stat().st_size < before
    assert sequences(root) == [1, 2]


def test_a_full_spool_keeps_rows_in_memory_then_counts_what_is_lost_and_never_raises(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(root, SMALL) as spool:
        for _ in range(100):
            spool.append(RECORD)
            spool.run_maintenance()

        figures = spool.stats
        assert (figures.appended, figures.waiting) == (100, 5)
        assert figures.fault is not None
        assert "the spool is full" in figures.fault
        assert len(sequences(root)) + figures.waiting + figures.lost == 100
        assert total_bytes(root) <= SMALL.on_disk
    told = [record.message.split()[0] for record in caplog.records if record.levelno >= logging.ERROR]
    assert told == ["ledger.spool_fault", "ledger.rows_lost", "ledger.rows_lost"]


def test_what_waited_is_written_when_there_is_room_again_and_gaps_tell_what_is_lost(root: Path) -> None:
    with Spool(root, SMALL) as spool:
        for _ in range(100):
            spool.append(RECORD)
            spool.run_maintenance()
        before = set(sequences(root))
        for path in sorted(root.rglob("*.log"))[:4]:
            path.unlink()

        spool.run_maintenance()
        spool.append(RECORD)

        assert (spool.stats.waiting, spool.stats.fault) == (0, None)
        last = max(before)
        assert [one for one in sequences(root) if one > last] == [*range(last + 1, last + 6), 101]
        assert spool.stats.lost == 101 - last - 6


def test_a_line_that_was_written_in_part_is_written_whole_when_there_is_room(root: Path) -> None:
    def go() -> object:
        with Spool(root) as spool:
            spool.append(RECORD)
            used = len(next(root.rglob("*.log")).read_bytes().rstrip(b"\0"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (used + 100, resource.RLIM_INFINITY))
            spool.append(RECORD)
            spool.append(RECORD)
            during = spool.stats.waiting
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            spool.run_maintenance()
            spool.append(RECORD)
            return [during, *sequences(root)]

    assert in_child(go) == [2, 1, 2, 3, 4]


@pytest.mark.parametrize("is_moved", [False, True], ids=["deleted", "moved"])
def test_what_was_written_last_outlives_its_folder(root: Path, tmp_path: Path, is_moved: bool) -> None:  # noqa: FBT001
    with Spool(root) as spool:
        spool.append(RECORD)
        spool.append(RECORD)
        if is_moved:
            root.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(root)

        spool.append(RECORD)
        spool.run_maintenance()
        spool.append(RECORD)

        assert sequences(root) == [1, 2, 3, 4]


def test_a_file_that_is_deleted_alone_is_written_again(root: Path) -> None:
    with Spool(root) as spool:
        spool.append(RECORD)
        next(root.rglob("*.log")).unlink()
        spool.append(RECORD)
        spool.run_maintenance()

        assert sequences(root) == [1, 2]
        assert len(list_spool_folders(root)) == 1


def test_a_place_where_nothing_can_be_made_holds_no_call_up(tmp_path: Path) -> None:
    root = tmp_path / "ledger"
    root.write_text("not a folder")

    with Spool(root) as spool:
        spool.append(RECORD)
        assert (spool.stats.waiting, spool.stats.fault) == (1, "File exists")
        root.unlink()
        spool.run_maintenance()

        assert sequences(root) == [1]


def test_a_forked_child_is_a_writer_of_its_own_and_leaves_the_parents_alone(root: Path) -> None:
    with Spool(root) as spool:
        spool.append(RECORD)
        mine = spool.folder

        def go() -> list[object]:
            spool.append(RECORD)
            spool.append(RECORD)
            crash(spool)
            return [spool.writer, spool.stats.appended]

        theirs, appended = in_child(go)

        spool.append(RECORD)
        assert appended == 2
        assert sorted(written(root)) == sorted(
            [(spool.writer, 1), (spool.writer, 2), (theirs, 1), (theirs, 2)]
        )
        assert [folder for folder in list_spool_folders(root) if has_writer(folder)] == [mine]


def test_forks_in_the_midst_of_appends_lose_and_double_nothing(root: Path) -> None:
    over, appended = threading.Event(), [0, 0]

    def write(number: int) -> None:
        while not over.is_set():
            shared.append(RECORD)
            appended[number] += 1

    def go() -> str:
        for _ in range(50):
            shared.append(RECORD)
        crash(shared)
        return shared.writer

    with Spool(root, SpoolLimits(segment=20_000)) as shared:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            children = [fork(go) for _ in range(5)]
            writers = [child.result() for child in children]
        finally:
            over.set()
        for thread in threads:
            thread.join()

        expected = {shared.writer: sum(appended)} | dict.fromkeys(writers, 50)
        assert sorted(written(root)) == sorted(
            (writer, number) for writer, rows in expected.items() for number in range(1, rows + 1)
        )


def test_a_child_that_outlives_its_parent_does_not_hold_the_parents_folder(root: Path) -> None:
    spool = Spool(root)
    spool.append(RECORD)
    here, there = os.pipe()

    def go() -> bool:
        os.close(there)
        return os.read(here, 1) == b""

    child = fork(go)
    os.close(here)
    crash(spool)

    assert [has_writer(folder) for folder in list_spool_folders(root)] == [False]
    os.close(there)
    assert child.result()


def test_a_closed_spool_begins_anew(root: Path) -> None:
    spool = Spool(root)
    spool.append(RECORD)
    first = spool.writer
    spool.close()

    spool.append(record(user="bob"))

    assert spool.writer != first
    assert sorted(written(root)) == sorted([(first, 1), (spool.writer, 1)])
    spool.close()


def test_an_append_in_the_midst_of_an_append_is_no_deadlock(root: Path) -> None:
    """The finaliser of a stream that was given up may run at any time."""

    class Reentrant(Spool):
        is_inside = False

        def _write(self, text: bytes) -> None:
            if not self.is_inside:
                self.is_inside = True
                self.append(RECORD)
            super()._write(text)

    with Reentrant(root) as spool:
        spool.append(RECORD)

        assert sorted(sequences(root)) == [1, 2]
