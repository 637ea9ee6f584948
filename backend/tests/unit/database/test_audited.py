"""Whoever makes, uses or ends a token or a key is in the audit trail, with what it is called and not with what it is."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.access import DataOwner, make_default_grant
from backend.background import BackgroundTaskRunner
from backend.database.audit import AuditTrail
from backend.database.keys import SqlKeyStore
from backend.database.sessions import BrowserSessionStore
from backend.database.tokens import TokenStore
from backend.keys.keychain import Keychain
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey
from backend.keys.signing import AuditSigningKeys
from backend.keys.vault import KeyVault

if TYPE_CHECKING:
    from .conftest import Sessions

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ANN = DataOwner("ann", "acme")
MASTERS = EnvironmentMasterKeys(SecretStr(MasterKey.generate().to_text()))


@pytest.fixture
def canary() -> str:
    return f"sk-canary-{secrets.token_hex(12)}"


async def told(sessions: Sessions) -> list[tuple[str, str]]:
    """Kind and actor of each entry, in order."""
    entries = await AuditTrail(sessions).list_entries(limit=99)
    return [(entry.kind, entry.actor) for entry in sorted(entries, key=lambda one: one.sequence)]


async def test_a_token_is_made_and_revoked_by_somebody(sessions: Sessions) -> None:
    store = TokenStore(sessions)

    made, plain = await store.issue_token(make_default_grant("ann"), "ci", actor="operator")
    await store.revoke_token(made.id, actor="operator")
    await store.revoke_token(made.id, actor="operator")

    assert await told(sessions) == [("token.made", "operator"), ("token.revoked", "operator")]
    entries = await AuditTrail(sessions).list_entries(limit=9)
    assert plain not in str(entries)
    assert {entry.subject for entry in entries} == {made.id}


async def test_a_session_that_is_revoked_is_in_it_and_one_that_logs_out_is_not(sessions: Sessions) -> None:
    store = BrowserSessionStore(sessions)
    left, right = await store.open_session("ann"), await store.open_session("ann")

    await store.end_session(left)
    (found,) = await store.list_sessions()
    assert await store.find_grant(right)
    await store.revoke_session(found.id, actor="operator")

    assert await told(sessions) == [("session.revoked", "operator")]


async def test_a_key_is_added_replaced_and_removed_by_its_owner(sessions: Sessions, canary: str) -> None:
    keychain = Keychain(SqlKeyStore(sessions), KeyVault(MASTERS))

    for key in (canary, f"{canary}-2"):
        await keychain.enrol_key(ANN, "openai", SecretStr(key), overlap=timedelta())
    await keychain.remove_key(ANN, "openai")

    assert await told(sessions) == [
        ("key.added", "ann"),
        ("key.revoked", "ann"),
        ("key.added", "ann"),
        ("key.revoked", "ann"),
    ]
    assert canary not in str(await AuditTrail(sessions).list_entries(limit=9))


async def test_a_keys_first_use_on_a_day_is_in_it(sessions: Sessions, canary: str) -> None:
    store = SqlKeyStore(sessions)
    kept = await Keychain(store, KeyVault(MASTERS)).enrol_key(
        ANN, "openai", SecretStr(canary), overlap=timedelta()
    )

    for hours in (0, 1, 11, 12, 13):
        await store.record_use([kept.place.row], NOON + timedelta(hours=hours))

    assert await told(sessions) == [("key.added", "ann"), ("key.used", "ann"), ("key.used", "ann")]


async def test_a_server_that_stops_signs_for_the_last_minute(sessions: Sessions) -> None:
    trail = AuditTrail(sessions)

    async with trail.sign_hash_chains_periodically(
        AuditSigningKeys(MASTERS), BackgroundTaskRunner(), interval_s=3600
    ):
        await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")

    assert await trail.sign_hash_chains(AuditSigningKeys(MASTERS)) is None


async def test_that_it_cannot_be_signed_stops_no_stop(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    class NoKeys:
        def newest_signing_key(self, *, may_create_master_key: bool) -> AuditSigningKeys:
            raise RuntimeError("no master key")

    async with AuditTrail(sessions).sign_hash_chains_periodically(
        NoKeys(),  # type: ignore[arg-type]
        BackgroundTaskRunner(),
        interval_s=3600,
    ):
        await TokenStore(sessions).issue_token(make_default_grant("ann"), "ci")

    assert "audit.not_signed" in caplog.text
