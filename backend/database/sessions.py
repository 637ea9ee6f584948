"""Stores browser sessions in the database."""

from __future__ import annotations

import logging
import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy import and_, delete, exists, or_, select
from sqlalchemy.orm import aliased

from backend.access import SCOPES, Grant
from backend.database.audit import record
from backend.database.changes import announce
from backend.database.tables import AccessTokenRow, LoginSessionRow
from backend.database.tokens import holds, record_use, token_hash, token_of, utc_now
from backend.database.wal import erase
from backend.ledger.audit import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

log = logging.getLogger(__name__)

LIFETIME: Final = timedelta(days=30)
"""The longest time that a browser stays logged in."""
IDLE: Final = timedelta(days=7)
"""How long a browser stays logged in without a request."""
_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A browser session that has not ended. It lacks the cookie's value, of which only a hash is stored.

    Attributes:
        token_id: The id of the access token that opened it; None for the login link printed at the server's start.
    """

    id: str
    user_id: str
    token_id: str | None
    created_at: datetime
    last_used_at: datetime


class SessionStore:
    """Stores browser sessions. As with tokens, only the SHA-256 of a cookie's value is stored, not the value."""

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def open(self, user_id: str, token_id: str | None = None) -> str:
        """Open a browser session, and return the value of its cookie.

        Args:
            user_id: The user who logged in.
            token_id: The access token that they logged in with; the session ends when it is revoked. None without one.
        """
        plain, new_id, now = secrets.token_urlsafe(_BYTES), uuid.uuid4().hex, self._clock()
        row = LoginSessionRow(
            id=new_id,
            user_id=user_id,
            token_id=token_id,
            hash=token_hash(plain),
            created_at=now,
            last_used_at=now,
        )
        async with self._sessions.begin() as session:
            await session.execute(delete(LoginSessionRow).where(~_holds(now)))
            session.add(row)
        log.info("sessions.opened user=%s session=%s token=%s", user_id, new_id, token_id)
        return plain

    async def find(self, plain: str) -> Grant | None:
        """The rights of the session whose cookie has the value ``plain``; None if it has ended.

        Records the use, because a session ends when it is unused for long.
        """
        now, row, token = self._clock(), LoginSessionRow, aliased(AccessTokenRow)
        query = select(row, token).outerjoin(token, token.id == row.token_id)
        async with self._sessions() as session:
            found = (await session.execute(query.where(row.hash == token_hash(plain), _holds(now)))).first()
        if found is None:
            return None
        held, opened_with = found[0], cast("AccessTokenRow | None", found[1])
        await record_use(self._sessions, held, now)
        if opened_with is None:  # by whoever started the service
            return Grant(held.user_id, scopes=frozenset(SCOPES))
        return token_of(opened_with).grant

    async def end(self, plain: str) -> None:
        """End the session whose cookie has the value ``plain``, if there is one."""
        await self._end(LoginSessionRow.hash == token_hash(plain))

    async def revoke(self, session_id: str, *, by: str = SYSTEM) -> None:
        """End the session with the given id, if there is one.

        Args:
            session_id: The id of the session.
            by: Who ends the session, for the audit trail.
        """
        await self._end(LoginSessionRow.id == session_id, by)

    async def all(self) -> Sequence[LoginSession]:
        """List every session that has not ended, the newest first."""
        row = LoginSessionRow
        query = select(row).where(_holds(self._clock())).order_by(row.created_at.desc(), row.id)
        async with self._sessions() as session:
            return [_session(found) for found in await session.scalars(query)]

    async def _end(self, which: ColumnElement[bool], by: str | None = None) -> None:
        gone = delete(LoginSessionRow).where(which).returning(LoginSessionRow.id, LoginSessionRow.user_id)
        async with self._sessions.begin() as session:
            ended = (await session.execute(gone)).first()
            if ended is not None:
                await announce(session, "tokens")
            if ended is not None and by is not None:
                now, facts = self._clock(), {"user": ended.user_id}
                await record(session, "session.revoked", ended.id, actor=by, now=now, details=facts)
        if ended is not None:
            await erase(self._sessions)
            log.info("sessions.ended user=%s session=%s", ended.user_id, ended.id)


def _holds(now: datetime) -> ColumnElement[bool]:
    """An SQL condition: the session is neither too old nor unused for too long, and its token is valid."""
    row = LoginSessionRow
    good = exists().where(AccessTokenRow.id == row.token_id, holds(now))
    return and_(
        row.created_at > now - LIFETIME, row.last_used_at > now - IDLE, or_(row.token_id.is_(None), good)
    )


def _session(row: LoginSessionRow) -> LoginSession:
    return LoginSession(row.id, row.user_id, row.token_id, row.created_at, row.last_used_at)
