"""Stores conversations in the database."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Text,
    and_,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from typing_extensions import override

from backend.conversations.errors import StorageUnavailableError
from backend.conversations.journal import CONVERSATION
from backend.conversations.store import (
    Conversation,
    ConversationPage,
    ConversationSummary,
    InvalidCursorError,
)
from backend.conversations.transcript import run_in_thread_if_long
from backend.database.dialects import acquire_exclusive_lock, decode_utf8_in_sql, is_postgres, make_insert
from backend.database.faults import is_database_unavailable
from backend.database.one_trip import CompiledSelect
from backend.database.tables import ConversationRow
from backend.database.wal import erase_deleted_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

    from backend.access import DataOwner
    from backend.conversations.action_items import ActionItem
    from backend.database.transactions import TransactionRunner


_WITHOUT_TRANSCRIPT: Final[dict[bool, ColumnElement[str]]] = {
    False: func.json_remove(ConversationRow.document, "$.transcript", type_=Text),
    # As `json`, part by part: `jsonb` refuses a text with NUL in it.
    True: literal_column(
        "(SELECT json_object_agg(part.key, part.value)::text FROM json_each(document::json) AS part"
        " WHERE part.key <> 'transcript')",
        Text,
    ),
}
"""By whether it is PostgreSQL."""

_DOCUMENT: Final = CompiledSelect(
    select(ConversationRow.document).where(
        ConversationRow.id == bindparam("id"),
        ConversationRow.user_id == bindparam("user_id"),
        ConversationRow.tenant_id == bindparam("tenant_id"),
    )
)
"""Of one conversation of one owner."""
_READ_AT_ONCE: Final = 16 * 1024
"""Characters of a document that is read within a fraction of a millisecond. Of more, others do not wait for the end."""


class SqlConversationStore:
    """A `ConversationStore` in SQLite or PostgreSQL.

    Lists use keyset pagination, so the first and the last page cost the same.

    Args:
        sessions: Opens sessions on the database.
        transactions: Runs the transactions that store new conversations.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession], transactions: TransactionRunner) -> None:
        self._sessions = sessions
        self._transacting = transactions
        self._engine: AsyncEngine = sessions.kw["bind"]
        self._insert = (
            make_insert(self._engine, ConversationRow)
            .values(document=decode_utf8_in_sql(self._engine, bindparam("json", type_=LargeBinary)))
            .on_conflict_do_nothing()
        )

    async def add(self, conversation: Conversation) -> None:
        """Store a new conversation. Does nothing if a conversation with the same id exists.

        Raises:
            StorageUnavailableError: The database cannot be written now.
        """
        row = await run_in_thread_if_long(conversation.transcript, partial(_row, conversation))
        try:
            await self._transacting.run(lambda connection: connection.execute(self._insert, row))
        except Exception as error:
            if is_database_unavailable(error):
                raise StorageUnavailableError from error
            raise

    async def get(self, owner: DataOwner, conversation_id: str) -> Conversation | None:
        """Return the conversation with the given id; None if it does not exist, or belongs to another user."""
        document = await _DOCUMENT.fetch_first_value(
            self._engine, id=conversation_id, user_id=owner.user_id, tenant_id=owner.tenant_id
        )
        if not document or len(document) <= _READ_AT_ONCE:
            return Conversation.model_validate_json(document) if document else None
        return await asyncio.to_thread(Conversation.model_validate_json, document)

    async def list_page(self, owner: DataOwner, *, limit: int, cursor: str | None = None) -> ConversationPage:
        """List at most ``limit`` conversations of the user, the newest first, without their transcripts.

        Args:
            owner: The user.
            limit: The most conversations to return.
            cursor: The cursor in the previous page; None for the first page.

        Raises:
            InvalidCursorError: The cursor was not issued by this store.
            ValueError: ``limit`` is below 1.
        """
        if limit < 1:
            raise ValueError("limit must be at least 1")
        after = None if cursor is None else _Place.parse(cursor).after()
        async with self._sessions() as session:
            query = _newest_first(owner, session).limit(limit + 1)
            if after is not None:
                query = query.where(after)
            found = (await session.scalars(query)).all()
        return _page(found, limit)

    async def add_action_item(self, owner: DataOwner, conversation_id: str, item: ActionItem) -> bool:
        """Add an action item to a conversation; False if the user has no such conversation."""
        mine = _its(owner, conversation_id)
        async with self._sessions.begin() as session:
            await acquire_exclusive_lock(session)
            document = await session.scalar(select(ConversationRow.document).where(*mine))
            if document is None:
                return False
            changed = await asyncio.to_thread(_with_item, document, item)
            await session.execute(
                update(ConversationRow)
                .where(*mine)
                .values(document=decode_utf8_in_sql(session, literal(changed, LargeBinary)))
            )
        return True

    async def delete(self, owner: DataOwner, conversation_id: str) -> bool:
        """Delete the conversation for good; False if the user has no such conversation."""
        gone = delete(ConversationRow).where(*_its(owner, conversation_id)).returning(ConversationRow.id)
        async with self._sessions.begin() as session:
            found = await session.scalar(gone)
        if found is not None:
            await erase_deleted_data(self._sessions)
        return found is not None


@dataclass(frozen=True, slots=True)
class _Place:
    """The place where a page ended."""

    created_at: datetime
    id: str

    @classmethod
    def of(cls, summary: ConversationSummary) -> _Place:
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


def _its(owner: DataOwner, conversation_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return ConversationRow.id == conversation_id, _belongs_to(owner)


def _with_item(document: str, item: ActionItem) -> bytes:
    before = Conversation.model_validate_json(document)
    return CONVERSATION.dump_json(before.model_copy(update={"action_items": (*before.action_items, item)}))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no UTC offset")
    return moment.astimezone(UTC)


def _row(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "user_id": conversation.user_id,
        "tenant_id": conversation.tenant_id,
        "created_at": conversation.created_at,
        "status": conversation.status,
        "title": conversation.title,
        "json": CONVERSATION.dump_json(conversation),
    }


def _belongs_to(owner: DataOwner) -> ColumnElement[bool]:
    return and_(ConversationRow.user_id == owner.user_id, ConversationRow.tenant_id == owner.tenant_id)


def _newest_first(owner: DataOwner, session: AsyncSession) -> Select[str]:
    """Conversations without their transcripts, which may be megabytes each and which a page does not show."""
    return (
        select(_WITHOUT_TRANSCRIPT[is_postgres(session)])
        .where(_belongs_to(owner))
        .order_by(ConversationRow.created_at.desc(), ConversationRow.id)
    )


def _page(documents: Sequence[str], limit: int) -> ConversationPage:
    items = tuple(ConversationSummary.model_validate_json(document) for document in documents[:limit])
    return ConversationPage(items, str(_Place.of(items[-1])) if len(documents) > limit else None)
