"""What was removed is in no file of the database: its bytes are looked for in all of them."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from backend.access import DataOwner
from backend.background import BackgroundTaskRunner
from backend.database import wal
from backend.database.keys import SqlKeyStore
from backend.keys.keychain import Keychain
from backend.keys.master_keys import MasterKeyFile
from backend.keys.rotation import rotate_master_key
from backend.keys.vault import KeyVault

if TYPE_CHECKING:
    from pathlib import Path

    from backend.keys.store import KeyVersion

    from .conftest import Sessions

ANN = DataOwner("ann")
KEY = SecretStr("sk-of-ann-0123456789")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
AT_ONCE = timedelta(0)


class Files:
    """The database and what SQLite keeps beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold(self, *secrets: bytes | None) -> bool:
        """Whether the head or the tail of one is in them."""
        told = b"".join(path.read_bytes() for path in self._folder.glob("patchbay.sqlite3*"))
        return any(part in told for secret in secrets if secret for part in (secret[:12], secret[-12:]))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "data")


@pytest.fixture
def master_keys(tmp_path: Path) -> MasterKeyFile:
    return MasterKeyFile(tmp_path / "data" / "master.keys")


@pytest.fixture
def keychain(sqlite_sessions: Sessions, master_keys: MasterKeyFile) -> Keychain:
    return Keychain(SqlKeyStore(sqlite_sessions), KeyVault(master_keys))


async def enrol(keychain: Keychain, key: SecretStr = KEY, owner: DataOwner = ANN) -> KeyVersion:
    return await keychain.enrol_key(owner, "openai", key, overlap=AT_ONCE)


async def test_a_removed_key_is_in_no_file(keychain: Keychain, files: Files) -> None:
    sealed = (await enrol(keychain)).sealed
    assert files.hold(sealed.box)
    assert files.hold(sealed.wrapped)

    await keychain.remove_key(ANN, "openai")

    assert not files.hold(sealed.box, sealed.wrapped)


async def test_a_replaced_key_is_in_no_file(keychain: Keychain, files: Files) -> None:
    before = (await enrol(keychain)).sealed
    after = (await enrol(keychain)).sealed

    assert not files.hold(before.box, before.wrapped)
    assert files.hold(after.box)


async def test_after_a_rotation_nothing_opens_with_the_old_master_key(
    keychain: Keychain, sqlite_sessions: Sessions, master_keys: MasterKeyFile, files: Files
) -> None:
    before = (await enrol(keychain)).sealed

    await rotate_master_key(SqlKeyStore(sqlite_sessions), master_keys)

    assert not files.hold(before.wrapped)
    assert files.hold(before.box)


async def test_however_keys_come_and_go_none_is_left_behind(keychain: Keychain, files: Files) -> None:
    """SQLite moves rows from page to page and leaves copies: with this seed, of a key that is removed later."""
    chance = random.Random(2)  # noqa: S311
    kept: dict[str, KeyVersion] = {}
    gone: list[bytes | None] = []
    for _ in range(60):
        user = f"u{chance.randrange(30)}"
        if chance.random() < 0.55 or user not in kept:
            key = SecretStr("sk-" + "x" * chance.randrange(20, 490))
            replaced, kept[user] = kept.get(user), await enrol(keychain, key, DataOwner(user))
        else:
            replaced = kept.pop(user)
            await keychain.remove_key(DataOwner(user), "openai")
        if replaced:
            gone += [replaced.sealed.box, replaced.sealed.wrapped]

    assert len(gone) > 20
    assert not files.hold(*gone)
    assert [len(await keychain.list_versions(DataOwner(user))) for user in kept] == [1] * len(kept)


async def test_what_refers_to_other_keys_stays_when_one_is_removed(
    keychain: Keychain, sqlite_sessions: Sessions
) -> None:
    bob = await enrol(keychain, owner=DataOwner("bob"))
    await enrol(keychain)
    async with sqlite_sessions.begin() as session:
        await session.execute(
            text("INSERT INTO key_notices VALUES (:row, 'revoked', '2026-11-21')"), {"row": bob.place.row}
        )

    await keychain.remove_key(ANN, "openai")

    async with sqlite_sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM key_notices")) == 1
    assert [key.place for key in await keychain.list_versions(DataOwner("bob"))] == [bob.place]


async def test_while_somebody_reads_it_is_removed_and_later_taken_out(
    keychain: Keychain,
    sqlite_sessions: Sessions,
    files: Files,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = (await enrol(keychain)).sealed.box
    async with sqlite_sessions() as reader:
        await reader.execute(text("BEGIN"))
        await reader.scalar(text("SELECT count(*) FROM user_keys"))

        await keychain.remove_key(ANN, "openai")

        assert await keychain.list_versions(ANN) == []
        assert files.hold(box)
        assert "database.not_erased_yet" in caplog.text

    monkeypatch.setattr(wal, "AGAIN", 0.0)
    async with (
        asyncio.timeout(10),
        wal.truncate_wal_periodically(tmp_path / "data" / "patchbay.sqlite3", BackgroundTaskRunner()),
    ):
        while files.hold(box):  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0)
