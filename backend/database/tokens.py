"""Access tokens in the database."""

from __future__ import annotations

import hashlib
import logging
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import OperationalError

from backend.database.audit import record
from backend.database.tables import AccessTokenRow, LoginSessionRow
from backend.database.wal import erase
from backend.ledger.audit import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

log = logging.getLogger(__name__)

PREFIX: Final = "pb_"
"""Tells a person, and a scanner of leaked secrets, whose token it is."""

_BYTES: Final = 32
_STALE: Final = timedelta(minutes=1)
"""How old ``last_used_at`` may be: so that reading a page is not a write for every request."""


def utc_now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that was given out. It holds neither the token nor its hash, so it may be printed."""

    id: str
    user_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None = None


class TokenStore:
    """Keeps access tokens by their SHA-256.

    A slow, salted hash protects what a person made up from being guessed. A token here is 256 random bits: there is
    no list to try, and trying all of them is out of reach for any hash. So a plain one is enough, and it lets a token
    be found by an index, on every request.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def create(self, user_id: str, name: str) -> str:
        """Like `make`, for who needs the token alone."""
        return (await self.make(user_id, name))[1]

    async def make(self, user_id: str, name: str, *, by: str = SYSTEM) -> tuple[AccessToken, str]:
        """Make a token for ``user_id`` and return it. What is to be sent, the second, cannot be had again.

        Args:
            user_id: Whose it is.
            name: What it is for.
            by: Who wants it made, for the audit trail.
        """
        plain = PREFIX + secrets.token_urlsafe(_BYTES)
        row = AccessTokenRow(
            id=uuid.uuid4().hex, user_id=user_id, name=name, hash=hashed(plain), created_at=self._clock()
        )
        made = _token(row)
        async with self._sessions.begin() as session:
            session.add(row)
            await session.flush()
            facts = {"user": user_id, "name": name}
            await record(session, "token.made", made.id, actor=by, now=made.created_at, details=facts)
        log.info("tokens.made user=%s token=%s", user_id, made.id)
        return made, plain

    async def all(self) -> Sequence[AccessToken]:
        """Every token that was ever given out, the newest first."""
        query = select(AccessTokenRow).order_by(AccessTokenRow.created_at.desc(), AccessTokenRow.id)
        async with self._sessions() as session:
            return [_token(row) for row in await session.scalars(query)]

    async def find(self, plain: str) -> AccessToken | None:
        """The token, if it was given out and not revoked. Notes that it was used; that this fails is no reason to refuse it."""
        query = select(AccessTokenRow).where(
            AccessTokenRow.hash == hashed(plain), AccessTokenRow.revoked_at.is_(None)
        )
        async with self._sessions() as session:
            row = await session.scalar(query)
        if row is None:
            return None
        await record_use(self._sessions, row, self._clock())
        return _token(row)

    async def has_any(self) -> bool:
        """Whether there is a token that may be used."""
        async with self._sessions() as session:
            return bool(await session.scalar(select(exists().where(AccessTokenRow.revoked_at.is_(None)))))

    async def revoke(self, token_id: str, *, by: str = SYSTEM) -> None:
        """End the life of a token, and the sessions that were opened with it. Its hash goes; who had it and when stays.

        Does nothing to one that is unknown or already revoked.

        Args:
            token_id: Which.
            by: Who wants it ended, for the audit trail.
        """
        row, now = AccessTokenRow, self._clock()
        change = update(row).where(row.id == token_id, row.revoked_at.is_(None))
        gone = change.values(revoked_at=now, hash=f"revoked {token_id}").returning(row.user_id)
        async with self._sessions.begin() as session:
            user_id = await session.scalar(gone)
            await session.execute(delete(LoginSessionRow).where(LoginSessionRow.token_id == token_id))
            if user_id is not None:
                facts = {"user": user_id}
                await record(session, "token.revoked", token_id, actor=by, now=now, details=facts)
        if user_id is not None:
            await erase(self._sessions)
            log.info("tokens.revoked user=%s token=%s", user_id, token_id)


async def record_use(
    sessions: async_sessionmaker[AsyncSession], row: AccessTokenRow | LoginSessionRow, now: datetime
) -> None:
    """Note that ``row`` is used, unless it was a moment ago. That this fails is no reason to refuse it."""
    if row.last_used_at is not None and now - row.last_used_at < _STALE:
        return
    table = type(row)
    change = update(table).where(table.id == row.id).values(last_used_at=now)
    try:
        async with sessions.begin() as session:
            await session.execute(change)
    except OperationalError:
        log.exception("tokens.use_not_recorded")


def _token(row: AccessTokenRow) -> AccessToken:
    return AccessToken(row.id, row.user_id, row.name, row.created_at, row.last_used_at, row.revoked_at)


def hashed(plain: str) -> str:
    """The hash by which a token, or a session's cookie, is kept."""
    return hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()
