"""What a person wants to lay over the table is tested against it before it is kept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from backend.overrides import (
    InvalidOverrideError,
    OverrideManager,
    OverrideNotFoundError,
    OverrideRecord,
    OverrideRequest,
)
from backend.tests.unit.llm.test_overrides import ENVIRON, FLASH, LUNA, SOL, TABLE, chain
from backend.utils.llm import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.model_config import Override

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class InMemoryOverrides:
    """An `OverrideStore` that forgets."""

    def __init__(self) -> None:
        self.kept: list[Override] = []
        self.is_away = False

    async def add_override(self, one: Override) -> None:
        self.kept = [other for other in self.kept if other.subject != one.subject] + [one]

    async def end_override(self, one: str, by: str, now: datetime) -> Override | None:
        ended = next((other for other in self.kept if other.id == one), None)
        self.kept = [other for other in self.kept if other.id != one]
        return ended

    async def list_active(self, now: datetime) -> Sequence[Override]:
        if self.is_away:
            raise ConnectionError("away")
        return [override for override in self.kept if now < override.until]

    async def list_recent(self, limit: int) -> Sequence[OverrideRecord]:
        return [OverrideRecord(override) for override in self.kept[:limit]]


class Desk:
    """Overrides of a table at noon, and later."""

    def __init__(self, text: str = TABLE, **environ: str) -> None:
        self.now = NOON
        self.store = InMemoryOverrides()
        self.table = Table(text=text, environ=ENVIRON | environ, now=lambda: self.now)
        self.overrides = OverrideManager(self.store, self.table, clock=lambda: self.now)

    async def decide(self, subject: str, *links: str, **changes: Any) -> Any:
        wanted = OverrideRequest(subject, links, "ann", "an outage", NOON + timedelta(hours=2))
        return await self.overrides.store_override(wanted._replace(**changes))

    async def refused(self, subject: str, *links: str, **changes: Any) -> str:
        with pytest.raises(InvalidOverrideError) as caught:
            await self.decide(subject, *links, **changes)
        assert self.store.kept == []
        return str(caught.value)


async def test_a_decision_is_kept_and_in_force_at_the_next_look() -> None:
    desk = Desk()

    made = await desk.decide("greet", SOL)
    await desk.overrides.apply_to_table()

    assert desk.store.kept == [made.override]
    assert chain(desk.table.snapshot) == [SOL]
    assert [info.state for info in desk.overrides.describe_active_overrides()] == ["in_force"]


async def test_its_end_puts_back_what_was_before() -> None:
    desk = Desk()
    made = await desk.decide("greet", SOL)
    await desk.overrides.apply_to_table()

    await desk.overrides.revert_override(made.override.id, "bob")
    await desk.overrides.apply_to_table()

    assert chain(desk.table.snapshot) == [LUNA, FLASH]
    with pytest.raises(OverrideNotFoundError):
        await desk.overrides.revert_override(made.override.id, "bob")


async def test_who_looked_before_a_decision_does_not_have_the_last_word_after_it() -> None:
    desk = Desk()
    looks, goes_on = asyncio.Event(), asyncio.Event()
    holding = desk.store.list_active

    async def slow(now: datetime) -> Sequence[Override]:
        found = await holding(now)
        if not looks.is_set():
            looks.set()
            await goes_on.wait()
        return found

    desk.store.list_active = slow  # type: ignore[method-assign]
    before = asyncio.create_task(desk.overrides.apply_to_table())
    await looks.wait()
    await desk.decide("greet", SOL)
    after = asyncio.create_task(desk.overrides.apply_to_table())
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(before, after)

    assert chain(desk.table.snapshot) == [SOL]


async def test_while_nobody_can_tell_what_holds_the_end_still_comes() -> None:
    desk = Desk()
    await desk.decide("greet", SOL)
    await desk.overrides.apply_to_table()

    desk.store.is_away = True
    with pytest.raises(ConnectionError):
        await desk.overrides.apply_to_table()
    held = chain(desk.table.snapshot)
    desk.now = NOON + timedelta(hours=2)
    with pytest.raises(ConnectionError):
        await desk.overrides.apply_to_table()

    assert (held, chain(desk.table.snapshot)) == ([SOL], [LUNA, FLASH])


@pytest.mark.parametrize(
    ("subject", "links", "told"),
    [
        ("gret", [SOL], "Did you mean 'greet'?"),
        ("greet", ["opnai:gpt-6-luna"], "Did you mean 'openai'?"),
        ("openai:gpt-6-lunar", [], "Did you mean 'openai:gpt-6-luna'"),
        ("greet", ["openai:gpt-6-luna", "nonsense"], "an endpoint is written provider:model"),
    ],
)
async def test_what_the_table_does_not_know_is_refused_with_the_nearest(
    subject: str, links: list[str], told: str
) -> None:
    assert told in await Desk().refused(subject, *links)


async def test_an_endpoint_that_cannot_do_what_the_feature_needs_is_refused() -> None:
    tools = '\n[models."gemini:plain"]\ntools = false'
    text = TABLE + tools + '\n[features.part]\nshadow = { "gemini:plain" = 1 }'

    assert "gemini:plain" in await Desk(text).refused("tell", "gemini:plain")


async def test_an_endpoint_for_which_the_house_has_no_key_is_refused() -> None:
    assert "GEMINI_API_KEY is not set" in await Desk(GEMINI_API_KEY="").refused("greet", FLASH)


async def test_without_any_key_of_the_house_it_is_for_users_and_their_keys() -> None:
    desk = Desk(GEMINI_API_KEY="", OPENAI_API_KEY="")

    assert (await desk.decide("greet", FLASH)).unserved == ()


async def test_what_the_environment_stands_above_is_refused() -> None:
    assert "the environment" in await Desk(LLM_FEATURE_GREET=LUNA).refused("greet", SOL)


async def test_it_is_said_which_features_nobody_serves_any_more() -> None:
    assert (await Desk().decide(LUNA)).unserved == ("part",)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reason": " "}, "reason: must be 1 to 300"),
        ({"reason": "x" * 301}, "reason: must be 1 to 300"),
        ({"reason": "one\ntwo"}, "on one line"),
        ({"reason": "it was sk-canary-0123456789abcdef"}, "looks like a key"),
        ({"until": NOON}, "until: must be in the future"),
        ({"until": NOON + timedelta(days=91)}, "90 days at most"),
    ],
)
async def test_a_reason_and_an_end_are_needed(changes: dict[str, Any], told: str) -> None:
    found = await Desk().refused("greet", SOL, **changes)

    assert told in found
    assert "canary" not in found


async def test_every_problem_is_told_at_once() -> None:
    found = await Desk().refused("gret", SOL, reason="", until=NOON)

    assert len(found.splitlines()) == 3
