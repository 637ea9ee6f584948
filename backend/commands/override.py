"""``override``: temporary changes of the table."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands import completion
from backend.commands.groups import commands
from backend.commands.terminal import (
    SHORT,
    Json,
    database,
    deciding,
    duration,
    err,
    operator,
    out,
    print_json,
    printable,
    read_settings,
    storage_errors,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.overrides import KeptOverride, OverrideOutcome, OverrideRequest, Overrides
    from backend.utils.llm.diagnostics.qos import OverrideInfo
    from backend.utils.llm.model_config import Override

app = commands(
    no_args_is_help=True, help="What serves a feature for a while, or an endpoint that serves nobody."
)
_SHOWN = 50
"""How many past ones are shown."""


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) + duration(text)
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no offset. Write {text}Z for UTC.")
    return moment.astimezone(UTC)


Until = Annotated[
    datetime,
    typer.Option(parser=_moment, metavar="TIME", help="2h, 3d, or a moment such as 2026-12-01T18:00Z."),
]
Reason = Annotated[str, typer.Option(help="Why, for everybody who looks.")]
Author = Annotated[str | None, typer.Option(help="Who decides; by default the user of this machine.")]


@app.command("set")
def set_override(
    feature: Annotated[
        str,
        typer.Argument(
            help="A feature of the table, such as conv_folder.", autocompletion=completion.features
        ),
    ],
    links: Annotated[
        list[str],
        typer.Argument(
            metavar="ENDPOINT…", help="What serves it, in this order.", autocompletion=completion.endpoints
        ),
    ],
    *,
    until: Until,
    reason: Reason,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Let ENDPOINTs (provider:model, or group:NAME) serve FEATURE, in every profile, for a while.

    Every process applies it within two seconds. It replaces the feature's earlier override.
    """
    _decide(feature, tuple(links), until=until, reason=reason, author=author, as_json=as_json)


@app.command()
def disable(
    endpoint: Annotated[str, typer.Argument(help="provider:model", autocompletion=completion.endpoints)],
    *,
    until: Until,
    reason: Reason,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Take ENDPOINT out of every chain for a while, whoever's key it is."""
    _decide(endpoint, (), until=until, reason=reason, author=author, as_json=as_json)


@app.command("list")
def list_overrides(
    *,
    past: Annotated[bool, typer.Option("--past", help="Also those that have ended.")] = False,
    as_json: Json = False,
) -> None:
    """Every override that holds, and whether it is in force."""
    with storage_errors(as_json=as_json):
        holding, ended = asyncio.run(_listed(_SHOWN if past else 0))
    if as_json:
        shown = [one.model_dump(mode="json") for one in holding]
        print_json({"overrides": shown, **({"past": [_past(one) for one in ended]} if past else {})})
        return
    out.print(_grid(holding))
    for one in holding:
        for problem in one.problems:
            out.print(f"{one.id} is ignored: {problem}", markup=False)
    for kept in ended:
        out.print(f"ended {kept.ended_at:%Y-%m-%dT%H:%MZ} by {kept.ended_by}: {kept.override}", markup=False)


@app.command()
def revert(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `list` shows it.")],
    *,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """End an override before its time."""
    with storage_errors(as_json=as_json):
        ended = asyncio.run(_reverted(which, _author(author)))
    if as_json:
        print_json({"reverted": ended.as_dict()})
    else:
        out.print(f"Reverted: {ended.subject}, {ended}", markup=False)


def _decide(
    subject: str, links: tuple[str, ...], *, until: datetime, reason: str, author: str | None, as_json: bool
) -> None:
    from backend.overrides import OverrideRequest

    wanted = OverrideRequest(subject, links, _author(author), reason, until)
    with storage_errors(as_json=as_json):
        outcome = asyncio.run(_decided(wanted))
    if as_json:
        print_json({"override": outcome.override.as_dict(), "unserved": list(outcome.unserved)})
        return
    out.print(f"{subject}: {outcome.override}", markup=False)
    if outcome.unserved:
        err.print(f"Nobody serves any more: {', '.join(outcome.unserved)}.", markup=False)


def _author(given: str | None) -> str:
    return operator() if given is None else printable(given)


async def _decided(wanted: OverrideRequest) -> OverrideOutcome:
    async with deciding(read_settings()) as sessions:
        return await (await _overrides(sessions)).decide(wanted)


async def _reverted(which: str, by: str) -> Override:
    async with deciding(read_settings()) as sessions:
        return await (await _overrides(sessions)).revert(which, by)


async def _listed(past: int) -> tuple[Sequence[OverrideInfo], Sequence[KeptOverride]]:
    async with database(read_settings()) as sessions:
        overrides = await _overrides(sessions)
        ended = [one for one in await overrides.all(past) if one.ended_at is not None] if past else []
        return overrides.infos(), ended


async def _overrides(sessions: async_sessionmaker[AsyncSession]) -> Overrides:
    from backend.database.overrides import SqlOverrideStore
    from backend.overrides import Overrides
    from backend.settings import environment
    from backend.utils.llm import Table

    overrides = Overrides(SqlOverrideStore(sessions), Table(environ=environment()))
    await overrides.put_in_force()
    return overrides


def _grid(holding: Sequence[OverrideInfo]) -> TextTable:
    heads = ("id", "of", "served by", "until", "author", "reason", "state")
    return TextTable(heads, [_row(one) for one in holding])


def _row(one: OverrideInfo) -> Sequence[str]:
    served, until = ", ".join(one.links) or "nobody (disabled)", f"{one.until:%Y-%m-%dT%H:%MZ}"
    state = one.state.replace("_", " ")
    return one.id[:SHORT], one.subject, served, until, one.author, one.reason, state


def _past(kept: KeptOverride) -> dict[str, Any]:
    at = kept.ended_at and kept.ended_at.isoformat()
    return {**kept.override.as_dict(), "ended_at": at, "ended_by": kept.ended_by}
