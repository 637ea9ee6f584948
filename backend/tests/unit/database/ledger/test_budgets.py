"""Budgets that processes share, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend.database.budgets import SqlBudgets
from backend.database.engine import make_counting_engine
from backend.database.postgres import make_counting_engine as make_postgres_counting_engine
from backend.tests.contract.budget_store import BudgetStoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture
def counting(engine: AsyncEngine) -> Iterator[Engine]:
    """An engine for counters, on the database of the test."""
    url = engine.url
    if engine.dialect.name == "sqlite":
        made = make_counting_engine(Path(str(url.database)))
    else:
        made = make_postgres_counting_engine(url.render_as_string(hide_password=False))
    yield made
    made.dispose()


@pytest.fixture
def store(counting: Engine) -> Iterator[SqlBudgets]:
    made = SqlBudgets(counting)
    yield made
    made.close()


class TestSqlBudgets(BudgetStoreContract):
    pass
