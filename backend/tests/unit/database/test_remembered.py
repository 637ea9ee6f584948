"""What is remembered of tokens, sessions and keys is believed for a moment, and never after a change, whoever made it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from backend.access import DataOwner, make_default_grant
from backend.database.keys import SqlKeyStore
from backend.database.remembered import (
    UNSEEN_SECONDS,
    AccessDataVersion,
    CachedBrowserSessionStore,
    CachedKeyStore,
    CachedTokenStore,
    VersionedCache,
)
from backend.database.sessions import BrowserSessionStore
from backend.database.tokens import TokenStore, utc_now
from backend.keys.keychain import Keychain
from backend.keys.vault import KeyVault
from backend.tests.fakes.clock import Clock
from backend.tests.fakes.keys import given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Sessions

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=1)
pytestmark = pytest.mark.parametrize("sessions", ["sqlite"], indirect=True)


@pytest.fixture
def version(sessions: Sessions) -> Iterator[AccessDataVersion]:
    made = AccessDataVersion(path_of(sessions))
    yield made
    made.close()


@pytest.fixture
def tokens(sessions: Sessions, version: AccessDataVersion) -> CachedTokenStore:
    return CachedTokenStore(TokenStore(sessions), version)


def path_of(sessions: Sessions) -> Path:
    return Path(str(sessions.kw["bind"].url.database))


def asked(sessions: Sessions) -> list[str]:
    """What the database is asked from now on."""
    said: list[str] = []
    event.listen(
        sessions.kw["bind"].sync_engine, "before_cursor_execute", lambda *told: said.append(str(told[2]))
    )
    return said


async def test_the_database_is_asked_once_for_a_token(sessions: Sessions, tokens: CachedTokenStore) -> None:
    _, plain = await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")
    first = [await tokens.find_grant(plain)]
    said = asked(sessions)

    again = [await tokens.find_grant(plain) for _ in range(5)]

    assert set(first + again) == {first[0]}
    assert said == []


async def test_that_others_are_used_is_no_reason_to_ask_again(
    sessions: Sessions, version: AccessDataVersion, tokens: CachedTokenStore
) -> None:
    clock, ann, vault = Clock(NOON), DataOwner("ann"), KeyVault(given())
    cookies = CachedBrowserSessionStore(BrowserSessionStore(sessions), version)
    chain = Keychain(CachedKeyStore(sessions, version), vault, clock=clock)
    there = Keychain(SqlKeyStore(sessions), vault, clock=clock)
    (_, mine), (_, other) = [
        await TokenStore(sessions).issue_token(make_default_grant(user), "ci") for user in ("ann", "bob")
    ]
    cookie, elsewhere = await cookies.open_session("ann"), await cookies.open_session("bob")
    for user in ("ann", "bob"):
        await there.enrol_key(DataOwner(user), "openai", SecretStr(f"sk-of-{user}"), overlap=timedelta())
    assert await tokens.find_grant(mine)
    assert await cookies.find_grant(cookie)
    (key,), (of_bob,) = await chain.list_versions(ann), await there.list_versions(DataOwner("bob"))

    await TokenStore(sessions).find_grant(other)
    await BrowserSessionStore(sessions, clock=lambda: utc_now() + 60 * MOMENT).find_grant(elsewhere)
    await SqlKeyStore(sessions).record_use([of_bob.place.row], NOON)
    said = asked(sessions)

    assert await tokens.find_grant(mine)
    assert await cookies.find_grant(cookie)
    assert await chain.list_versions(ann) == [key]
    assert said == []


async def test_the_use_of_a_key_is_told_though_nothing_is_asked_again(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    ann, store = DataOwner("ann"), CachedKeyStore(sessions, version)
    chain = Keychain(store, KeyVault(given()))
    await chain.enrol_key(ann, "openai", SecretStr("sk-of-ann"), overlap=timedelta())
    (key,) = await chain.list_versions(ann)
    await store.record_use([key.place.row], NOON)
    said = asked(sessions)

    assert await chain.list_versions(ann) == [key._replace(last_used_at=NOON)]
    assert said == []
    assert [one.last_used_at for one in await SqlKeyStore(sessions).list_versions(ann, NOON)] == [NOON]


async def test_what_a_user_chooses_elsewhere_counts_at_once(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    ann, vault = DataOwner("ann"), KeyVault(given())
    chain = Keychain(CachedKeyStore(sessions, version), vault)
    await chain.enrol_key(ann, "openai", SecretStr("sk-of-ann"), overlap=timedelta())
    chosen = []
    for wish in (True, False):
        await SqlKeyStore(sessions).set_house_fallback(ann, house_fallback=wish)
        chosen += [key.house_fallback for key in await chain.list_versions(ann)]

    assert chosen == [True, False]


async def test_without_a_count_nothing_is_believed(sessions: Sessions, tokens: CachedTokenStore) -> None:
    _, plain = await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")
    with closing(sqlite3.connect(path_of(sessions))) as others:
        with others:
            others.execute("DELETE FROM access_changes")
        assert await tokens.find_grant(plain)
        with others:
            others.execute("UPDATE access_tokens SET revoked_at = '2026-11-21 12:00:00'")

    assert await tokens.find_grant(plain) is None


async def test_what_others_write_that_gives_no_access_is_no_reason_to_ask_again(
    sessions: Sessions, tokens: CachedTokenStore
) -> None:
    _, plain = await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")
    for _ in range(2):
        await tokens.find_grant(plain)
    said = asked(sessions)

    with closing(sqlite3.connect(path_of(sessions))) as others, others:
        others.execute("INSERT INTO key_removals (key_id, removed_at) VALUES ('k', '2026-11-21')")

    assert await tokens.find_grant(plain)
    assert said == []


async def test_a_token_is_refused_at_once_when_somebody_ends_it_with_a_tool_of_their_own(
    sessions: Sessions, tokens: CachedTokenStore
) -> None:
    _, plain = await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")
    for _ in range(2):
        await tokens.find_grant(plain)

    with closing(sqlite3.connect(path_of(sessions))) as others, others:
        others.execute("UPDATE access_tokens SET revoked_at = '2026-11-21 12:00:00'")

    assert await tokens.find_grant(plain) is None


@pytest.mark.parametrize("here", [True, False], ids=["in this process", "by another one"])
async def test_a_token_is_refused_at_once_when_it_is_revoked(
    here: bool,  # noqa: FBT001
    sessions: Sessions,
    tokens: CachedTokenStore,
) -> None:
    others = TokenStore(sessions)
    made, plain = await others.issue_token(make_default_grant("ann"), "ci")
    assert await tokens.find_grant(plain)
    assert await tokens.find_grant(plain)

    await (tokens if here else others).revoke_token(made.id, actor="ann")

    assert await tokens.find_grant(plain) is None


async def test_a_token_that_is_remembered_ends_in_time(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    clock = Clock(NOON)
    store = TokenStore(sessions, clock=clock)
    tokens = CachedTokenStore(store, version, clock=clock)
    _, plain = await store.issue_token(replace(make_default_grant("ann"), expires_at=NOON + MOMENT), "ci")
    assert await tokens.find_grant(plain)

    clock.now += MOMENT

    assert await tokens.find_grant(plain) is None


async def test_a_session_is_refused_at_once_when_it_ends(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    kept = CachedBrowserSessionStore(BrowserSessionStore(sessions), version)
    here, there = await kept.open_session("ann"), await kept.open_session("ann")
    assert await kept.find_grant(here)
    assert await kept.find_grant(there)

    await kept.end_session(here)
    await BrowserSessionStore(sessions).end_session(there)

    assert [await kept.find_grant(plain) for plain in (here, there)] == [None, None]


async def test_a_key_that_another_process_removes_or_adds_is_seen_by_the_next_request(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    ann, vault = DataOwner("ann"), KeyVault(given())
    here = Keychain(CachedKeyStore(sessions, version), vault)
    there = Keychain(SqlKeyStore(sessions), vault)
    assert await here.list_versions(ann) == []

    await there.enrol_key(ann, "openai", SecretStr("sk-of-ann"), overlap=timedelta())
    assert len(await here.list_versions(ann)) == 1
    await there.remove_key(ann, "openai")

    assert await here.list_versions(ann) == []


async def test_a_key_that_was_replaced_ends_in_time(sessions: Sessions, version: AccessDataVersion) -> None:
    clock = Clock(NOON)
    ann, vault = DataOwner("ann"), KeyVault(given())
    chain = Keychain(CachedKeyStore(sessions, version), vault, clock=clock)
    for key in ("sk-of-ann-1", "sk-of-ann-2"):
        await chain.enrol_key(ann, "openai", SecretStr(key), overlap=MOMENT)
    assert len(await chain.list_versions(ann)) == 2

    clock.now += MOMENT

    assert len(await chain.list_versions(ann)) == 1


async def test_without_a_file_that_tells_nothing_is_believed_for_long(sessions: Sessions) -> None:
    clock, said = Clock(0.0), asked(sessions)
    memory: VersionedCache[str, int] = VersionedCache(AccessDataVersion(), clock)
    memory.put("a", 1, memory.current_version())

    clock.now = UNSEEN_SECONDS - 0.1
    assert memory.get("a") == 1
    clock.now = UNSEEN_SECONDS
    assert (memory.get("a"), said) == (None, [])


async def test_what_was_read_before_a_change_is_not_believed_after_it(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    memory: VersionedCache[str, int] = VersionedCache(version)

    mark = memory.current_version()
    await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")
    memory.put("a", 1, mark)

    assert memory.get("a") is None


async def test_of_a_file_that_is_gone_nothing_is_believed(
    sessions: Sessions, version: AccessDataVersion
) -> None:
    memory: VersionedCache[str, int] = VersionedCache(version)
    memory.put("a", 1, memory.current_version())
    assert memory.get("a") == 1

    path_of(sessions).rename(path_of(sessions).with_name("elsewhere"))

    assert memory.get("a") is None
