"""Loads the table for a command, and makes its `Patchbay`, with the same settings as a server on this machine."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands import completion
from backend.commands.terminal import err, exit_on_errors, open_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backend.database.budgets import SqlBudgetStore
    from backend.local_model import LocalModel
    from backend.settings import Settings
    from backend.utils.llm import Patchbay, Table
    from backend.utils.llm.model_config import Override
    from backend.utils.llm.state.budget_store import BudgetStore

FeatureName = Annotated[
    str,
    typer.Argument(
        help="A feature of the table, such as conv_folder.", autocompletion=completion.complete_features
    ),
]


def load_current_table(*, as_json: bool) -> Table:
    """Load the table, with environment variables and stored overrides applied.

    If the table does not load, the command prints why and ends.
    """
    from backend.settings import read_environment
    from backend.utils.llm import Table

    with exit_on_errors(as_json=as_json):
        return Table(environ=read_environment(), overrides=load_stored_overrides)


def make_patchbay(
    table: Table, *, local_model: LocalModel | None = None, budgets: BudgetStore | None = None
) -> Patchbay:
    """Make the `Patchbay` with which a command makes calls.

    Selectors that an application registers in code are unknown here, so endpoints are tried in the table's order.

    Args:
        table: The table of features.
        local_model: The embedded model, for endpoints that run on it; None without an embedded model.
        budgets: The store of the budget counters that calls are charged to; None for the default of
            `Patchbay`.
    """
    from backend.utils.llm import Patchbay, in_order

    live = {"local": local_model} if local_model else None
    # The application's own selectors are not here: what they choose from is taken as it is written.
    selectors = dict.fromkeys(table.snapshot.custom_selector_paths, in_order)
    return Patchbay(table, live=live, selectors=selectors, budgets=budgets)


@contextmanager
def open_budget_counters(table: Table) -> Iterator[SqlBudgetStore | None]:
    """Open the store of the budget counters that a command's calls are charged to.

    Yields None if ``table`` has no budgets.
    """
    from backend.settings import Settings

    if not table.snapshot.budgets:
        yield None
        return
    with closing(asyncio.run(_open_counters(Settings()))) as store:
        yield store


async def _open_counters(settings: Settings) -> SqlBudgetStore:
    from backend.database.budgets import make_budget_store

    async with open_sessions(settings):
        return make_budget_store(settings.database_path, settings.database_url)


def load_stored_overrides() -> Sequence[Override]:
    """Load the overrides in the database that have not ended. Empty if the database is missing or cannot be read."""
    from sqlalchemy.exc import DBAPIError

    from backend.database.engine import UnusableDatabaseError
    from backend.settings import Settings

    settings = Settings()
    may_have_any = settings.database_url is not None or settings.database_path.exists()
    try:
        return asyncio.run(_holding(settings)) if may_have_any else ()
    except (UnusableDatabaseError, DBAPIError) as error:
        fault = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        err.print(f"Stored overrides are not shown: {fault}", markup=False)
        return ()


async def _holding(settings: Settings) -> Sequence[Override]:
    from backend.database.overrides import SqlOverrideStore

    async with open_sessions(settings) as sessions:
        return await SqlOverrideStore(sessions).list_active(datetime.now(UTC))
