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

from backend.access import SCOPES, AccessToken, Allowance, Grant, default_grant
from backend.database.audit import record
from backend.database.changes import announce
from backend.database.tables import AccessTokenRow, LoginSessionRow
from backend.database.wal import erase
from backend.ledger.audit import SYSTEM
from backend.utils.llm.rate_limits import Rate

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
    """Issues, finds and revokes access tokens. Only the SHA-256 of a token is stored.

    A slow, salted hash protects passwords, which can be guessed. A token is 256 random bits, which cannot, so a plain
    hash is
    enough, and lets each request find its token by an index.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def create(self, user_id: str, name: str) -> str:
        """Issue a token with default rights (`default_grant`), and return its plain text."""
        return (await self.make(default_grant(user_id), name))[1]

    async def make(self, grant: Grant, name: str, *, by: str = SYSTEM) -> tuple[AccessToken, str]:
        """Issue a token with the rights ``grant``.

        Args:
            grant: The rights of the token.
            name: What the token is for.
            by: Who issues it, for the audit trail.

        Returns:
            The token as it is listed, and its plain text, which cannot be read again.
        """
        plain = PREFIX + secrets.token_urlsafe(_BYTES)
        row = _row(grant, id=uuid.uuid4().hex, name=name, hash=token_hash(plain), created_at=self._clock())
        made = token_of(row)
        async with self._sessions.begin() as session:
            session.add(row)
            await session.flush()
            facts = {"user": grant.user_id, "name": name} | _chosen(grant)
            await record(session, "token.made", made.id, actor=by, now=made.created_at, details=facts)
        log.info("tokens.made user=%s token=%s", grant.user_id, made.id)
        return made, plain

    async def all(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """List every token that was ever issued, the newest first; with ``tenant_id``, only those of that tenant."""
        row = AccessTokenRow
        query = select(row).order_by(row.created_at.desc(), row.id)
        if tenant_id is not None:
            query = query.where(row.tenant_id == tenant_id)
        async with self._sessions() as session:
            return [token_of(found) for found in await session.scalars(query)]

    async def find(self, plain: str) -> Grant | None:
        """The rights of the token with the plain text ``plain``; None if it is unknown, revoked or expired.

        Records the use. If that fails, the failure is ignored.
        """
        now = self._clock()
        query = select(AccessTokenRow).where(AccessTokenRow.hash == token_hash(plain), holds(now))
        async with self._sessions() as session:
            row = await session.scalar(query)
        if row is None:
            return None
        await record_use(self._sessions, row, now)
        return token_of(row).grant

    async def has_any(self) -> bool:
        """Whether any token is valid now."""
        async with self._sessions() as session:
            return bool(await session.scalar(select(exists().where(holds(self._clock())))))

    async def create_first(self, user_id: str) -> str | None:
        """Issue the first token at the server's first start, and return its plain text.

        Returns None, and issues nothing, if there is a valid token.
        """
        return None if await self.has_any() else await self.create(user_id, "first start")

    async def revoke(self, token_id: str, *, by: str = SYSTEM, tenant_id: str | None = None) -> bool:
        """Revoke a token, with the sessions that it opened. Its hash is deleted; the row stays as a record.

        Does nothing if the token is unknown or already revoked.

        Args:
            token_id: The id of the token.
            by: Who revokes it, for the audit trail.
            tenant_id: The tenant that it must belong to; None for any.

        Returns:
            Whether this call revoked the token.
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
                await announce(session, "tokens")
                facts = {"user": user_id}
                await record(session, "token.revoked", token_id, actor=by, now=now, details=facts)
        if user_id is not None:
            await erase(self._sessions)
            log.info("tokens.revoked user=%s token=%s", user_id, token_id)
        return user_id is not None


async def record_use(
    sessions: async_sessionmaker[AsyncSession], row: AccessTokenRow | LoginSessionRow, now: datetime
) -> None:
    """Record that a token or session is used, unless that was recorded less than a minute ago. A failure is ignored."""
    if row.last_used_at is not None and now - row.last_used_at < _STALE:
        return
    table = type(row)
    change = update(table).where(table.id == row.id).values(last_used_at=now)
    try:
        async with sessions.begin() as session:
            await session.execute(change)
    except OperationalError:
        log.exception("tokens.use_not_recorded")


def holds(now: datetime) -> ColumnElement[bool]:
    """Make an SQL condition that is true for tokens that are neither revoked nor expired at ``now``."""
    row = AccessTokenRow
    return and_(row.revoked_at.is_(None), or_(row.expires_at.is_(None), row.expires_at > now))


def token_of(row: AccessTokenRow) -> AccessToken:
    """Convert a database row to an `AccessToken`."""
    budget = row.budget_usd and row.budget_period and Allowance(Decimal(row.budget_usd), row.budget_period)
    grant = Grant(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        scopes=frozenset(scope for scope in SCOPES if scope in row.scopes.split()),
        token_id=row.id,
        rate=Rate.read(row.rate) if row.rate else None,
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
    told = grant.as_dict()
    del told["user_id"]
    if grant.expires_at is not None:
        told["expires_at"] = grant.expires_at.isoformat()
    return {name: value for name, value in told.items() if value}


def token_hash(plain: str) -> str:
    """Hash the plain text of a token, or the value of a session's cookie, as it is stored."""
    return hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()
