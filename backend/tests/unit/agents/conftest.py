"""Agents on every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from redis.asyncio import Redis

from backend.agents.in_memory import InMemoryConfirmationStore, InMemoryRunStore
from backend.database.audit import commit_audit_event
from backend.database.confirmations import SqlConfirmationStore
from backend.database.runs import SqlRunStore
from backend.database.valkey_confirmations import ValkeyConfirmationStore
from backend.tests.fakes.agents import World
from backend.tests.unit.database.conftest import (  # noqa: F401 - fixtures
    engine,
    postgresql_sessions,
    postgresql_transactions,
    sqlite_sessions,
    sqlite_transactions,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backend.agents.confirmations import ConfirmationStore
    from backend.agents.runs import RunStore
    from backend.database.transactions import TransactionRunner
    from backend.tests.fakes.valkey import Valkey
    from backend.tests.unit.database.conftest import (
        Sessions,
    )

MakeWorld = Callable[..., World]


class Stores(NamedTuple):
    confirmations: ConfirmationStore
    runs: RunStore
    sessions: Sessions | None = None


@pytest.fixture
async def valkey_client(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture(params=["memory", "sqlite", "postgresql", "valkey"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "memory":
        return Stores(InMemoryConfirmationStore(), InMemoryRunStore())
    kind = "postgresql" if request.param == "postgresql" else "sqlite"
    sessions: Sessions = request.getfixturevalue(f"{kind}_sessions")
    made: TransactionRunner = request.getfixturevalue(f"{kind}_transactions")
    if request.param == "valkey":
        client = request.getfixturevalue("valkey_client")
        confirmations: Any = ValkeyConfirmationStore(client, partial(commit_audit_event, sessions))
        return Stores(confirmations, SqlRunStore(made), sessions)
    return Stores(SqlConfirmationStore(made), SqlRunStore(made), sessions)


@pytest.fixture
def world(stores: Stores) -> MakeWorld:
    """An application on `stores`."""
    return partial(World, confirmations=stores.confirmations, runs=stores.runs)
