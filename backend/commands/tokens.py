"""``tokens``: access tokens, and the sessions of browsers."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    SHORT,
    Json,
    check_printable_name,
    current_os_user,
    err,
    exit_on_storage_errors,
    exit_with_error,
    open_audited_sessions,
    open_sessions,
    out,
    parse_duration,
    print_json,
    read_settings,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from backend.access import AccessToken, AccessTokenBudget, Grant, Scope
    from backend.database.sessions import BrowserSession
    from backend.settings import Settings
    from backend.utils.llm.rate_limits import RateLimit

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        help="What it may do: call, debug or admin. Say it again for a further one. By default call; for the user admin, all."
    ),
]
TOKEN_COLUMNS = (
    *("name", "user_id", "tenant_id", "scopes", "rate", "budget"),
    *("created_at", "last_used_at", "expires_at", "revoked_at"),
)

app = make_command_app("Access tokens, and the sessions of browsers.", no_args_is_help=True)


@app.command("list")
def list_access_tokens(*, as_json: Json = False) -> None:
    """List every access token that was issued, and every browser session that is logged in. Shows no secret."""
    with exit_on_storage_errors(as_json=as_json):
        given, open_ones = asyncio.run(_listed(read_settings()))
    if as_json:
        print_json(
            {
                "tokens": [_shown(token.as_dict()) for token in given],
                "sessions": [_shown(asdict(session)) for session in open_ones],
            }
        )
        return
    facts = [token.as_dict() for token in given]
    out.print(_grid("token", TOKEN_COLUMNS, facts))
    out.print(_grid("session", ("user_id", "created_at", "last_used_at", "token_id"), map(asdict, open_ones)))


@app.command("make")
def make_access_token(  # noqa: PLR0913 - the options
    name: Annotated[str, typer.Argument(help="What it is for, such as ci.", callback=check_printable_name)],
    *,
    user: Annotated[
        str, typer.Option(help="In whose name it acts.", callback=check_printable_name)
    ] = "admin",
    tenant: Annotated[str, typer.Option(help="The tenant whose things alone it sees.")] = "",
    scope: Scopes = None,
    rate: Annotated[str | None, typer.Option(help="How often it may ask, such as 60/minute.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="USD/PERIOD", help="What its calls may cost the house, such as 5/month."),
    ] = None,
    expires: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="TIME", help="For how long it holds, such as 30d."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an access token and print it. It cannot be shown again."""
    grant = _grant(user, tenant, scope, rate, budget, expires)
    with exit_on_storage_errors(as_json=as_json):
        made, plain = asyncio.run(_made(read_settings(), grant, name))
    if as_json:
        print_json({**_shown(made.as_dict()), "token": plain})
    else:
        sys.stdout.write(f"{plain}\n")
        err.print(
            f"It is {user}'s, and shown only now. To end it: tokens revoke {made.id[:SHORT]}", markup=False
        )


@app.command("revoke")
def revoke_access_token(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id as `list` shows it, or the head of it.")],
    *,
    as_json: Json = False,
) -> None:
    """Revoke an access token, with every session opened with it, or revoke a single session.

    Running servers refuse it at once. The exit status is 0 even if it was revoked before, and 1 if ID matches
    no token or session, or several.
    """
    with exit_on_storage_errors(as_json=as_json):
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
    exit_with_error(
        ValueError(message),
        {"code": "ambiguous" if found else "not_found", "message": message},
        as_json=as_json,
    )


def _grant(
    user: str,
    tenant: str,
    scopes: Sequence[str] | None,
    rate: str | None,
    budget: str | None,
    expires: timedelta | None,
) -> Grant:
    from backend.access import Grant, make_default_grant

    try:
        return Grant(
            user_id=user,
            tenant_id=tenant and check_printable_name(tenant),
            scopes=frozenset(map(_scope, scopes)) if scopes else make_default_grant(user).scopes,
            rate=None if rate is None else _rate(rate),
            budget=None if budget is None else _allowance(budget),
            expires_at=None if expires is None else datetime.now(UTC) + expires,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _scope(written: str) -> Scope:
    from backend.access import SCOPES

    for scope in SCOPES:
        if scope == written:
            return scope
    raise ValueError(f"There is no scope {written!r}. Write {', '.join(SCOPES)}.")


def _rate(written: str) -> RateLimit:
    from backend.utils.llm.rate_limits import RateLimit

    try:
        return RateLimit.parse(written)
    except ValueError:
        known = "second, minute, hour, day or month"
        raise ValueError(f"--rate: {written!r} is no rate. Write requests per {known}: 60/minute.") from None


def _allowance(written: str) -> AccessTokenBudget:
    from backend.access import AccessTokenBudget

    usd, _, period = written.strip().lstrip("$").partition("/")
    try:
        return AccessTokenBudget.parse(usd, period)
    except (ValueError, ArithmeticError):
        raise ValueError(
            f"{written!r} is no budget. Write dollars per day, month or total: 5/month."
        ) from None


async def _listed(settings: Settings) -> tuple[Sequence[AccessToken], Sequence[BrowserSession]]:
    from backend.database.sessions import BrowserSessionStore
    from backend.database.tokens import TokenStore

    async with open_sessions(settings) as sessions:
        return await TokenStore(sessions).list_tokens(), await BrowserSessionStore(sessions).list_sessions()


async def _made(settings: Settings, grant: Grant, name: str) -> tuple[AccessToken, str]:
    from backend.database.tokens import TokenStore

    async with open_audited_sessions(settings) as sessions:
        return await TokenStore(sessions).issue_token(grant, name, actor=current_os_user())


async def _revoked(settings: Settings, which: str) -> Sequence[str]:
    """The ids that begin with ``which``. If there is exactly one, it is revoked."""
    from backend.database.sessions import BrowserSessionStore
    from backend.database.tokens import TokenStore

    async with open_audited_sessions(settings) as sessions:
        tokens, logins, actor = TokenStore(sessions), BrowserSessionStore(sessions), current_os_user()
        revocations: dict[str, Callable[[], Awaitable[object]]] = {
            token.id: partial(tokens.revoke_token, token.id, actor=actor)
            for token in await tokens.list_tokens()
        }
        for login in await logins.list_sessions():
            revocations[login.id] = partial(logins.revoke_session, login.id, actor=actor)
        found = [name for name in revocations if which and name.startswith(which)]
        if len(found) == 1:
            await revocations[found[0]]()
        return found


def _grid(kind: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> TextTable:
    heads = (column.removesuffix("_id").removesuffix("_at").replace("_", " ") for column in columns)
    cells = [(row["id"][:SHORT], *(_cell(column, _shown(row)[column]) for column in columns)) for row in rows]
    return TextTable((kind, *heads), cells)


def _cell(column: str, value: Any) -> str:
    if not value:
        return "-"
    if column == "budget":
        return f"${value['usd']}/{value['period']}"
    if column == "scopes":
        return " ".join(value)
    return str(value[:SHORT] if column == "token_id" else value)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """``row`` with times to the minute, in UTC."""
    return {
        name: value.strftime("%Y-%m-%dT%H:%MZ") if isinstance(value, datetime) else value
        for name, value in row.items()
    }
