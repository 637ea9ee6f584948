"""Access tokens in the database."""

from __future__ import annotations

import hashlib
import logging
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import exists, select, update
from sqlalchemy.exc import OperationalError

from backend.database.tables import AccessTokenRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

log = logging.getLogger(__name__)

PREFIX: Final = "pb_"
"""Tells a person, and a scanner of leaked secrets, whose token it is."""

_BYTES: Final = 32
_STALE: Final = timedelta(minutes=1)
"""How old ``last_used_at`` may be: so that reading a page is not a write for every request."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that may be used. It holds neither the token nor its hash, so it may be printed."""

    id: str
    user_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class TokenStore:
    """Keeps access tokens by their SHA-256.

    A slow, salted hash protects what a person made up from being guessed. A token here is 256 random bits: there is
    no list to try, and trying all of them is out of reach for any hash. So a plain one is enough, and it lets a token
    be found by an index, on every request.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], *, clock: Callable[[], datetime] = _now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def create(self, user_id: str, name: str) -> str:
        """Make a token for ``user_id`` and return it. It cannot be had again."""
        plain = PREFIX + secrets.token_urlsafe(_BYTES)
        row = AccessTokenRow(
            id=uuid.uuid4().hex, user_id=user_id, name=name, hash=_hash(plain), created_at=self._clock()
        )
        async with self._sessions.begin() as session:
            session.add(row)
        return plain

    async def find(self, plain: str) -> AccessToken | None:
        """The token, if it was given out and not revoked. Notes that it was used; that this fails is no reason to refuse it."""
        query = select(AccessTokenRow).where(
            AccessTokenRow.hash == _hash(plain), AccessTokenRow.revoked_at.is_(None)
        )
        async with self._sessions() as session:
            row = await session.scalar(query)
        if row is None:
            return None
        await self._note_use(row)
        return AccessToken(row.id, row.user_id, row.name, row.created_at, row.last_used_at)

    async def has_any(self) -> bool:
        """Whether there is a token that may be used."""
        async with self._sessions() as session:
            return bool(await session.scalar(select(exists().where(AccessTokenRow.revoked_at.is_(None)))))

    async def revoke(self, token_id: str) -> None:
        """End the life of a token. Does nothing to one that is unknown or already revoked."""
        change = update(AccessTokenRow).where(
            AccessTokenRow.id == token_id, AccessTokenRow.revoked_at.is_(None)
        )
        async with self._sessions.begin() as session:
            await session.execute(change.values(revoked_at=self._clock()))

    async def _note_use(self, row: AccessTokenRow) -> None:
        now = self._clock()
        if row.last_used_at is not None and now - row.last_used_at < _STALE:
            return
        change = update(AccessTokenRow).where(AccessTokenRow.id == row.id).values(last_used_at=now)
        try:
            async with self._sessions.begin() as session:
                await session.execute(change)
        except OperationalError:
            log.exception("tokens.use_not_noted")


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()
