"""What every store of sessions promises, the fake one too; and what the database adds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from backend.access import SCOPES, Grant, make_default_grant
from backend.database.sessions import IDLE, LIFETIME, BrowserSessionStore
from backend.database.tokens import TokenStore, hash_token
from backend.tests.fakes.clock import Clock
from backend.tests.fakes.services import InMemorySessions

if TYPE_CHECKING:
    from pathlib import Path

    from backend.routers.logins import BrowserSessions as Store

    from .conftest import Sessions

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=1)


@pytest.fixture
def clock() -> Clock[datetime]:
    return Clock(NOON)


@pytest.fixture
def kept(sessions: Sessions, clock: Clock[datetime]) -> BrowserSessionStore:
    return BrowserSessionStore(sessions, clock=clock)


async def user(store: Store, plain: str) -> str | None:
    found = await store.find_grant(plain)
    return found.user_id if found else None


class TestEveryStore:
    @pytest.fixture(params=["memory", "sqlite", "postgresql"])
    def store(self, request: pytest.FixtureRequest, clock: Clock[datetime]) -> Store:
        if request.param == "memory":
            return InMemorySessions(clock)
        return BrowserSessionStore(request.getfixturevalue(f"{request.param}_sessions"), clock=clock)

    async def test_a_session_is_found_by_what_its_cookie_holds(self, store: Store) -> None:
        ann, bob = await store.open_session("ann"), await store.open_session("bob")

        assert [await user(store, plain) for plain in (ann, bob)] == ["ann", "bob"]

    async def test_each_is_new(self, store: Store) -> None:
        assert len({await store.open_session("ann") for _ in range(3)}) == 3

    @pytest.mark.parametrize("wrong", ["", "x", "\u00fc", "\ud800", "x" * 100_000])
    async def test_what_was_not_given_out_is_none(self, wrong: str, store: Store) -> None:
        await store.open_session("ann")

        assert await store.find_grant(wrong) is None

    async def test_one_that_was_ended_is_over_and_the_others_are_not(self, store: Store) -> None:
        here, there = await store.open_session("ann"), await store.open_session("ann")

        await store.end_session(here)
        await store.end_session("unknown")

        assert [await user(store, plain) for plain in (here, there)] == [None, "ann"]

    async def test_one_that_is_not_used_ends(self, store: Store, clock: Clock[datetime]) -> None:
        plain = await store.open_session("ann")

        clock.now += IDLE - MOMENT
        assert await user(store, plain) == "ann"
        clock.now += IDLE - MOMENT
        assert await user(store, plain) == "ann"
        clock.now += IDLE
        assert await user(store, plain) is None

    async def test_one_that_is_used_ends_all_the_same_when_it_is_old(
        self, store: Store, clock: Clock[datetime]
    ) -> None:
        plain = await store.open_session("ann")

        while clock.now < NOON + LIFETIME - IDLE:
            clock.now += IDLE / 2
            assert await user(store, plain) == "ann"
        clock.now = NOON + LIFETIME - MOMENT
        assert await user(store, plain) == "ann"
        clock.now = NOON + LIFETIME
        assert await user(store, plain) is None


class TestDatabase:
    @pytest.fixture
    def tokens(self, sessions: Sessions, clock: Clock[datetime]) -> TokenStore:
        return TokenStore(sessions, clock=clock)

    async def test_it_ends_with_the_token_that_it_was_opened_with(
        self, kept: BrowserSessionStore, tokens: TokenStore
    ) -> None:
        token, _ = await tokens.issue_token(make_default_grant("ann"), "laptop")
        with_it, without = await kept.open_session("ann", token.id), await kept.open_session("ann")

        await tokens.revoke_token(token.id)

        assert [await user(kept, plain) for plain in (with_it, without)] == [None, "ann"]

    async def test_one_that_was_being_opened_while_its_token_was_revoked_is_none(
        self, kept: BrowserSessionStore, tokens: TokenStore
    ) -> None:
        token, _ = await tokens.issue_token(make_default_grant("ann"), "laptop")
        await tokens.revoke_token(token.id)

        assert await kept.find_grant(await kept.open_session("ann", token.id)) is None

    async def test_it_gives_what_its_token_gives_for_as_long_as_that_holds(
        self, kept: BrowserSessionStore, tokens: TokenStore, clock: Clock[datetime]
    ) -> None:
        grant = Grant("ann", "acme", frozenset({"debug"}), expires_at=NOON + MOMENT)
        token, _ = await tokens.issue_token(grant, "laptop")
        plain = await kept.open_session("ann", token.id)

        assert await kept.find_grant(plain) == token.grant
        clock.now += MOMENT
        assert await kept.find_grant(plain) is None

    async def test_that_of_a_starts_link_gives_everything(self, kept: BrowserSessionStore) -> None:
        found = await kept.find_grant(await kept.open_session("admin"))

        assert found == Grant("admin", scopes=frozenset(SCOPES))

    async def test_a_session_is_no_token_and_a_token_no_session(
        self, kept: BrowserSessionStore, tokens: TokenStore
    ) -> None:
        session, token = await kept.open_session("ann"), await tokens.create("ann", "laptop")

        assert (await tokens.find_grant(session), await kept.find_grant(token)) == (None, None)

    async def test_it_is_listed_and_ended_by_its_id(self, kept: BrowserSessionStore) -> None:
        plain = await kept.open_session("ann")
        (listed,) = await kept.list_sessions()

        await kept.revoke_session(listed.id)

        assert plain not in repr(listed)
        assert (await kept.list_sessions(), await kept.find_grant(plain)) == ([], None)

    @pytest.mark.parametrize("sessions", ["sqlite"], indirect=True)
    async def test_what_the_cookie_holds_is_in_no_file_and_its_hash_only_until_it_ends(
        self, kept: BrowserSessionStore, tmp_path: Path
    ) -> None:
        plain = await kept.open_session("ann")
        during = files(tmp_path)
        await kept.end_session(plain)
        after = files(tmp_path)

        assert (plain.encode() in during, hash_token(plain).encode() in during) == (False, True)
        assert hash_token(plain).encode() not in after

    @pytest.mark.parametrize("sessions", ["sqlite"], indirect=True)
    async def test_the_hash_of_a_revoked_token_is_in_no_file(
        self, tokens: TokenStore, tmp_path: Path
    ) -> None:
        token, plain = await tokens.issue_token(make_default_grant("ann"), "laptop")
        assert hash_token(plain).encode() in files(tmp_path)

        await tokens.revoke_token(token.id)

        assert hash_token(plain).encode() not in files(tmp_path)

    async def test_what_has_ended_by_itself_goes_when_the_next_begins(
        self, kept: BrowserSessionStore, sessions: Sessions, clock: Clock[datetime]
    ) -> None:
        await kept.open_session("ann")
        clock.now += LIFETIME
        await kept.open_session("bob")

        async with sessions() as session:
            assert list(await session.scalars(text("SELECT user_id FROM login_sessions"))) == ["bob"]


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "data").iterdir())
