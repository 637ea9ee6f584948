"""Stored overrides in the database: who decided what until when, and that it is in the audit trail."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from backend.database.audit import AuditTrail
from backend.database.overrides import SqlOverrideStore
from backend.utils.llm.model_config import Override

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def override(number: int = 1, subject: str = "greet", *, hours: float = 2, author: str = "ann") -> Override:
    links = () if ":" in subject else ("openai:a", "group:b")
    since = NOON + timedelta(minutes=number)
    return Override(f"o{number}", subject, links, author, "an outage", since, since + timedelta(hours=hours))


@pytest.fixture
def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine)


@pytest.fixture
def store(sessions: async_sessionmaker[AsyncSession]) -> SqlOverrideStore:
    return SqlOverrideStore(sessions)


@pytest.fixture
def trail(sessions: async_sessionmaker[AsyncSession]) -> AuditTrail:
    return AuditTrail(sessions)


async def told(trail: AuditTrail) -> list[tuple[str, str, str]]:
    entries = await trail.list_entries(limit=99)
    return [
        (entry.kind, entry.subject, entry.actor) for entry in sorted(entries, key=lambda one: one.sequence)
    ]


async def test_what_was_stored_is_seen_by_others_as_it_was(store: SqlOverrideStore) -> None:
    kept = [override(1), override(2, "openai:a")]
    for one in kept:
        await store.add_override(one)

    assert await store.list_active(NOON) == kept


async def test_a_new_one_takes_the_place_of_the_one_before(
    store: SqlOverrideStore, trail: AuditTrail
) -> None:
    await store.add_override(override(1))
    await store.add_override(override(2, author="bob"))

    assert await store.list_active(NOON) == [override(2, author="bob")]
    assert await told(trail) == [
        ("override.set", "greet", "ann"),
        ("override.replaced", "greet", "bob"),
        ("override.set", "greet", "bob"),
    ]


async def test_one_that_is_reverted_does_not_hold(store: SqlOverrideStore, trail: AuditTrail) -> None:
    await store.add_override(override())

    ended = [await store.end_override("o1", "bob", NOON), await store.end_override("o1", "bob", NOON)]

    assert (ended, await store.list_active(NOON)) == ([override(), None], [])
    assert (await told(trail))[1:] == [("override.reverted", "greet", "bob")]


async def test_one_that_has_had_its_time_ends_once_by_itself(
    store: SqlOverrideStore, trail: AuditTrail
) -> None:
    await store.add_override(override(hours=2))
    later = NOON + timedelta(hours=3)

    seen = await asyncio.gather(*(store.list_active(later) for _ in range(4)))

    assert seen == [[], [], [], []]
    assert (await told(trail))[1:] == [("override.expired", "greet", "system")]
    (kept,) = await store.list_recent(9)
    assert (kept.ended_at, kept.ended_by) == (override().until, "system")


async def test_one_that_has_had_its_time_is_not_reverted(store: SqlOverrideStore, trail: AuditTrail) -> None:
    await store.add_override(override(hours=2))

    assert await store.end_override("o1", "bob", NOON + timedelta(hours=3)) is None
    assert (await told(trail))[1:] == [("override.expired", "greet", "system")]


async def test_of_many_who_decide_at_once_one_decision_holds(
    store: SqlOverrideStore, trail: AuditTrail
) -> None:
    await asyncio.gather(
        *(store.add_override(override(number)) for number in range(6)), return_exceptions=True
    )

    assert len(await store.list_active(NOON)) == 1
    kinds = [kind for kind, *_ in await told(trail)]
    assert kinds.count("override.set") == kinds.count("override.replaced") + 1


async def test_past_ones_stay_with_who_ended_them(store: SqlOverrideStore) -> None:
    await store.add_override(override(1))
    await store.add_override(override(2))
    await store.end_override("o2", "bob", NOON + timedelta(minutes=5))

    assert [(record.override.id, record.ended_by) for record in await store.list_recent(9)] == [
        ("o2", "bob"),
        ("o1", "ann"),
    ]
    assert len(await store.list_recent(1)) == 1
