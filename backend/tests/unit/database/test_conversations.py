from __future__ import annotations

import asyncio
import base64
import json
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from backend.access import DataOwner
from backend.conversations.action_items import ActionItem
from backend.conversations.store import (
    Conversation,
    ConversationPage,
    ConversationStore,
    ConversationSummary,
    FolderChoice,
    InvalidCursorError,
)
from backend.conversations.transcript import Segment, Transcript
from backend.database.conversations import SqlConversationStore
from backend.database.transactions import get_transaction_runner

if TYPE_CHECKING:
    from .conftest import Sessions

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def store(sessions: Sessions) -> ConversationStore:
    return SqlConversationStore(sessions, get_transaction_runner(sessions.kw["bind"]))


def conversation(**given: Any) -> Conversation:
    transcript = Transcript(
        segments=[Segment(speaker="Ann", text="Grüß Gott ☕", start=0, end=1.5)], started_at=NOON
    )
    defaults = {
        "id": uuid.uuid4().hex,
        "user_id": "ann",
        "created_at": NOON,
        "started_at": NOON,
        "status": "completed",
        "transcript": transcript,
        "receipts": {"conv_folder": {"endpoint": "openai:gpt-6-luna", "attempts": [{"duration_ms": 12.5}]}},
        "folder": FolderChoice(folder_id="work", confidence=0.9, reasoning="…", validation_status="accepted"),
    }
    return Conversation(**(defaults | given))


async def test_what_was_kept_comes_back_whole(store: ConversationStore) -> None:
    kept = conversation(title="Coffee", category="social", errors={"conv_discard": "timed_out"})
    await store.add(kept)
    assert await store.get(DataOwner("ann"), kept.id) == kept


async def test_conversations_of_other_users_are_not_returned(store: ConversationStore) -> None:
    kept = conversation()
    await store.add(kept)
    assert await store.get(DataOwner("bob"), kept.id) is None
    assert await store.list_page(DataOwner("bob"), limit=10, cursor=None) == ConversationPage(())
    assert await store.get(DataOwner("ann"), "unknown") is None


async def test_an_id_is_kept_once_as_it_first_came(store: ConversationStore) -> None:
    kept = conversation()
    await store.add(kept)

    await store.add(kept.model_copy(update={"title": "Another"}))

    assert await store.get(DataOwner("ann"), kept.id) == kept


async def test_tasks_that_are_added_at_once_are_all_there(store: ConversationStore) -> None:
    kept = conversation()
    await store.add(kept)
    items = [ActionItem(description=f"Task {number}") for number in range(5)]

    added = await asyncio.gather(*(store.add_action_item(DataOwner("ann"), kept.id, item) for item in items))

    found = await store.get(DataOwner("ann"), kept.id)
    assert (added, found is not None) == ([True] * 5, True)
    assert sorted(item.description for item in found.action_items) == [item.description for item in items]
    assert found.transcript == kept.transcript


async def test_what_is_removed_is_gone_and_another_users_stays(store: ConversationStore) -> None:
    kept = conversation()
    await store.add(kept)

    others = [
        await store.delete(DataOwner("bob"), kept.id),
        await store.add_action_item(DataOwner("bob"), kept.id, ActionItem(description="Task")),
    ]
    there = await store.get(DataOwner("ann"), kept.id)
    removed = [await store.delete(DataOwner("ann"), kept.id), await store.delete(DataOwner("ann"), kept.id)]

    assert (others, there, removed) == ([False, False], kept, [True, False])
    assert await store.get(DataOwner("ann"), kept.id) is None


async def test_pages_hold_everything_once_newest_first(store: ConversationStore) -> None:
    moments = [NOON + timedelta(minutes=number // 3) for number in range(10)]  # three share each moment
    for moment in moments:
        await store.add(conversation(created_at=moment))
    await store.add(conversation(user_id="bob"))
    seen = await all_pages(store, limit=2)
    assert len({item.id for item in seen}) == len(seen) == 10
    assert seen == sorted(seen, key=lambda item: (-item.created_at.timestamp(), item.id))


async def test_the_order_is_of_moments_not_of_clocks(store: ConversationStore) -> None:
    vienna = timezone(timedelta(hours=2))
    await store.add(conversation(title="later", created_at=NOON))
    await store.add(conversation(title="earlier", created_at=NOON.replace(tzinfo=vienna, hour=13)))
    assert [item.title for item in await all_pages(store, limit=1)] == ["later", "earlier"]


async def test_a_new_one_does_not_shift_the_next_page(store: ConversationStore) -> None:
    for hours in range(3):
        await store.add(conversation(title=str(hours), created_at=NOON - timedelta(hours=hours)))
    first = await store.list_page(DataOwner("ann"), limit=2, cursor=None)
    await store.add(conversation(title="new", created_at=NOON + timedelta(hours=1)))
    second = await store.list_page(DataOwner("ann"), limit=2, cursor=first.next_cursor)
    assert [item.title for item in second.items] == ["2"]


async def test_the_last_page_has_no_cursor(store: ConversationStore) -> None:
    for _ in range(2):
        await store.add(conversation())
    assert (await store.list_page(DataOwner("ann"), limit=2, cursor=None)).next_cursor is None


async def test_a_page_leaves_out_the_transcript(store: ConversationStore) -> None:
    await store.add(conversation())
    (item,) = (await store.list_page(DataOwner("ann"), limit=1, cursor=None)).items
    assert type(item) is ConversationSummary


async def test_a_limit_below_one_is_refused(store: ConversationStore) -> None:
    with pytest.raises(ValueError, match="limit"):
        await store.list_page(DataOwner("ann"), limit=0, cursor=None)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "!",
        "ü",
        "AAAA",
        encoded([]),
        encoded(None),
        encoded(["soon", "a"]),
        encoded(["2026-11-21T12:00:00", "a"]),
        encoded(["0001-01-01T00:00:00+23:00", "a"]),
        encoded(["2026-11-21T12:00:00+00:00", 1]),
        encoded(["2026-11-21T12:00:00+00:00", "\ud800"]),
        encoded(["2026-11-21T12:00:00+00:00", "a", "b"]),
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
    ],
)
async def test_a_foreign_cursor_is_refused(store: ConversationStore, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await store.list_page(DataOwner("ann"), limit=1, cursor=cursor)


async def all_pages(store: ConversationStore, *, limit: int) -> list[ConversationSummary]:
    seen: list[ConversationSummary] = []
    cursor: str | None = None
    while True:
        page = await store.list_page(DataOwner("ann"), limit=limit, cursor=cursor)
        assert 1 <= len(page.items) <= limit
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            return seen
