"""``budget``: the balances of budgets; raises or resets a counter."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from backend.commands import completion
from backend.commands.groups import commands
from backend.commands.terminal import (
    Json,
    deciding,
    operator,
    out,
    print_json,
    printable,
    read_settings,
    storage_errors,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from backend.budgets import Budgets, CounterName
    from backend.settings import Settings
    from backend.utils.llm.budgets import Balance

app = commands(no_args_is_help=True, help="What each user, tenant, feature and owner of keys may spend.")
_BAR = 20
T = TypeVar("T")

Name = Annotated[
    str, typer.Argument(metavar="BUDGET", help="A budget of the table.", autocompletion=completion.budgets)
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
    """The balance of every counter of the current day or month, the fullest first."""
    found = _asked(lambda budgets: budgets.all(), as_json=as_json)
    if as_json:
        print_json({"budgets": [one.as_dict() for one in found]})
    else:
        out.print(_grid(found))


@app.command()
def show(name: Name, subject: Subject, *, as_json: Json = False) -> None:
    """The balance of one counter."""
    _print(_asked(lambda budgets: budgets.one(_wanted(name, subject)), as_json=as_json), as_json=as_json)


@app.command("raise")
def raise_budget(
    name: Name,
    subject: Subject,
    amount: Annotated[str, typer.Argument(help="Dollars, such as 2.50, or tokens.")],
    *,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Raise a counter's limit by AMOUNT for its current day or month, or its total; a new period starts without."""
    by = _author(author)
    found = _asked(lambda budgets: budgets.raise_by(_wanted(name, subject), amount, by), as_json=as_json)
    _print(found, as_json=as_json)


@app.command()
def reset(name: Name, subject: Subject, *, author: Author = None, as_json: Json = False) -> None:
    """Set a counter's spending in its current day or month, or in total, to zero."""
    by = _author(author)
    _print(
        _asked(lambda budgets: budgets.reset(_wanted(name, subject), by), as_json=as_json), as_json=as_json
    )


def _author(given: str | None) -> str:
    return operator() if given is None else printable(given)


def _wanted(name: str, subject: str) -> CounterName:
    from backend.budgets import CounterName

    return CounterName(name, subject)


def _asked(ask: Callable[[Budgets], Awaitable[T]], *, as_json: bool) -> T:
    async def asked() -> T:
        async with _opened(read_settings()) as budgets:
            return await ask(budgets)

    with storage_errors(as_json=as_json):
        return asyncio.run(asked())


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Budgets]:
    from backend.budgets import Budgets
    from backend.database.audit import record_alone
    from backend.database.budgets import open_counters
    from backend.settings import environment
    from backend.utils.llm import Table

    async with deciding(settings) as sessions:
        with closing(open_counters(settings.database_path, settings.database_url)) as store:
            yield Budgets(store, Table(environ=environment()), partial(record_alone, sessions))


def _print(balance: Balance, *, as_json: bool) -> None:
    if as_json:
        print_json(balance.as_dict())
    else:
        out.print(str(balance), markup=False)


def _grid(balances: Sequence[Balance]) -> TextTable:
    return TextTable(("budget", "of", "used", "", "left", "of", "anew"), [_row(one) for one in balances])


def _row(one: Balance) -> Sequence[str]:
    name, window, counter, resets_at = one
    used = counter.used(name.cap)
    full = min(_BAR, round(used * _BAR))
    bar = "█" * full + "·" * (_BAR - full)
    left, cap = name.shown(counter.left(name.cap)), name.shown(name.cap + counter.raised)
    anew = "never" if resets_at is None else f"{resets_at:%Y-%m-%d}"
    return name.name, f"{name.per} {window.subject}", f"{used:.0%}", bar, left, cap, anew
