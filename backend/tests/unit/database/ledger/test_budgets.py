"""Budgets that processes share, on both databases."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from backend.database import budgets
from backend.database.budgets import SqlBudgetStore
from backend.database.engine import make_sqlite_budget_engine
from backend.database.postgres import make_postgres_budget_engine as make_postgres_counting_engine
from backend.tests.contract.budget_store import AFTERWARDS, BudgetStoreContract
from backend.tests.fakes.budgets import charge, reservation, window
from backend.tests.fakes.children import fork
from backend.tests.unit.llm.drivers import DRIVERS
from backend.utils.llm import Caller
from backend.utils.llm.budgets import BudgetCounter
from backend.utils.llm.state.budget_store import BudgetShortage, BudgetStoreUnreachableError
from backend.utils.llm.testing import Text, Usage
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.utils.llm.testing import LoopbackProvider


@pytest.fixture
def counting(engine: AsyncEngine) -> Iterator[Engine]:
    """An engine for counters, on the database of the test."""
    url = engine.url
    if engine.dialect.name == "sqlite":
        made = make_sqlite_budget_engine(Path(str(url.database)))
    else:
        made = make_postgres_counting_engine(url.render_as_string(hide_password=False))
    yield made
    made.dispose()


@pytest.fixture
def store(counting: Engine) -> Iterator[SqlBudgetStore]:
    made = SqlBudgetStore(counting)
    yield made
    made.close()


class TestSqlBudgets(BudgetStoreContract):
    pass


def asked(store: SqlBudgetStore, times: int, ceiling: int) -> int:
    """How many of ``times`` requests of one unit went out."""
    went = 0
    for _ in range(times):
        found = store.reserve(held := reservation(charge(window(), 1, ceiling)))
        if not isinstance(found, BudgetShortage):
            store.settle(held, [1])
            went += 1
    store.close()
    return went


def test_several_processes_get_all_there_is_and_no_more(store: SqlBudgetStore) -> None:
    children = [fork(lambda: asked(store, 100, 151)) for _ in range(2)]

    assert sum(child.result() for child in children) == 151
    assert store.known() == {window(): BudgetCounter(spent=151)}


@pytest.mark.parametrize(("seconds", "reserved"), [(3600.0, 150), (AFTERWARDS, 50)])
def test_what_a_process_that_was_killed_has_set_aside_is_free_once_its_lease_is_over(
    store: SqlBudgetStore, seconds: float, reserved: int
) -> None:
    def die() -> None:
        store.reserve(reservation(charge(window(), 100), seconds=seconds))
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork(die)
    assert os.waitpid(child.pid, 0)[1] == signal.SIGKILL
    os.close(child.told)
    assert store.counters([window()]) == {window(): BudgetCounter(reserved=100)}

    store.reserve(reservation(charge(window(), 50, 149 if reserved == 50 else 150)))

    assert store.counters([window()]) == {window(): BudgetCounter(reserved=reserved)}


def test_what_is_still_to_be_settled_is_written_at_the_end(counting: Engine, store: SqlBudgetStore) -> None:
    store.reserve(held := reservation(charge(window(), 60)))
    store.settle(held, [7])
    store.close()

    assert SqlBudgetStore(counting).known() == {window(): BudgetCounter(spent=7)}


def test_counters_of_long_ago_can_be_dropped(store: SqlBudgetStore) -> None:
    old, under_way, now, total = (window(begins=literal) for literal in ("2026-09", "2026-10", "2026-11", ""))
    for one in (old, under_way, now, total):
        store.raise_by(one, 5)
    store.reserve(reservation(charge(under_way, 1)))

    assert store.delete_counters_before("2026-11") == 1
    assert set(store.known()) == {under_way, now, total}


# A database that is away ---------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_away_and_is_not_asked_again_at_once() -> None:
    engine = make_postgres_counting_engine("postgresql://nobody@/nothing?host=/nowhere")
    asked: list[object] = []
    event.listen(engine, "do_connect", lambda *_: asked.append(_))
    store = SqlBudgetStore(engine)

    for _ in range(3):
        with pytest.raises(BudgetStoreUnreachableError):
            store.reserve(reservation(charge(window(), 1)))
    assert len(asked) == 1


def test_what_is_settled_meanwhile_is_counted_once_it_is_back(
    with_tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "REST_SECONDS", 0.0)
    file = Path(shutil.copy(with_tables, tmp_path))
    store = SqlBudgetStore(engine := make_sqlite_budget_engine(file))
    store.reserve(held := reservation(charge(window(), 60)))
    elsewhere = file.rename(tmp_path / "elsewhere")

    store.settle(held, [7])
    with pytest.raises(BudgetStoreUnreachableError):
        store.counters([window()])
    elsewhere.rename(file)

    assert store.counters([window()]) == {window(): BudgetCounter(spent=7)}
    store.close()
    engine.dispose()


# With the facade -----------------------------------------------------------------------------------------------------


def test_calls_are_counted_in_the_database_whoever_calls(
    store: SqlBudgetStore, provider: LoopbackProvider
) -> None:
    more = (
        "[features.f]\noptions = { max_output_tokens = 20 }\n"
        '[budgets.users]\nper = "user"\ntokens = 100\nperiod = "total"\n'
    )
    patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, more, budgets=store)
    provider.always(Text("ok", usage=Usage(input_tokens=3, output_tokens=4)))
    with closing(patchbay):
        model = patchbay.get_llm("f", caller=Caller(user_id="ann", key_policy="house_only"))
        for call in DRIVERS:
            call(model, "hi")

        assert store.known() == {window(begins=""): BudgetCounter(spent=28)}
