"""``budget``: shows the balances of budgets, and raises or resets counters."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from backend.commands import completion
from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    Json,
    check_printable_name,
    current_os_user,
    exit_on_storage_errors,
    open_audited_sessions,
    out,
    print_json,
    read_settings,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from backend.budgets import BudgetCounterName, BudgetManager
    from backend.settings import Settings
    from backend.utils.llm.budgets import BudgetBalance

app = make_command_app(
    no_args_is_help=True, help="What each user, tenant, feature and owner of keys may spend."
)
_BAR = 20
T = TypeVar("T")

Name = Annotated[
    str,
    typer.Argument(
        metavar="BUDGET", help="A budget of the table.", autocompletion=completion.complete_budgets
    ),
]
Subject = Annotated[
    str,
    typer.Argument(
        help="Whose counter: a user, TENANT::USER of a tenant; a tenant or feature; of an owner, house or user."
    ),
]
Author = Annotated[str | None, typer.Option(help="Who decides; by default the user of this machine.")]


@app.command("list")
def list_budgets(*, as_json: Json = False) -> None:
    """List the balance of every budget counter for its current day or month, the most used up first."""
    found = _asked(lambda budgets: budgets.list_balances(), as_json=as_json)
    if as_json:
        print_json({"budgets": [balance.as_dict() for balance in found]})
    else:
        out.print(_grid(found))


@app.command("show")
def show_budget_counter(name: Name, subject: Subject, *, as_json: Json = False) -> None:
    """Show the balance of one budget counter."""
    _print(
        _asked(lambda budgets: budgets.read_balance(_wanted(name, subject)), as_json=as_json), as_json=as_json
    )


@app.command("raise")
def raise_budget(
    name: Name,
    subject: Subject,
    amount: Annotated[str, typer.Argument(help="Dollars, such as 2.50, or tokens.")],
    *,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Raise the limit of a budget counter by AMOUNT.

    The new limit ends with the counter's current day or month. It stays if the budget has no periods.
    """
    by = _author(author)
    found = _asked(lambda budgets: budgets.raise_limit(_wanted(name, subject), amount, by), as_json=as_json)
    _print(found, as_json=as_json)


@app.command("reset")
def reset_budget_spending(
    name: Name, subject: Subject, *, author: Author = None, as_json: Json = False
) -> None:
    """Set the spending of a budget counter to zero, for its current day or month, or in total if it has no periods."""
    by = _author(author)
    _print(
        _asked(lambda budgets: budgets.reset_spending(_wanted(name, subject), by), as_json=as_json),
        as_json=as_json,
    )


def _author(given: str | None) -> str:
    return current_os_user() if given is None else check_printable_name(given)


def _wanted(name: str, subject: str) -> BudgetCounterName:
    from backend.budgets import BudgetCounterName

    return BudgetCounterName(name, subject)


def _asked(ask: Callable[[BudgetManager], Awaitable[T]], *, as_json: bool) -> T:
    async def asked() -> T:
        async with _opened(read_settings()) as budgets:
            return await ask(budgets)

    with exit_on_storage_errors(as_json=as_json):
        return asyncio.run(asked())


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[BudgetManager]:
    from backend.budgets import BudgetManager
    from backend.database.audit import commit_audit_event
    from backend.database.budgets import make_budget_store
    from backend.settings import read_environment
    from backend.utils.llm import Table

    async with open_audited_sessions(settings) as sessions:
        with closing(make_budget_store(settings.database_path, settings.database_url)) as store:
            yield BudgetManager(
                store, Table(environ=read_environment()), partial(commit_audit_event, sessions)
            )


def _print(balance: BudgetBalance, *, as_json: bool) -> None:
    if as_json:
        print_json(balance.as_dict())
    else:
        out.print(str(balance), markup=False)


def _grid(balances: Sequence[BudgetBalance]) -> TextTable:
    return TextTable(
        ("budget", "of", "used", "", "left", "of", "anew"), [_row(balance) for balance in balances]
    )


def _row(one: BudgetBalance) -> Sequence[str]:
    name, window, counter, resets_at = one
    used = counter.used_share(name.cap)
    full = min(_BAR, round(used * _BAR))
    bar = "█" * full + "·" * (_BAR - full)
    left, cap = name.format_amount(counter.remaining(name.cap)), name.format_amount(name.cap + counter.raised)
    anew = "never" if resets_at is None else f"{resets_at:%Y-%m-%d}"
    return name.name, f"{name.per} {window.subject}", f"{used:.0%}", bar, left, cap, anew
