"""The assistant: what it deletes is what its user was told of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backend.access import DataOwner
from backend.agents.assistant import make_assistant_agent
from backend.agents.observations import ToolError
from backend.agents.tools import Execution
from backend.conversations.sample import SAMPLE
from backend.conversations.store import Conversation
from backend.tests.fakes.services import InMemoryConversations

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
WHO = Execution("ann", "", "run", "key")


@pytest.mark.parametrize(
    ("title", "told", "is_deleted"),
    [
        (None, "", True),
        (None, "Any other", False),
        ("Budget", "Budget", True),
        ("Budget", "", False),
    ],
)
async def test_a_conversation_is_deleted_under_its_own_title_alone(
    title: str | None, told: str, *, is_deleted: bool
) -> None:
    store = InMemoryConversations()
    await store.add(
        Conversation(
            id="c1",
            user_id="ann",
            created_at=NOON,
            started_at=NOON,
            status="completed",
            title=title,
            transcript=SAMPLE,
        )
    )
    delete = next(tool for tool in make_assistant_agent(store).tools if tool.name == "delete_conversation")

    try:
        await delete.run({"conversation_id": "c1", "title": told}, WHO)
    except ToolError:
        assert not is_deleted

    assert (await store.get(DataOwner("ann"), "c1") is None) == is_deleted
