"""Stores access tokens, as hashes, in the database."""

from __future__ import annotations

import hashlib
import logging
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update
from sqlalchemy.exc import OperationalError

from backend.access import SCOPES, AccessToken, AccessTokenBudget, Grant, make_default_grant
from backend.database.audit import record_audit_event
from backend.database.changes import announce_change
from backend.database.tables import AccessTokenRow, LoginSessionRow
from backend.database.wal import erase_deleted_data
from backend.ledger.audit import SYSTEM
from backend.utils.llm.rate_limits import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

log = logging.getLogger(__name__)

PREFIX: Final = "pb_"
"""The prefix by which people, and scanners for leaked secrets, recognise a token."""

_BYTES: Final = 32
_STALE: Final = timedelta(minutes=1)
"""How old ``last_used_at`` may be: so that reading a page is not a write for every request."""


def utc_now() -> datetime:
    """The current time, timezone-aware in UTC."""
    return datetime.now(UTC)


class TokenStore:
    """Issues, finds and revokes access tokens in the database. Only the SHA-256 of a token is stored.

    A hash without salt is enough, because a token is 256 random bits. An index can find a token by its hash.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def create(self, user_id: str, name: str) -> str:
        """Issue a token with the default rights of ``user_id``, and return it in plain text. See `make_default_grant`."""
        return (await self.issue_token(make_default_grant(user_id), name))[1]

    async def issue_token(self, grant: Grant, name: str, *, actor: str = SYSTEM) -> tuple[AccessToken, str]:
        """Issue an access token with the rights ``grant``. Recorded in the audit trail.

        Args:
            grant: The user, the scopes and the limits of the token.
            name: A name that says what the token is for.
            actor: The user or operator who issues the token; recorded in the audit trail.

        Returns:
            What is stored of the token, and the token in plain text, which cannot be read again later.
        """
        plain = PREFIX + secrets.token_urlsafe(_BYTES)
        row = _row(grant, id=uuid.uuid4().hex, name=name, hash=hash_token(plain), created_at=self._clock())
        made = token_from_row(row)
        async with self._sessions.begin() as session:
            session.add(row)
            await session.flush()
            facts = {"user": grant.user_id, "name": name} | _chosen(grant)
            await record_audit_event(
                session, "token.made", made.id, actor=actor, now=made.created_at, details=facts
            )
        log.info("tokens.made user=%s token=%s", grant.user_id, made.id)
        return made, plain

    async def list_tokens(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """List all tokens that were ever issued, or those of one tenant, the newest first."""
        row = AccessTokenRow
        query = select(row).order_by(row.created_at.desc(), row.id)
        if tenant_id is not None:
            query = query.where(row.tenant_id == tenant_id)
        async with self._sessions() as session:
            return [token_from_row(found) for found in await session.scalars(query)]

    async def find_grant(self, plain_token: str) -> Grant | None:
        """Return the rights of an access token; None if it is unknown, revoked or expired. The use is recorded."""
        now = self._clock()
        query = select(AccessTokenRow).where(
            AccessTokenRow.hash == hash_token(plain_token), valid_token_condition(now)
        )
        async with self._sessions() as session:
            row = await session.scalar(query)
        if row is None:
            return None
        await record_last_use(self._sessions, row, now)
        return token_from_row(row).grant

    async def has_valid_token(self) -> bool:
        """Whether there is a token that is neither revoked nor expired."""
        async with self._sessions() as session:
            return bool(await session.scalar(select(exists().where(valid_token_condition(self._clock())))))

    async def issue_first_token(self, user_id: str) -> str | None:
        """Issue a token and return it in plain text, if there is no valid token yet; else return None.

        Called when the server starts, so that somebody can log in for the first time.
        """
        return None if await self.has_valid_token() else await self.create(user_id, "first start")

    async def revoke_token(self, token_id: str, *, actor: str = SYSTEM, tenant_id: str | None = None) -> bool:
        """Revoke a token, and end the sessions that were opened with it. Recorded in the audit trail.

        The token's hash is deleted; the row stays.

        Args:
            token_id: The id of the token.
            actor: The user or operator who revokes the token; recorded in the audit trail.
            tenant_id: Revoke the token only if it belongs to this tenant; None for any tenant.

        Returns:
            False if there is no such token, or it was revoked before.
        """
        row, now = AccessTokenRow, self._clock()
        change = update(row).where(row.id == token_id, row.revoked_at.is_(None))
        if tenant_id is not None:
            change = change.where(row.tenant_id == tenant_id)
        gone = change.values(revoked_at=now, hash=f"revoked {token_id}").returning(row.user_id)
        async with self._sessions.begin() as session:
            user_id = await session.scalar(gone)
            if user_id is not None:
                await session.execute(delete(LoginSessionRow).where(LoginSessionRow.token_id == token_id))
                await announce_change(session, "tokens")
                facts = {"user": user_id}
                await record_audit_event(
                    session, "token.revoked", token_id, actor=actor, now=now, details=facts
                )
        if user_id is not None:
            await erase_deleted_data(self._sessions)
            log.info("tokens.revoked user=%s token=%s", user_id, token_id)
        return user_id is not None


async def record_last_use(
    sessions: async_sessionmaker[AsyncSession], row: AccessTokenRow | LoginSessionRow, now: datetime
) -> None:
    """Set the time when a token or session was last used, at most once a minute.

    If the database is unavailable, the error is logged and not raised.
    """
    if row.last_used_at is not None and now - row.last_used_at < _STALE:
        return
    table = type(row)
    change = update(table).where(table.id == row.id).values(last_used_at=now)
    try:
        async with sessions.begin() as session:
            await session.execute(change)
    except OperationalError:
        log.exception("tokens.use_not_recorded")


def valid_token_condition(now: datetime) -> ColumnElement[bool]:
    """Make an SQL condition for access tokens that are neither revoked nor expired at ``now``."""
    row = AccessTokenRow
    return and_(row.revoked_at.is_(None), or_(row.expires_at.is_(None), row.expires_at > now))


def token_from_row(row: AccessTokenRow) -> AccessToken:
    """Convert a database row to an `AccessToken`."""
    budget = (
        row.budget_usd and row.budget_period and AccessTokenBudget(Decimal(row.budget_usd), row.budget_period)
    )
    grant = Grant(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        scopes=frozenset(scope for scope in SCOPES if scope in row.scopes.split()),
        token_id=row.id,
        rate=RateLimit.parse(row.rate) if row.rate else None,
        budget=budget or None,
        expires_at=row.expires_at,
    )
    return AccessToken(row.id, row.name, grant, row.created_at, row.last_used_at, row.revoked_at)


def _row(grant: Grant, **columns: Any) -> AccessTokenRow:
    return AccessTokenRow(
        user_id=grant.user_id,
        tenant_id=grant.tenant_id,
        scopes=" ".join(scope for scope in SCOPES if scope in grant.scopes),
        rate=None if grant.rate is None else str(grant.rate),
        budget_usd=None if grant.budget is None else f"{grant.budget.usd:f}",
        budget_period=None if grant.budget is None else grant.budget.period,
        expires_at=grant.expires_at,
        **columns,
    )


def _chosen(grant: Grant) -> dict[str, Any]:
    """The settings in ``grant`` that a person chose, for the audit trail."""
    settings = grant.as_dict()
    del settings["user_id"]
    if grant.expires_at is not None:
        settings["expires_at"] = grant.expires_at.isoformat()
    return {name: value for name, value in settings.items() if value}


def hash_token(plain_text: str) -> str:
    """Compute the SHA-256, in hex, under which an access token or a session's cookie value is stored."""
    return hashlib.sha256(plain_text.encode(errors="surrogatepass")).hexdigest()
