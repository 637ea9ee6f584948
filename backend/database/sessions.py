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
from backend.database.audit import record_audit_event
from backend.database.changes import announce_change
from backend.database.tables import AccessTokenRow, LoginSessionRow
from backend.database.tokens import (
    hash_token,
    record_last_use,
    token_from_row,
    utc_now,
    valid_token_condition,
)
from backend.database.wal import erase_deleted_data
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
class BrowserSession:
    """A browser session that has not ended. The cookie's value is not included: only its hash is stored.

    Attributes:
        token_id: The id of the access token that the user logged in with; None after a login by the link
            that the server prints at its start.
    """

    id: str
    user_id: str
    token_id: str | None
    created_at: datetime
    last_used_at: datetime


class BrowserSessionStore:
    """Stores browser sessions in the database. Only the SHA-256 of a cookie's value is stored.

    A session ends after 30 days, after 7 days without use, or when the access token that opened it is
    revoked or expires.
    """

    def __init__(
        self, sessions: async_sessionmaker[AsyncSession], *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def open_session(self, user_id: str, token_id: str | None = None) -> str:
        """Open a browser session, and return the value of its cookie.

        Args:
            user_id: The user who logged in.
            token_id: The access token that the user logged in with; None for a login without a stored token.
        """
        plain, new_id, now = secrets.token_urlsafe(_BYTES), uuid.uuid4().hex, self._clock()
        row = LoginSessionRow(
            id=new_id,
            user_id=user_id,
            token_id=token_id,
            hash=hash_token(plain),
            created_at=now,
            last_used_at=now,
        )
        async with self._sessions.begin() as session:
            await session.execute(delete(LoginSessionRow).where(~_holds(now)))
            session.add(row)
        log.info("sessions.opened user=%s session=%s token=%s", user_id, new_id, token_id)
        return plain

    async def find_grant(self, cookie_value: str) -> Grant | None:
        """Return the rights of a browser session; None if there is no such session, or it has ended.

        The use is recorded, because a session ends when it is not used for a week.
        """
        now, row, token = self._clock(), LoginSessionRow, aliased(AccessTokenRow)
        query = select(row, token).outerjoin(token, token.id == row.token_id)
        async with self._sessions() as session:
            found = (
                await session.execute(query.where(row.hash == hash_token(cookie_value), _holds(now)))
            ).first()
        if found is None:
            return None
        held, opened_with = found[0], cast("AccessTokenRow | None", found[1])
        await record_last_use(self._sessions, held, now)
        if opened_with is None:  # by whoever started the service
            return Grant(held.user_id, scopes=frozenset(SCOPES))
        return token_from_row(opened_with).grant

    async def end_session(self, cookie_value: str) -> None:
        """End the session with this cookie value. Does nothing if there is none."""
        await self._end(LoginSessionRow.hash == hash_token(cookie_value))

    async def revoke_session(self, session_id: str, *, actor: str = SYSTEM) -> None:
        """End a session, and record ``actor`` in the audit trail. Does nothing if there is no such session."""
        await self._end(LoginSessionRow.id == session_id, actor)

    async def list_sessions(self) -> Sequence[BrowserSession]:
        """List all browser sessions that have not ended, the newest first."""
        row = LoginSessionRow
        query = select(row).where(_holds(self._clock())).order_by(row.created_at.desc(), row.id)
        async with self._sessions() as session:
            return [_session(found) for found in await session.scalars(query)]

    async def _end(self, which: ColumnElement[bool], by: str | None = None) -> None:
        gone = delete(LoginSessionRow).where(which).returning(LoginSessionRow.id, LoginSessionRow.user_id)
        async with self._sessions.begin() as session:
            ended = (await session.execute(gone)).first()
            if ended is not None:
                await announce_change(session, "tokens")
            if ended is not None and by is not None:
                now, facts = self._clock(), {"user": ended.user_id}
                await record_audit_event(
                    session, "session.revoked", ended.id, actor=by, now=now, details=facts
                )
        if ended is not None:
            await erase_deleted_data(self._sessions)
            log.info("sessions.ended user=%s session=%s", ended.user_id, ended.id)


def _holds(now: datetime) -> ColumnElement[bool]:
    """An SQL condition: the session is neither too old nor unused for too long, and its token is valid."""
    row = LoginSessionRow
    good = exists().where(AccessTokenRow.id == row.token_id, valid_token_condition(now))
    return and_(
        row.created_at > now - LIFETIME, row.last_used_at > now - IDLE, or_(row.token_id.is_(None), good)
    )


def _session(row: LoginSessionRow) -> BrowserSession:
    return BrowserSession(row.id, row.user_id, row.token_id, row.created_at, row.last_used_at)
