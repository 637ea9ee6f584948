"""Old rows go and sums stay; costs are reckoned anew; every row can be had."""

from __future__ import annotations

import secrets
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, inspect, select

from backend.agents.budget import RunBudget
from backend.agents.confirmations import Confirmation
from backend.agents.runs import Run, RunOutcome
from backend.agents.steps import OpeningStep
from backend.database import retention
from backend.database.confirmations import SqlConfirmationStore
from backend.database.export import export_ledger_rows
from backend.database.ledger import make_ledger_store
from backend.database.ledger_tables import ATTEMPTS, COLUMNS, ROLLUPS, first_id
from backend.database.recompute import recompute_costs
from backend.database.retention import RetentionDays, create_coming_partitions, prune_ledger
from backend.database.runs import SqlRunStore
from backend.database.usage import SqlUsageStore
from backend.ledger.prices import PriceFile
from backend.ledger.usage import PrunedCounts, UsagePeriod
from backend.tests.fakes.agents import ANN
from backend.tests.fakes.records import DAY, NOON, record, spooled

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.agents.confirmations import State
    from backend.database.transactions import TransactionRunner

TODAY = date(2026, 11, 29)
MONTH = UsagePeriod.last_days(30, TODAY)
LUNA: dict[str, Any] = {"openai:gpt-6-luna": {"input": "0.25", "output": 2, "cache_read": "0.025"}}


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(ATTEMPTS)) or 0)


async def begun(
    runs: SqlRunStore,
    began: int,
    outcome: RunOutcome | None,
    *,
    at: int | None = None,
    parent: str | None = None,
) -> str:
    """A run that was last gone on with when it began, or at ``at``. Without an outcome its process has ended."""
    run_id = f"{parent}.1.0" if parent else f"{first_id(began)}-{secrets.token_hex(8)}"
    run = Run(run_id, "clerk", ANN, "Hello.", RunBudget(), began, parent=parent, updated_at=began)
    await runs.add_run(run, OpeningStep(messages=()))
    await runs.acquire_lease(run, "somebody", began + 1, began)
    if outcome is not None:
        await runs.release_lease(run, "somebody", outcome, at or began)
    return run_id


def confirmation(run_id: str, state: State) -> Confirmation:
    facts = {"tenant_id": ANN.tenant_id, "user_id": ANN.user_id, "agent": "clerk", "call": "1.0", "number": 0}
    told = {"tool": "t", "title": "t", "risk": "write", "definition": "", "terms": "", "arguments": "{}"}
    times = {"asked_at": NOON, "expires_at": NOON}
    made: dict[str, Any] = {**facts, **told, **times, "digest": "", "id": secrets.token_hex(8)}
    return Confirmation(run=run_id, state=state, **made)


async def costs(engine: AsyncEngine) -> dict[int, Any]:
    async with engine.connect() as connection:
        found = await connection.execute(
            select(ATTEMPTS.c.sequence, ATTEMPTS.c.cost, ATTEMPTS.c.price_version)
        )
        return {row.sequence: (row.cost, row.price_version) for row in found}


async def recomputed(engine: AsyncEngine, prices: dict[str, Any] = LUNA) -> int:
    listed = PriceFile.model_validate({"version": "2026-12", "prices": prices})
    return await recompute_costs(engine, MONTH, listed.to_token_rates(), listed.version)


class TestRetention:
    async def test_rows_of_old_days_go_whenever_they_came(
        self, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "CHUNK", 3)
        monkeypatch.setattr(retention, "PAUSE", 0)
        ages = [0, 9, 1, 2, 3, 9, 0, 9, 4, 0]
        await make_ledger_store(engine).add(spooled(record(at=NOON - age * DAY) for age in ages))

        assert await prune_ledger(engine, date(2026, 11, 26)) == PrunedCounts(rows=4, sums=0)

        assert await count(engine) == 6
        assert (await prune_ledger(engine, date(2026, 11, 26))).rows == 0

    async def test_a_day_is_kept_whole(self, engine: AsyncEngine) -> None:
        midnight = NOON - DAY // 2
        await make_ledger_store(engine).add(spooled([record(at=midnight - 1), record(at=midnight)]))

        assert (await prune_ledger(engine, TODAY)).rows == 1

    async def test_what_was_used_is_told_when_its_rows_are_gone(self, engine: AsyncEngine) -> None:
        await make_ledger_store(engine).add(spooled([record(at=NOON - 9 * DAY), record()]))
        before = await SqlUsageStore(engine).sum_total(MONTH)

        await prune_ledger(engine, TODAY)

        assert await SqlUsageStore(engine).sum_total(MONTH) == before

    async def test_sums_go_if_they_are_to(self, engine: AsyncEngine) -> None:
        await make_ledger_store(engine).add(spooled([record(at=NOON - 9 * DAY), record()]))

        assert await prune_ledger(engine, TODAY, TODAY) == PrunedCounts(rows=1, sums=len(ROLLUPS))

        assert (await SqlUsageStore(engine).sum_total(MONTH)).attempts == 1
        assert len(await SqlUsageStore(engine).sum_by_dimension("hour", MONTH)) == 1

    async def test_sums_stay_as_long_as_their_rows(self, engine: AsyncEngine) -> None:
        await make_ledger_store(engine).add(spooled([record(at=NOON - 9 * DAY)]))

        assert await prune_ledger(engine, date(2026, 11, 1), TODAY) == PrunedCounts(rows=0, sums=0)

    async def test_a_row_that_comes_after_its_day_was_pruned_is_taken(self, engine: AsyncEngine) -> None:
        store = make_ledger_store(engine)
        await store.add(spooled([record(at=NOON - 9 * DAY)]))
        await prune_ledger(engine, TODAY)

        assert await store.add(spooled([record(at=NOON - 9 * DAY)], first=2)) == 1

    async def test_a_server_keeps_so_many_days_and_no_more(self, engine: AsyncEngine) -> None:
        await make_ledger_store(engine).add(spooled(record(at=NOON - age * DAY) for age in range(5)))

        await retention._keep(engine, RetentionDays(rows=2), lambda: TODAY)
        assert await count(engine) == 3
        await retention._keep(engine, RetentionDays(), lambda: TODAY)
        assert await count(engine) == 3

        assert len(await SqlUsageStore(engine).sum_by_dimension("day", MONTH)) == 5
        await retention._keep(engine, RetentionDays(rows=2, sums=3), lambda: TODAY)
        assert len(await SqlUsageStore(engine).sum_by_dimension("day", MONTH)) == 4

    async def test_runs_of_agents_go_too_unless_something_of_them_is_open(
        self, engine: AsyncEngine, transacting: TransactionRunner
    ) -> None:
        runs, asked = SqlRunStore(transacting), SqlConfirmationStore(transacting)
        old, new = NOON - 9 * DAY, NOON
        ids = {
            "done": await begun(runs, old, RunOutcome("done")),
            "failed": await begun(runs, old, RunOutcome("failed")),
            "left": await begun(runs, old, None),
            "waits": await begun(runs, old, RunOutcome("awaiting")),
            "unknown": await begun(runs, old, RunOutcome("done")),
            "resumed": await begun(runs, old, RunOutcome("done"), at=new),
            "new": await begun(runs, new, RunOutcome("done")),
        }
        inner = await begun(runs, old, RunOutcome("done"), parent=ids["done"])
        of: list[tuple[str, State]] = [
            (inner, "done"),
            (f"{ids['unknown']}.1.0", "unknown"),
            (ids["new"], "done"),
        ]
        for run_id, state in of:
            await asked.add(confirmation(run_id, state))

        assert (await prune_ledger(engine, TODAY, actor="ann")).runs == 3
        assert (await prune_ledger(engine, TODAY)).runs == 0

        left = {run.id for run in await runs.list_recent_runs(ANN, 99)}
        assert left == {ids[name] for name in ("waits", "unknown", "resumed", "new")}
        assert (
            await runs.get(ANN, inner),
            await runs.list_steps(inner),
            await asked.list_for_run(inner),
        ) == (
            None,
            [],
            [],
        )
        assert len(await asked.list_for_run(ids["new"])) == 1
        assert len(await asked.list_open(ANN, 9)) == 1

    async def test_days_have_a_partition_before_they_begin(self, engine: AsyncEngine) -> None:
        await create_coming_partitions(engine, TODAY)
        await create_coming_partitions(engine, TODAY)

        async with engine.connect() as connection:
            names = await connection.run_sync(partitions)
        days = ["20261129", "20261130", "20261201"]
        expected = {f"ledger_attempts_{day}" for day in days}
        assert names == (expected if engine.dialect.name == "postgresql" else set())


def partitions(connection: Connection) -> set[str]:
    return {name for name in inspect(connection).get_table_names() if name.startswith("ledger_attempts_")}


class TestRecompute:
    async def test_costs_of_an_endpoint_are_reckoned_anew(self, engine: AsyncEngine) -> None:
        await make_ledger_store(engine).add(
            spooled(
                [record(), record(cost=None), record(cached=None, cache_write=None), record(endpoint="a:b")]
            )
        )

        assert await recomputed(engine) == 3

        luna = (800 * 250_000 + 200 * 25_000 + 50 * 2_000_000, "2026-12")
        fresh = (1_000 * 250_000 + 50 * 2_000_000, "2026-12")
        assert await costs(engine) == {1: luna, 2: luna, 3: fresh, 4: (450_000_000, "2026-11")}
        assert await recomputed(engine) == 0

    async def test_sums_follow(self, engine: AsyncEngine) -> None:
        rows = spooled([record(), record(cost=None), record(feature="chat", at=NOON - DAY, user=None)])
        await make_ledger_store(engine).add(rows)

        await recomputed(engine)

        store = SqlUsageStore(engine)
        for by in ("feature", "tenant", "user", "hour"):
            used = await store.sum_by_dimension(by, MONTH)
            assert sum(each.total.cost for each in used) == 3 * 305_000_000
            assert sum(each.total.unpriced for each in used) == 0
            assert sum(each.total.attempts for each in used) == 3

    @pytest.mark.parametrize(
        "fields", [{"input": None}, {"output": None}, {"cached": 2_000}, {"at": NOON - 60 * DAY}]
    )
    async def test_what_cannot_be_reckoned_or_is_not_meant_stays(
        self, engine: AsyncEngine, fields: dict[str, Any]
    ) -> None:
        await make_ledger_store(engine).add(spooled([record(cost=7, **fields)]))

        assert await recomputed(engine) == 0
        assert await costs(engine) == {1: (7, "2026-11")}

    async def test_sums_of_rows_that_are_gone_stay(self, engine: AsyncEngine) -> None:
        await make_ledger_store(engine).add(spooled([record(at=NOON - 9 * DAY), record()]))
        await prune_ledger(engine, TODAY)

        await recomputed(engine)

        assert (await SqlUsageStore(engine).sum_total(MONTH)).cost == 450_000_000 + 305_000_000

    async def test_costs_are_as_the_facade_reckons_them(self, engine: AsyncEngine) -> None:
        prices = {
            "openai:gpt-6-luna": {"input": "1.1", "output": "3.3", "cache_read": "0.3", "cache_write": "2.5"}
        }
        await make_ledger_store(engine).add(spooled([record(cache_write=100)]))

        await recomputed(engine, prices)

        dollars = (
            700 * Decimal("1.1") + 50 * Decimal("3.3") + 200 * Decimal("0.3") + 100 * Decimal("2.5")
        ) / 10**6
        assert await costs(engine) == {1: (int(dollars * 10**12), "2026-12")}


async def test_every_row_of_the_period_is_exported_once(engine: AsyncEngine) -> None:
    rows = spooled(record(at=NOON - age % 3 * DAY) for age in range(30))
    await make_ledger_store(engine).add(rows)

    batches = [batch async for batch in export_ledger_rows(engine, UsagePeriod.last_days(2, TODAY))]

    found = sorted(row for batch in batches for row in batch)
    assert found == [
        (row.writer, row.sequence, *row.record) for row in rows if row.record.at > NOON - 2 * DAY
    ]
    assert len(found[0]) == len(COLUMNS)
