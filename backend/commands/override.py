"""``override``: changes for a while what serves a feature, or takes an endpoint out of use."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands import completion
from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    SHORT,
    Json,
    check_printable_name,
    current_os_user,
    err,
    exit_on_storage_errors,
    open_audited_sessions,
    open_sessions,
    out,
    parse_duration,
    print_json,
    read_settings,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.overrides import OverrideManager, OverrideOutcome, OverrideRecord, OverrideRequest
    from backend.utils.llm.diagnostics.qos import OverrideInfo
    from backend.utils.llm.model_config import Override

app = make_command_app(
    no_args_is_help=True, help="What serves a feature for a while, or an endpoint that serves nobody."
)
_SHOWN = 50
"""How many past ones are shown."""


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) + parse_duration(text)
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
            help="A feature of the table, such as conv_folder.", autocompletion=completion.complete_features
        ),
    ],
    links: Annotated[
        list[str],
        typer.Argument(
            metavar="ENDPOINT…",
            help="What serves it, in this order.",
            autocompletion=completion.complete_endpoints,
        ),
    ],
    *,
    until: Until,
    reason: Reason,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Let ENDPOINTs (provider:model, or group:NAME) serve FEATURE for a while, instead of its chains in all profiles.

    Every process applies the override within two seconds. It replaces an earlier override of the feature.
    """
    _decide(feature, tuple(links), until=until, reason=reason, author=author, as_json=as_json)


@app.command("disable")
def disable_endpoint(
    endpoint: Annotated[
        str, typer.Argument(help="provider:model", autocompletion=completion.complete_endpoints)
    ],
    *,
    until: Until,
    reason: Reason,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Take ENDPOINT out of every chain for a while, for calls with the operator's key and with users' own keys."""
    _decide(endpoint, (), until=until, reason=reason, author=author, as_json=as_json)


@app.command("list")
def list_overrides(
    *,
    past: Annotated[bool, typer.Option("--past", help="Also those that have ended.")] = False,
    as_json: Json = False,
) -> None:
    """List the overrides that have not ended, and whether each takes effect."""
    with exit_on_storage_errors(as_json=as_json):
        holding, ended = asyncio.run(_listed(_SHOWN if past else 0))
    if as_json:
        shown = [override.model_dump(mode="json") for override in holding]
        print_json({"overrides": shown, **({"past": [_past(record) for record in ended]} if past else {})})
        return
    out.print(_grid(holding))
    for override in holding:
        for problem in override.problems:
            out.print(f"{override.id} is ignored: {problem}", markup=False)
    for kept in ended:
        out.print(f"ended {kept.ended_at:%Y-%m-%dT%H:%MZ} by {kept.ended_by}: {kept.override}", markup=False)


@app.command("revert")
def revert_override(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `list` shows it.")],
    *,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """End an override before the time that was set for it."""
    with exit_on_storage_errors(as_json=as_json):
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
    with exit_on_storage_errors(as_json=as_json):
        outcome = asyncio.run(_decided(wanted))
    if as_json:
        print_json({"override": outcome.override.as_dict(), "unserved": list(outcome.unserved)})
        return
    out.print(f"{subject}: {outcome.override}", markup=False)
    if outcome.unserved:
        err.print(f"Nobody serves any more: {', '.join(outcome.unserved)}.", markup=False)


def _author(given: str | None) -> str:
    return current_os_user() if given is None else check_printable_name(given)


async def _decided(wanted: OverrideRequest) -> OverrideOutcome:
    async with open_audited_sessions(read_settings()) as sessions:
        return await (await _overrides(sessions)).store_override(wanted)


async def _reverted(which: str, by: str) -> Override:
    async with open_audited_sessions(read_settings()) as sessions:
        return await (await _overrides(sessions)).revert_override(which, by)


async def _listed(past: int) -> tuple[Sequence[OverrideInfo], Sequence[OverrideRecord]]:
    async with open_sessions(read_settings()) as sessions:
        overrides = await _overrides(sessions)
        ended = (
            [record for record in await overrides.list_recent_overrides(past) if record.ended_at is not None]
            if past
            else []
        )
        return overrides.describe_active_overrides(), ended


async def _overrides(sessions: async_sessionmaker[AsyncSession]) -> OverrideManager:
    from backend.database.overrides import SqlOverrideStore
    from backend.overrides import OverrideManager
    from backend.settings import read_environment
    from backend.utils.llm import Table

    overrides = OverrideManager(SqlOverrideStore(sessions), Table(environ=read_environment()))
    await overrides.apply_to_table()
    return overrides


def _grid(holding: Sequence[OverrideInfo]) -> TextTable:
    heads = ("id", "of", "served by", "until", "author", "reason", "state")
    return TextTable(heads, [_row(override) for override in holding])


def _row(one: OverrideInfo) -> Sequence[str]:
    served, until = ", ".join(one.links) or "nobody (disabled)", f"{one.until:%Y-%m-%dT%H:%MZ}"
    state = one.state.replace("_", " ")
    return one.id[:SHORT], one.subject, served, until, one.author, one.reason, state


def _past(kept: OverrideRecord) -> dict[str, Any]:
    at = kept.ended_at and kept.ended_at.isoformat()
    return {**kept.override.as_dict(), "ended_at": at, "ended_by": kept.ended_by}
