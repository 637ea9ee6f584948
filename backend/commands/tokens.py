"""``tokens``: access tokens, and the sessions of browsers."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.groups import commands
from backend.commands.terminal import (
    SHORT,
    Json,
    database,
    deciding,
    err,
    fail,
    operator,
    out,
    print_json,
    printable,
    read_settings,
    storage_errors,
)
from backend.printing import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backend.database.sessions import LoginSession
    from backend.database.tokens import AccessToken
    from backend.settings import Settings

app = commands("Access tokens, and the sessions of browsers.", no_args_is_help=True)


@app.command("list")
def list_tokens(*, as_json: Json = False) -> None:
    """Every access token that was given out, and every browser that is logged in. Shows no secret."""
    with storage_errors(as_json=as_json):
        given, open_ones = asyncio.run(_listed(read_settings()))
    if as_json:
        print_json(
            {
                "tokens": [_shown(asdict(token)) for token in given],
                "sessions": [_shown(asdict(session)) for session in open_ones],
            }
        )
        return
    out.print(_grid("token", ("name", "user_id", "created_at", "last_used_at", "revoked_at"), given))
    out.print(_grid("session", ("user_id", "created_at", "last_used_at", "token_id"), open_ones))


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="What it is for, such as ci.", callback=printable)],
    *,
    user: Annotated[str, typer.Option(help="Whose it is.", callback=printable)] = "admin",
    as_json: Json = False,
) -> None:
    """Make an access token and print it, this once."""
    with storage_errors(as_json=as_json):
        made, plain = asyncio.run(_made(read_settings(), user, name))
    if as_json:
        print_json({**_shown(asdict(made)), "token": plain})
    else:
        sys.stdout.write(f"{plain}\n")
        err.print(
            f"It is {user}'s, and shown only now. To end it: tokens revoke {made.id[:SHORT]}", markup=False
        )


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id as `list` shows it, or the head of it.")],
    *,
    as_json: Json = False,
) -> None:
    """End a token, with every session that was opened with it, or a session. Running servers refuse it at once.

    One that was revoked before stays so, and the exit status is 0; it is 1 if there is none, or more than one.
    """
    with storage_errors(as_json=as_json):
        found = asyncio.run(_revoked(read_settings(), which))
    if len(found) == 1:
        print_json({"revoked": found[0]}) if as_json else out.print(f"{found[0]} is revoked.", markup=False)
        return
    # What was given is not repeated: it may be the token itself.
    message = (
        "More than one has an id that begins so."
        if found
        else "No token or session has an id that begins so."
    )
    fail(
        ValueError(message),
        {"code": "ambiguous" if found else "not_found", "message": message},
        as_json=as_json,
    )


async def _listed(settings: Settings) -> tuple[Sequence[AccessToken], Sequence[LoginSession]]:
    from backend.database.sessions import SessionStore
    from backend.database.tokens import TokenStore

    async with database(settings) as sessions:
        return await TokenStore(sessions).all(), await SessionStore(sessions).all()


async def _made(settings: Settings, user: str, name: str) -> tuple[AccessToken, str]:
    from backend.database.tokens import TokenStore

    async with deciding(settings) as sessions:
        return await TokenStore(sessions).make(user, name, by=operator())


async def _revoked(settings: Settings, which: str) -> Sequence[str]:
    """The ids that begin with ``which``. If there is one alone, it is revoked."""
    from backend.database.sessions import SessionStore
    from backend.database.tokens import TokenStore

    async with deciding(settings) as sessions:
        stores = TokenStore(sessions), SessionStore(sessions)
        found = [
            (owner.id, store)
            for store in stores
            for owner in await store.all()
            if which and owner.id.startswith(which)
        ]
        if len(found) == 1:
            await found[0][1].revoke(found[0][0], by=operator())
        return [name for name, _ in found]


def _grid(kind: str, columns: Sequence[str], rows: Iterable[AccessToken | LoginSession]) -> Rows:
    heads = (column.removesuffix("_id").removesuffix("_at").replace("_", " ") for column in columns)
    cells = [(row.id[:SHORT], *_cells(columns, row)) for row in rows]
    return Rows((kind, *heads), cells)


def _cells(columns: Sequence[str], row: AccessToken | LoginSession) -> Iterable[str]:
    shown = _shown(asdict(row))
    return (_cell(column, shown[column]) for column in columns)


def _cell(column: str, value: str | None) -> str:
    return "-" if value is None else value[:SHORT] if column == "token_id" else value


def _shown(row: dict[str, Any]) -> dict[str, str | None]:
    """Moments to the minute, in UTC."""
    return {
        name: value.strftime("%Y-%m-%dT%H:%MZ") if isinstance(value, datetime) else value
        for name, value in row.items()
    }
