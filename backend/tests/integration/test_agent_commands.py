"""``agent``: a run on the command line, answered on the command line."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import DataOwner
from backend.conversations.sample import SAMPLE
from backend.conversations.store import Conversation
from backend.database.conversations import SqlConversationStore
from backend.database.engine import open_and_migrate_sqlite
from backend.database.transactions import get_transaction_runner
from backend.tests.fakes.commands import in_force, run, told
from backend.utils.llm.testing import Status, Text, ToolCalls
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ARGUMENTS = {"conversation_id": "c1", "title": "Budget"}


@pytest.fixture
def data(provider: LoopbackProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a conversation, and a model that wants it deleted."""
    provider.script(ToolCalls((("delete_conversation", ARGUMENTS),)), Text("It is gone."))
    data = in_force(loopback_table(provider, {"chat_agent": "openai:gpt-6-luna"}), tmp_path, monkeypatch)
    asyncio.run(_keep(data))
    return data


async def _keep(data: Path) -> None:
    async with open_and_migrate_sqlite(data / "patchbay.sqlite3") as engine:
        transacting = get_transaction_runner(engine)
        await SqlConversationStore(async_sessionmaker(engine), transacting).add(
            Conversation(
                id="c1",
                user_id="admin",
                created_at=NOON,
                started_at=NOON,
                status="completed",
                title="Budget",
                transcript=SAMPLE,
            )
        )


async def _kept(data: Path) -> bool:
    async with open_and_migrate_sqlite(data / "patchbay.sqlite3") as engine:
        transacting = get_transaction_runner(engine)
        store = SqlConversationStore(async_sessionmaker(engine), transacting)
        return await store.get(DataOwner("admin"), "c1") is not None


def asks() -> Any:
    run("agent", "run", "assistant", "Delete the budget talk.")
    (one,) = told("agent", "pending")["confirmations"]
    return one


def test_what_is_approved_on_the_command_line_is_done(data: Path) -> None:
    one = asks()

    shown = run("agent", "pending")
    done = run("agent", "approve", one["id"][:8], "--yes")
    again = run("agent", "approve", one["id"][:8], "--yes")

    assert ("Delete a conversation" in shown.output, "title: Budget" in shown.output) == (True, True)
    assert (done.exit_code, "It is gone." in done.output, asyncio.run(_kept(data))) == (0, True, False)
    assert (again.exit_code, "was answered before, and is done" in again.output) == (1, True)


def test_what_may_have_run_is_run_again_only_when_that_is_said(data: Path) -> None:
    one = asks()
    with sqlite3.connect(data / "patchbay.sqlite3") as connection:
        connection.execute("UPDATE agent_confirmations SET state = 'unknown', leased_until = 0")
    connection.close()

    no = run("agent", "approve", one["id"], "--yes")
    was_kept = asyncio.run(_kept(data))
    yes = run("agent", "approve", one["id"], "--yes", "--again")

    assert (no.exit_code, was_kept) == (1, True)
    assert (yes.exit_code, asyncio.run(_kept(data))) == (0, False)


def test_what_is_not_said_yes_to_is_not_done(data: Path) -> None:
    one = asks()

    no = run("agent", "approve", one["id"])
    wrong = run("agent", "edit", one["id"], '{"title": "Budget"}', "--yes")
    rejected = told("agent", "reject", one["id"], "--reason", "I need it.")

    assert [no.exit_code, wrong.exit_code, rejected["events"][-1]["state"]] == [1, 1, "done"]
    assert asyncio.run(_kept(data))


@pytest.mark.usefixtures("data")
def test_a_run_that_waits_shows_what_for_once_and_how_to_go_on() -> None:
    shown = run("agent", "run", "assistant", "Delete the budget talk.").output
    (one,) = told("agent", "pending")["confirmations"]
    short = one["id"][:8]

    assert shown.count("title: Budget") == 1
    assert f"agent approve {short}, or agent reject {short}" in shown
    assert run("agent", "approve", one["id"], "--yes").output.count("title: Budget") == 0


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("length", [8, 32])
def test_what_was_answered_is_told_as_over_http(length: int) -> None:
    which = asks()["id"][:length]
    run("agent", "approve", which, "--yes")

    codes = [told("agent", verb, which)["error"]["code"] for verb in ("approve", "reject")]

    assert codes == ["already_decided", "already_decided"]
    assert told("agent", "approve", "f" * length)["error"]["code"] == "confirmation_not_found"


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(("status", "expected"), [(400, 1), (503, 75)])
def test_a_run_that_fails_is_told_by_the_exit_status(
    provider: LoopbackProvider, status: int, expected: int
) -> None:
    provider.clear()
    provider.always(Status(status))

    failed = run("agent", "run", "assistant", "Hello.")

    assert (failed.exit_code, "is failed" in failed.output) == (expected, True)


@pytest.mark.usefixtures("data")
def test_why_a_call_came_to_nothing_is_printed(provider: LoopbackProvider) -> None:
    provider.clear()
    provider.script(ToolCalls((("search_conversations", {"limit": 99}),)), Text("Sorry."))

    printed = run("agent", "run", "assistant", "Look.").output

    assert "search_conversations: refuse (words: Field required" in printed
