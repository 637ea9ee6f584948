"""Stores the journal of each conversation in progress in a file, beside the database.

Journals keep paid answers while the database is unavailable. A file is locked while it is open; the lock ends with the
process. Disk space is reserved before the first paid call.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from backend.conversations.errors import StorageUnavailableError
from backend.conversations.journal import JournalHeader
from backend.database.engine import UnusableDatabaseError
from backend.database.file import reserve_disk_space, write_all_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

MOST: Final = 1_000
"""The most journals at a time. Each has up to 5 MB."""

_CLAIM, _CONVERSATION = "claim", "conversation"
_END: Final = b"\0"
"""Ends the last line, so that remains of a failed write are not read as another one."""
_CLOSED: Final = -1
"""An invalid descriptor, so that nothing is written to a file that reuses the number."""
_ID: Final = re.compile("[0-9a-f]{32}")

T = TypeVar("T")


class FileJournalStore:
    """A `JournalStore` that keeps each journal in a file of one folder.

    The folder is created with mode 0700 if missing.

    Raises:
        UnusableDatabaseError: The folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UnusableDatabaseError(folder, str(error.strerror or error)) from error
        self._folder = folder

    async def open(self, conversation_id: str) -> FileJournal | None:
        """Open the journal of the conversation and lock its file; a missing file is created.

        Returns:
            The journal; None if another request or process has it open.

        Raises:
            StorageUnavailableError: The file cannot be read or written.
        """
        opening = asyncio.ensure_future(asyncio.to_thread(_open, self._folder, conversation_id))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_again)
            raise

    async def read_finished_conversation(self, conversation_id: str) -> bytes | None:
        """Read a finished conversation from its journal, as JSON; None if there is none. No lock is needed."""
        return await asyncio.to_thread(_finished, self._folder, conversation_id)

    async def list_abandoned_ids(self, older_than_s: float) -> Sequence[str]:
        """List the ids of conversations whose journal is finished or older than ``older_than_s`` seconds.

        Journals that a process has open are left out.
        """
        return await asyncio.to_thread(_abandoned, self._folder, older_than_s)


class FileJournal:
    """A `Journal` in a file.

    Each line is a name, a space and a value; the bytes after the last line are reserved disk space.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._lines, self._end = _lines(_content(descriptor))
        self._turn = asyncio.Lock()

    @property
    def header(self) -> JournalHeader | None:
        """Identifies the transcript that the journal is for; None in a new journal."""
        return JournalHeader.model_validate_json(self._lines[_CLAIM]) if _CLAIM in self._lines else None

    @property
    def finished_conversation(self) -> bytes | None:
        """The finished conversation as JSON; None while it is in progress."""
        return self._lines.get(_CONVERSATION)

    @property
    def seconds_since_write(self) -> float:
        """Seconds since the journal was last written."""
        return _age(self._descriptor)

    def read_answer(self, feature: str) -> bytes | None:
        """Return the model's answer for ``feature`` that is in the journal, as JSON; None if there is none."""
        return self._lines.get(feature)

    async def reserve_space(self, header: JournalHeader, size_bytes: int) -> None:
        """Reserve ``size_bytes`` of disk space, and write ``header``. Called before the first paid model call.

        Raises:
            StorageUnavailableError: There is not enough disk space, or there are too many journals.
        """
        await self._serially(lambda: self._begin(header, size_bytes))

    async def write_answer(self, feature: str, answer: bytes) -> None:
        """Append the model's answer for ``feature`` to the journal. A failure is logged as a warning, not raised."""
        try:
            await self._serially(lambda: self._write(feature, answer))
        except StorageUnavailableError as error:
            log.warning("conversations.answer_not_kept conversation=%s: %s", self._path.name, error.__cause__)

    async def write_conversation(self, conversation: bytes) -> None:
        """Append the finished conversation, as JSON, to the journal. It survives a crash once this method returns.

        Raises:
            StorageUnavailableError: The journal cannot be written.
        """
        await self._serially(lambda: self._write(_CONVERSATION, conversation))

    async def remove(self) -> None:
        """Mark the journal as no longer needed. `close` then deletes the file."""
        self._lines = {}

    async def close(self) -> None:
        """Close the file and release its lock. The file is deleted if the journal is empty or was removed."""
        await self._serially(self.close_sync)

    async def _serially(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread, one at a time, and to its end even if the caller is cancelled."""

        async def alone() -> T:
            async with self._turn:
                return await asyncio.to_thread(work)

        return await asyncio.shield(asyncio.ensure_future(alone()))

    def _begin(self, claim: JournalHeader, room: int) -> None:
        with _faults():
            if len(_entries(self._path.parent)) > MOST:
                raise OSError(f"more than {MOST} conversations wait to be stored")
            reserve_disk_space(self._descriptor, self._end, room)
        if _CLAIM not in self._lines:
            self._write(_CLAIM, claim.model_dump_json().encode(), is_synced=False)

    def _write(self, word: str, value: bytes, *, is_synced: bool = True) -> None:
        """Append a line. It counts only once it is on disk, with the file still at its path.

        A claim alone need not survive, so it is synced together with the next line.
        """
        line = b"%s %s\n" % (word.encode(), value)
        with _faults():
            write_all_bytes(self._descriptor, line + _END, self._end)
            if is_synced:
                os.fsync(self._descriptor)
            if not _is_at(self._path, self._descriptor):
                raise FileNotFoundError(f"{self._path.name} is gone")
        self._end += len(line)
        self._lines[word] = value

    def close_sync(self) -> None:
        """Do the same as `close`, but synchronously, in the calling thread."""
        try:
            with _faults():
                if not self._lines:
                    self._path.unlink(missing_ok=True)
                elif os.fstat(self._descriptor).st_size > self._end:
                    os.ftruncate(self._descriptor, self._end)
        except StorageUnavailableError as error:
            log.warning("conversations.journal_left conversation=%s: %s", self._path.name, error.__cause__)
        finally:
            os.close(self._descriptor)
            self._descriptor = _CLOSED


def _open(folder: Path, conversation_id: str) -> FileJournal | None:
    path = folder / conversation_id
    with _faults():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return FileJournal(path, descriptor)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None


def _close_again(opening: asyncio.Future[FileJournal | None]) -> None:
    """Close a journal whose caller was cancelled while it was opened."""
    if opening.exception() is None and (journal := opening.result()) is not None:
        journal.close_sync()


def _abandoned(folder: Path, older: float) -> list[str]:
    with _faults():
        return [entry.name for entry in _entries(folder) if _is_abandoned(entry.path, older)]


def _is_abandoned(path: str, older: float) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return _age(descriptor) > older or _CONVERSATION in _lines(_content(descriptor))[0]
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _age(descriptor: int) -> float:
    return time.time() - os.fstat(descriptor).st_mtime


def _finished(folder: Path, conversation_id: str) -> bytes | None:
    if not _ID.fullmatch(conversation_id):
        return None
    try:
        content = (folder / conversation_id).read_bytes()
    except OSError:
        return None
    return _lines(content)[0].get(_CONVERSATION)


def _lines(content: bytes) -> tuple[dict[str, bytes], int]:
    """The value of each word in whole lines, and where the last line ends; nothing if the file has no valid claim."""
    found: dict[str, bytes] = {}
    end = 0
    for line in content.split(b"\n")[:-1]:
        word, _, value = line.partition(b" ")
        if b"\0" in line or not word.isascii():
            break
        found[word.decode()] = value
        end += len(line) + 1
    return (found, end) if _is_claim(found.get(_CLAIM)) else ({}, 0)


def _is_claim(content: bytes | None) -> bool:
    if content is None:
        return False
    try:
        JournalHeader.model_validate_json(content)
    except ValidationError:
        return False
    return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if _ID.fullmatch(entry.name)]


def _content(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0) if size else b""


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError from error
