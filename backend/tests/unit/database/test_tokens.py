from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from backend.access import AccessToken, AccessTokenBudget, Grant, make_default_grant
from backend.database.tokens import TokenStore
from backend.tests.fakes.clock import Clock
from backend.utils.llm.rate_limits import RateLimit

if TYPE_CHECKING:
    from .conftest import Sessions

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock[datetime]:
    return Clock(NOON)


@pytest.fixture
def tokens(sessions: Sessions, clock: Clock[datetime]) -> TokenStore:
    return TokenStore(sessions, clock=clock)


async def test_a_token_is_found_by_itself(tokens: TokenStore) -> None:
    plain = await tokens.create("ann", "laptop")
    found = await known(tokens, plain)
    assert (found.user_id, found.name, found.created_at) == ("ann", "laptop", NOON)


async def test_tokens_are_long_and_differ(tokens: TokenStore) -> None:
    made = [await tokens.create("ann", "laptop") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"pb_[A-Za-z0-9_-]{43}", plain) for plain in made)


@pytest.mark.parametrize("wrong", ["", "pb_", "pb_" + "A" * 43, "ü", "\ud800", "x" * 100_000])
async def test_a_wrong_token_is_not_found(tokens: TokenStore, wrong: str) -> None:
    await tokens.create("ann", "laptop")
    assert await tokens.find_grant(wrong) is None


async def test_the_token_is_neither_stored_nor_printed(tokens: TokenStore, sessions: Sessions) -> None:
    plain = await tokens.create("ann", "laptop")
    async with sessions() as session:
        rows = (await session.execute(text("SELECT * FROM access_tokens"))).all()
    assert plain not in f"{rows}{await tokens.find_grant(plain)!r}"


async def test_a_revoked_token_is_not_found(tokens: TokenStore) -> None:
    kept, lost = await tokens.create("ann", "laptop"), await tokens.create("ann", "phone")
    await tokens.revoke_token((await known(tokens, lost)).id)
    assert await tokens.find_grant(lost) is None
    assert (await known(tokens, kept)).name == "laptop"


async def test_revoking_what_is_not_there_does_nothing(tokens: TokenStore) -> None:
    plain = await tokens.create("ann", "laptop")
    await tokens.revoke_token("unknown")
    await known(tokens, plain)


async def test_has_any_counts_what_may_be_used(tokens: TokenStore) -> None:
    assert not await tokens.has_valid_token()
    plain = await tokens.create("ann", "laptop")
    assert await tokens.has_valid_token()
    await tokens.revoke_token((await known(tokens, plain)).id)
    assert not await tokens.has_valid_token()


async def test_every_token_is_listed_with_who_when_and_whether_it_is_revoked(
    tokens: TokenStore, clock: Clock[datetime]
) -> None:
    old, _ = await tokens.issue_token(make_default_grant("ann"), "laptop")
    clock.now += timedelta(hours=1)
    new, plain = await tokens.issue_token(make_default_grant("bob"), "ci")
    await tokens.find_grant(plain)
    await tokens.revoke_token(old.id)

    told = [
        (token.id, token.user_id, token.name, token.last_used_at, token.revoked_at)
        for token in await tokens.list_tokens()
    ]

    assert told == [(new.id, "bob", "ci", clock.now, None), (old.id, "ann", "laptop", None, clock.now)]


async def test_use_is_noted_at_most_once_a_minute(tokens: TokenStore, clock: Clock[datetime]) -> None:
    plain = await tokens.create("ann", "laptop")
    for seconds, noted in [(0, None), (59, 0), (60, 0), (61, 60)]:
        clock.now = NOON + timedelta(seconds=seconds)
        before = None if noted is None else NOON + timedelta(seconds=noted)
        assert (await known(tokens, plain)).last_used_at == before


async def known(tokens: TokenStore, plain: str) -> AccessToken:
    """The token, of which only the last use is read before this one."""
    before = await tokens.list_tokens()
    found = await tokens.find_grant(plain)
    assert found is not None
    return next(token for token in before if token.id == found.token_id)


async def test_what_it_gives_is_kept_whole(tokens: TokenStore) -> None:
    until = NOON + timedelta(days=30)
    grant = Grant(
        "ann",
        "acme",
        frozenset({"call", "debug"}),
        None,
        RateLimit(60, "minute"),
        AccessTokenBudget(Decimal("2.5"), "day"),
        until,
    )

    made, plain = await tokens.issue_token(grant, "ci")

    assert made.grant == replace(grant, token_id=made.id)
    assert await tokens.find_grant(plain) == made.grant
    assert [token.grant for token in await tokens.list_tokens()] == [made.grant]


async def test_it_ends_by_itself_and_is_listed_still(tokens: TokenStore, clock: Clock[datetime]) -> None:
    _, plain = await tokens.issue_token(
        replace(make_default_grant("ann"), expires_at=NOON + timedelta(days=1)), "ci"
    )

    clock.now += timedelta(days=1) - timedelta(seconds=1)
    assert await tokens.find_grant(plain)
    clock.now += timedelta(seconds=1)

    assert (
        await tokens.find_grant(plain),
        await tokens.has_valid_token(),
        len(await tokens.list_tokens()),
    ) == (None, False, 1)


async def test_a_tenant_has_its_own_tokens_to_list_and_to_revoke(tokens: TokenStore) -> None:
    of_acme, plain = await tokens.issue_token(Grant("ann", "acme"), "ci")
    await tokens.issue_token(Grant("ann", "other"), "ci")

    assert [token.id for token in await tokens.list_tokens("acme")] == [of_acme.id]
    assert not await tokens.revoke_token(of_acme.id, tenant_id="other")
    assert await tokens.find_grant(plain)
    assert await tokens.revoke_token(of_acme.id, tenant_id="acme")
    assert not await tokens.find_grant(plain)


@pytest.mark.parametrize("sessions", ["sqlite"], indirect=True)
async def test_that_its_use_cannot_be_noted_is_no_reason_to_refuse_it(
    tokens: TokenStore, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    plain = await tokens.create("ann", "laptop")
    async with sessions.begin() as session:
        await session.execute(
            text("CREATE TRIGGER no BEFORE UPDATE ON access_tokens BEGIN INSERT INTO nowhere VALUES (1); END")
        )

    assert (await tokens.find_grant(plain)) is not None
    assert "tokens.use_not_recorded" in caplog.text
