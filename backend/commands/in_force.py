"""Builds the table and the `Patchbay` of a command, the same that a server on this machine would have in force."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands import completion
from backend.commands.terminal import database, err, errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backend.database.budgets import SqlBudgets
    from backend.local_model import LocalModel
    from backend.settings import Settings
    from backend.utils.llm import Patchbay, Table
    from backend.utils.llm.model_config import Override
    from backend.utils.llm.state.budget_store import BudgetStore

FeatureName = Annotated[
    str,
    typer.Argument(help="A feature of the table, such as conv_folder.", autocompletion=completion.features),
]


def table_in_force(*, as_json: bool) -> Table:
    """Load the table, with environment variables and stored overrides applied. If it does not load, the command ends."""
    from backend.settings import environment
    from backend.utils.llm import Table

    with errors(as_json=as_json):
        return Table(environ=environment(), overrides=stored_overrides)


def patchbay_of(
    table: Table, *, local_model: LocalModel | None = None, budgets: BudgetStore | None = None
) -> Patchbay:
    """Make a `Patchbay` on ``table`` for one command.

    Selectors that an application registers in code are not known here, so they keep the order of the table.

    Args:
        table: The table of features.
        local_model: The embedded model, for rows that use it; None without one.
        budgets: The counters that calls are charged to; None for the default of `Patchbay`.
    """
    from backend.utils.llm import Patchbay, in_order

    live = {"local": local_model} if local_model else None
    # The application's own selectors are not here: what they choose from is taken as it is written.
    selectors = dict.fromkeys(table.snapshot.selectors, in_order)
    return Patchbay(table, live=live, selectors=selectors, budgets=budgets)


@contextmanager
def counters(table: Table) -> Iterator[SqlBudgets | None]:
    """Open the budget counters that a command's calls are charged to; yields None if ``table`` has no budgets."""
    from backend.settings import Settings

    if not table.snapshot.budgets:
        yield None
        return
    with closing(asyncio.run(_open_counters(Settings()))) as store:
        yield store


async def _open_counters(settings: Settings) -> SqlBudgets:
    from backend.database.budgets import open_counters

    async with database(settings):
        return open_counters(settings.database_path, settings.database_url)


def stored_overrides() -> Sequence[Override]:
    """The stored overrides that hold; none if the database is missing or cannot be read."""
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

    async with database(settings) as sessions:
        return await SqlOverrideStore(sessions).holding(datetime.now(UTC))
