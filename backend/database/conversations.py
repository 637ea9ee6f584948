"""Conversations in the database."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, LargeBinary, Text, and_, cast, func, literal, or_, select
from sqlalchemy.dialects.sqlite import insert
from typing_extensions import override

from backend.conversations.errors import StorageUnavailableError
from backend.conversations.journal import CONVERSATION
from backend.conversations.store import Conversation, InvalidCursorError, Page, Summary
from backend.database.faults import is_unavailable
from backend.database.tables import ConversationRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker


class SqlConversationStore:
    """A `ConversationStore`. Pages by key, so a page costs the same however far back it lies."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(self, conversation: Conversation) -> None:
        """See `ConversationStore.add`."""
        row = await asyncio.to_thread(_row, conversation)
        try:
            async with self._sessions.begin() as session:
                await session.execute(insert(ConversationRow).values(row).on_conflict_do_nothing())
        except Exception as error:
            if is_unavailable(error):
                raise StorageUnavailableError from error
            raise

    async def get(self, user_id: str, conversation_id: str) -> Conversation | None:
        """The conversation, if there is one of that id and it is this user's."""
        query = select(ConversationRow.document).where(
            ConversationRow.id == conversation_id, ConversationRow.user_id == user_id
        )
        async with self._sessions() as session:
            document = await session.scalar(query)
        return await asyncio.to_thread(Conversation.model_validate_json, document) if document else None

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page:
        """The user's conversations after ``cursor``, newest first.

        Raises:
            InvalidCursorError: If the cursor was not given out by this store.
            ValueError: If ``limit`` is below 1.
        """
        if limit < 1:
            raise ValueError("limit must be at least 1")
        query = _newest_first(user_id).limit(limit + 1)
        if cursor is not None:
            query = query.where(_Place.parse(cursor).after())
        async with self._sessions() as session:
            found = (await session.scalars(query)).all()
        return _page(found, limit)


@dataclass(frozen=True, slots=True)
class _Place:
    """The place where a page ended."""

    created_at: datetime
    id: str

    @classmethod
    def of(cls, summary: Summary) -> _Place:
        return cls(summary.created_at, summary.id)

    @classmethod
    def parse(cls, cursor: str) -> _Place:
        try:
            created_at, last_id = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
            last_id.encode()
            return cls(_moment(created_at), last_id)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InvalidCursorError("The cursor was not given out by this store.") from error

    @override
    def __str__(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.created_at.isoformat(), self.id]).encode()).decode()

    def after(self) -> ColumnElement[bool]:
        row = ConversationRow
        return and_(
            row.created_at <= self.created_at, or_(row.created_at < self.created_at, row.id > self.id)
        )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no UTC offset")
    return moment.astimezone(UTC)


def _row(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "user_id": conversation.user_id,
        "created_at": conversation.created_at,
        "status": conversation.status,
        "title": conversation.title,
        "document": cast(literal(CONVERSATION.dump_json(conversation), LargeBinary), Text),
    }


def _newest_first(user_id: str) -> Select[str]:
    """Documents without their transcripts, which may be megabytes each and which a page does not show."""
    return (
        select(func.json_remove(ConversationRow.document, "$.transcript", type_=Text))
        .where(ConversationRow.user_id == user_id)
        .order_by(ConversationRow.created_at.desc(), ConversationRow.id)
    )


def _page(documents: Sequence[str], limit: int) -> Page:
    items = tuple(Summary.model_validate_json(document) for document in documents[:limit])
    return Page(items, str(_Place.of(items[-1])) if len(documents) > limit else None)
