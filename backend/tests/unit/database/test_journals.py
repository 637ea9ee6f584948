"""Files in which what was paid for outlives a process."""

# ruff: noqa: ASYNC222, ASYNC240 - nothing else runs

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.conversations.errors import StorageUnavailableError
from backend.conversations.journal import JournalHeader
from backend.database import journals as module
from backend.database.engine import UnusableDatabaseError
from backend.database.journals import FileJournal, FileJournalStore
from backend.tests.fakes.children import forking

if TYPE_CHECKING:
    from pathlib import Path

ID = "0123456789abcdef" * 2
CLAIM = JournalHeader(fingerprint="f", created_at=datetime(2026, 11, 21, 12, tzinfo=UTC))
ROOM = 10_000
DAY = 24 * 3600.0
MADE = json.dumps({"title": "Kaffee ☕"}).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "unstored"


@pytest.fixture
def journals(folder: Path) -> FileJournalStore:
    return FileJournalStore(folder)


async def opened(journals: FileJournalStore) -> FileJournal:
    journal = await journals.open(ID)
    assert journal is not None
    return journal


async def begun(journals: FileJournalStore) -> FileJournal:
    journal = await opened(journals)
    await journal.reserve_space(CLAIM, ROOM)
    return journal


async def test_what_was_written_is_there_when_it_is_opened_again(journals: FileJournalStore) -> None:
    journal = await begun(journals)
    await journal.write_answer("conv_folder", b'{"a": 1}')
    await journal.write_conversation(MADE)
    await journal.close()

    again = await opened(journals)

    assert (again.header, again.read_answer("conv_folder"), again.finished_conversation) == (
        CLAIM,
        b'{"a": 1}',
        MADE,
    )
    assert again.read_answer("conv_discard") is None
    await again.close()


async def test_it_is_open_in_one_place_at_a_time(journals: FileJournalStore, folder: Path) -> None:
    journal = await begun(journals)

    assert await journals.open(ID) is None
    assert await FileJournalStore(folder).open(ID) is None

    await journal.close()
    await (await opened(journals)).close()


async def test_it_is_free_when_the_process_that_had_it_is_killed(
    journals: FileJournalStore, folder: Path
) -> None:
    ready, tell = os.pipe()
    with forking():
        child = os.fork()
    if child == 0:
        module._open(folder, ID)
        os.write(tell, b"1")
        signal.pause()
    os.read(ready, 1)
    assert await journals.open(ID) is None

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    await (await opened(journals)).close()


async def test_it_is_the_owners_alone(journals: FileJournalStore, folder: Path) -> None:
    before = os.umask(0)
    try:
        journal = await begun(journals)
    finally:
        os.umask(before)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ID).stat().st_mode) == 0o600
    await journal.close()


async def test_room_is_there_before_anything_is_written_and_goes_back(
    journals: FileJournalStore, folder: Path
) -> None:
    journal = await begun(journals)
    assert (folder / ID).stat().st_blocks * 512 >= ROOM

    await journal.close()

    assert (folder / ID).stat().st_size < ROOM


@pytest.mark.parametrize("error", [None, errno.EINVAL, errno.EOPNOTSUPP])
async def test_where_no_room_can_be_set_aside_it_is_filled(
    error: int | None, journals: FileJournalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: int) -> None:
        raise AttributeError if error is None else OSError(error, "cannot")

    monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)

    journal = await begun(journals)

    assert (folder / ID).stat().st_size >= ROOM
    await journal.close()


@pytest.mark.parametrize("writes", ["nothing", "removed"])
async def test_what_holds_nothing_leaves_no_file(
    writes: str, journals: FileJournalStore, folder: Path
) -> None:
    journal = await opened(journals)
    if writes == "removed":
        await journal.reserve_space(CLAIM, ROOM)
        await journal.write_conversation(MADE)
        await journal.remove()

    await journal.close()

    assert list(folder.iterdir()) == []


@given(cut=st.integers(0, 10**6), filler=st.sampled_from([b"", b"\0"]))
async def test_what_was_half_written_is_not_there(
    cut: int,
    filler: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever a disk has of a file when its power goes out, what is read is what was written first."""
    folder = tmp_path_factory.mktemp("cut")
    journals = FileJournalStore(folder)
    journal = await begun(journals)
    await journal.write_answer("conv_structure", b'{"a": "bc"}')
    await journal.write_conversation(MADE)
    await journal.close()
    whole = (folder / ID).read_bytes()
    cut %= len(whole) + 1
    (folder / ID).write_bytes(whole[:cut] + filler * (len(whole) - cut))

    again = await opened(journals)

    kept = [again.header, again.read_answer("conv_structure"), again.finished_conversation]
    ends = [end + 1 for end, byte in enumerate(whole) if byte == ord("\n")]
    assert kept == [
        header if cut >= end else None
        for header, end in zip([CLAIM, b'{"a": "bc"}', MADE], ends, strict=True)
    ]
    await again.reserve_space(CLAIM, ROOM)
    await again.write_conversation(b"{}")
    assert await journals.read_finished_conversation(ID) == b"{}"
    await again.close()


async def test_what_a_failed_write_left_is_not_taken_for_a_line(
    journals: FileJournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await begun(journals)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _fails)
        with pytest.raises(StorageUnavailableError):
            await journal.write_conversation(b"x" * 50 + b"\nconversation {}\n")

    await journal.write_answer("conv_folder", b"1")
    await journal.close()

    again = await opened(journals)
    assert (again.read_answer("conv_folder"), again.finished_conversation) == (b"1", None)
    await again.close()


def _fails(_descriptor: int) -> None:
    raise OSError("No space left on device")


async def test_an_answer_that_cannot_be_stored_fails_no_request(
    journals: FileJournalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = await begun(journals)
    monkeypatch.setattr(os, "fsync", _fails)

    await journal.write_answer("conv_folder", b'"what was said"')

    assert journal.read_answer("conv_folder") is None
    assert "answer_not_kept" in caplog.text
    assert "what was said" not in caplog.text
    await journal.close()


async def test_without_room_nothing_is_begun(
    journals: FileJournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await opened(journals)
    monkeypatch.setattr(module, "reserve_disk_space", lambda *_: _fails(0))

    with pytest.raises(StorageUnavailableError):
        await journal.reserve_space(CLAIM, ROOM)

    await journal.close()


async def test_there_is_a_bound_to_what_waits(
    journals: FileJournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 0)
    journal = await opened(journals)

    with pytest.raises(StorageUnavailableError):
        await journal.reserve_space(CLAIM, ROOM)

    await journal.close()


async def test_a_folder_that_is_gone_is_not_made_anew(journals: FileJournalStore, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))

    for ask in (journals.open(ID), journals.list_abandoned_ids(DAY)):
        with pytest.raises(StorageUnavailableError):
            await ask

    assert not folder.exists()


async def test_what_is_written_to_a_file_that_is_gone_does_not_count(
    journals: FileJournalStore, folder: Path
) -> None:
    journal = await begun(journals)
    (folder / ID).unlink()

    with pytest.raises(StorageUnavailableError):
        await journal.write_conversation(MADE)

    await journal.close()


async def test_a_folder_that_is_away_for_a_while_comes_back_with_what_was_written(
    journals: FileJournalStore, folder: Path
) -> None:
    journal = await begun(journals)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(StorageUnavailableError):
        await journal.write_conversation(MADE)
    folder.with_name("elsewhere").rename(folder)

    await journal.write_conversation(MADE)

    assert await journals.read_finished_conversation(ID) == MADE
    await journal.close()


async def test_nothing_is_written_once_it_is_closed(journals: FileJournalStore, folder: Path) -> None:
    journal = await begun(journals)
    await journal.close()
    other = os.open(folder / "other", os.O_RDWR | os.O_CREAT)

    with pytest.raises(StorageUnavailableError):
        await journal.write_conversation(MADE)

    assert os.pread(other, 100, 0) == b""
    os.close(other)


async def test_what_is_left_is_what_nobody_has_open_and_is_made_or_old(
    journals: FileJournalStore, folder: Path
) -> None:
    journal = await begun(journals)
    (folder / "note.txt").write_text("not a journal")
    await journal.close()
    assert await journals.list_abandoned_ids(DAY) == []
    assert await journals.list_abandoned_ids(-1) == [ID]

    journal = await opened(journals)
    await journal.write_conversation(MADE)
    assert await journals.list_abandoned_ids(DAY) == []

    await journal.close()
    assert await journals.list_abandoned_ids(DAY) == [ID]


@pytest.mark.parametrize("name", ["..", ".", "../patchbay.sqlite3", ID[:-1], ID + "0", ID.upper(), "", "\0"])
async def test_only_an_id_leads_to_a_file(name: str, journals: FileJournalStore, tmp_path: Path) -> None:
    (tmp_path / "data" / "patchbay.sqlite3").write_bytes(b"conversation {}\n")

    assert await journals.read_finished_conversation(name) is None


async def test_what_is_not_ours_is_begun_anew(journals: FileJournalStore, folder: Path) -> None:
    (folder / ID).write_bytes(b"conversation {}\n\xff\xfe\n")

    journal = await opened(journals)

    assert (journal.header, journal.finished_conversation) == (None, None)
    await journal.close()


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with pytest.raises(UnusableDatabaseError, match="Not a directory"):
        FileJournalStore(tmp_path / "data" / "unstored")
