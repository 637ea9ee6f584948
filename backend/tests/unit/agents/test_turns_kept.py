"""How often a run goes to its database: once for a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from backend.agents.in_memory import InMemoryConfirmationStore
from backend.database.audit import AuditTrail
from backend.database.runs import SqlRunStore
from backend.tests.fakes.agents import World, wants

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from backend.database.transactions import TransactionRunner
    from backend.tests.unit.database.conftest import Sessions

T = TypeVar("T")


class Counted:
    """Transactions that are counted."""

    def __init__(self, transactions: TransactionRunner) -> None:
        self.count = 0
        self._transactions = transactions

    async def run(self, work: Callable[[Connection], T]) -> T:
        self.count += 1
        return await self._transactions.run(work)

    async def run_read_only(self, work: Callable[[Connection], T]) -> T:
        self.count += 1
        return await self._transactions.run_read_only(work)


@pytest.mark.parametrize("turns", [1, 5])
async def test_a_turn_is_one_transaction(
    turns: int, sqlite_transactions: TransactionRunner, sqlite_sessions: Sessions
) -> None:
    counted = Counted(sqlite_transactions)
    looks = [
        wants(("search", {"words": str(turn)}), ("search", {"words": "tea"})) for turn in range(1, turns)
    ]
    world = World([*looks, "Done."], confirmations=InMemoryConfirmationStore(), runs=SqlRunStore(counted))

    await world.say(conversation=None)

    begun_and_ended = 2
    assert counted.count == turns + begun_and_ended
    entries = await AuditTrail(sqlite_sessions).list_entries(limit=99)
    assert [entry.kind for entry in entries].count("agent.tool") == 2 * (turns - 1)
