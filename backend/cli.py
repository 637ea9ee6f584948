"""The command line: what runs on what, why, is the table right, and one call to try it.

Every verb takes ``--json``. Errors go to standard error, and the exit status is 1.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as Grid

from backend.commands import adopt
from backend.commands.audit import audit
from backend.commands.budget import budget, counters
from backend.commands.override import override, stored_overrides
from backend.commands.terminal import (
    SHORT,
    Json,
    database,
    deciding,
    duration,
    err,
    errors,
    fail,
    operator,
    out,
    print_json,
    printable,
    storage_errors,
)
from backend.commands.usage import usage
from backend.local_model import LocalModel
from backend.printing import capability_lines, finding_line, receipt_line
from backend.settings import Settings, environment
from backend.utils.llm import Caller, Needs, Patchbay, Table, in_order
from backend.utils.llm.clock import Time
from backend.utils.llm.diagnostics.estimates import consequences
from backend.utils.llm.diagnostics.retirements import HORIZON, endpoint_uses, headline
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.failures import POLICY
from backend.utils.llm.model_config.document import read, values
from backend.utils.llm.models import FAMILIES, capabilities, is_known, retirement, sources
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from backend.database.sessions import LoginSession
    from backend.database.tokens import AccessToken
    from backend.keys.rotation import Rotation
    from backend.tools.lmi_import import Import
    from backend.utils.llm import QosInfo, Route
    from backend.utils.llm.state.budget_store import BudgetStore

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Patchbay: name the feature, not the model."
)
app.add_typer(budget, name="budget")
app.add_typer(override, name="override")
app.add_typer(audit, name="audit")
keys = typer.Typer(no_args_is_help=True, help="The master keys, which lock the keys that users store.")
app.add_typer(keys, name="keys")
tokens = typer.Typer(no_args_is_help=True, help="Access tokens, and the sessions of browsers.")
app.add_typer(tokens, name="tokens")
app.add_typer(usage, name="usage")
FeatureName = Annotated[str, typer.Argument(help="A feature of the table, such as conv_folder.")]
TablePath = Annotated[Path | None, typer.Argument(help="A table; by default the one in force.")]
Within = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration, metavar="TIME", help="Fail if a model goes off sale within 30d, 2w, 12h, or has."
    ),
]
Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Judge as of this day; by default today, in UTC."),
]


app.command("lift")(adopt.lift_command)
app.command("types")(adopt.types_command)


@app.command()
def features(*, as_json: Json = False) -> None:
    """Every feature, and what it runs on."""
    qos = _patchbay(_table(as_json=as_json)).get_qos_info()
    if as_json:
        print_json(qos.model_dump(mode="json"))
    else:
        _print_features(qos)


@app.command()
def explain(  # noqa: PLR0913 - one for each option of the command line
    feature: FeatureName,
    *,
    tools: Annotated[bool, typer.Option(help="The call binds tools.")] = False,
    structured: Annotated[bool, typer.Option(help="The call wants structured output.")] = False,
    images: Annotated[bool, typer.Option(help="The call sends images.")] = False,
    audio: Annotated[bool, typer.Option(help="The call sends sounds.")] = False,
    video: Annotated[bool, typer.Option(help="The call sends videos.")] = False,
    pdf: Annotated[bool, typer.Option(help="The call sends PDFs.")] = False,
    tokens: Annotated[int, typer.Option(help="Length of the prompt, in tokens.", min=0)] = 0,
    byok: Annotated[
        list[str] | None,
        typer.Option(help="As a caller who brought a key for this provider. May be repeated."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="As this user.")] = None,
    tier: Annotated[str | None, typer.Option(help="As a caller of this tier.")] = None,
    conversation: Annotated[str | None, typer.Option(help="As part of this conversation.")] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Also what would follow each failure.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where a call of FEATURE would run now, and why; exit 1 if nothing can serve it. Sends nothing."""
    needs = Needs(
        tools=tools,
        structured_output=structured,
        images=images,
        audio=audio,
        video=video,
        pdf=pdf,
        tokens=tokens,
    )
    keys = dict.fromkeys(byok or (), "a-key")
    caller = Caller(user_id=user, tier=tier, conversation_id=conversation, keys=keys)
    table = _table(as_json=as_json)
    with storage_errors(as_json=as_json), counters(table) as budgets:
        route = _patchbay(table, budgets=budgets).explain(feature, caller=caller, needs=needs)
    if as_json:
        print_json(route.as_dict())
    else:
        out.print(str(route), markup=False)
        if failures:
            _print_failures(route)
    if not route.candidates:
        raise typer.Exit(1)


@app.command()
def check(
    path: TablePath = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    fail_within: Within = None,
    today: Day = None,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with a table, and warn of what may go wrong; exit 1 if anything is wrong.

    Warnings: models that go off sale within 90 days, that the catalogue does not know or that have no known price,
    features that only one provider serves, tools that OpenAI would refuse, and rows that nothing leads to.
    """
    from backend.utils.llm.diagnostics.lint import lint

    table = _loaded(path, as_json=as_json)
    day = today.date() if today else _today()
    found = lint(
        table.snapshot, _document(table, as_json=as_json), day, horizon=max(HORIZON, fail_within or HORIZON)
    )
    failing = [finding for finding in found if finding.fails(strict=strict, within=fail_within)]
    if as_json:
        findings = [{**finding.model_dump(mode="json"), "fails": finding in failing} for finding in found]
        print_json(
            {
                "ok": not failing,
                "problems": [],
                "findings": findings,
                "today": day.isoformat(),
                **_mark(table),
            }
        )
    else:
        for finding in found:
            out.print(finding_line(finding, fails=finding in failing), markup=False)
        counts = f"{_mark(table)['features']} features, {_verdict(len(failing), len(found) - len(failing))}"
        out.print(f"{table.path}: {counts}. Hash {table.snapshot.hash}.", markup=False)
    if failing:
        raise typer.Exit(1)


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="A model, or an endpoint of the table in force.")],
    *,
    as_json: Json = False,
) -> None:
    """Show what a model can do, until when it is on sale, and where each value comes from; exit 1 if nobody knows it."""
    snapshot = _table(as_json=as_json).snapshot
    endpoint = next((each for each in endpoint_uses(snapshot) if name in {str(each), each.model}), None)
    provider, _, rest = name.partition(":")
    asked = rest if provider in snapshot.providers else name
    can, gone = endpoint.can if endpoint else capabilities(asked), retirement(asked)
    origins = endpoint.sources() if endpoint else sources(asked)
    known = endpoint is not None or is_known(asked)
    if as_json:
        retires = gone and gone.model_dump(mode="json")
        print_json(
            {"model": asked, "known": known, "can": can.model_dump(), "sources": origins, "retires": retires}
        )
    else:
        out.print("\n".join(capability_lines(asked, can, origins, gone)), markup=False)
    if not known:
        hint = did_you_mean(asked, FAMILIES)
        err.print(f"Nothing is known of {asked!r}: all of this is assumed. {hint}".strip(), markup=False)
        raise typer.Exit(1)


@app.command()
def import_config(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, TOML or YAML, as its name ends.")],
    *,
    feature: Annotated[
        str | None, typer.Option(help="Name the feature of a file that holds one config.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print LMI's configuration as a table, and report what is not in it; exit 1 if it cannot be one."""
    made = _imported(path, feature, as_json=as_json)
    if as_json:
        print_json({"ok": made.table is not None, **asdict(made)})
    else:
        _print_import(made)
    if made.table is None:
        raise typer.Exit(1)


@app.command()
def call(
    feature: FeatureName,
    text: Annotated[str, typer.Argument(help="What to say to the model; - reads standard input.")],
    *,
    as_json: Json = False,
) -> None:
    """Call FEATURE with TEXT, stream the answer, and print its receipt."""
    prompt = sys.stdin.read() if text == "-" else text
    with errors(as_json=as_json), _running(feature, as_json=as_json) as patchbay:
        receipt, answer = None, []
        for chunk in patchbay.get_llm(feature).stream(prompt):
            answer.append(chunk.text)
            receipt = chunk.response_metadata.get("receipt", receipt)
            if not as_json:
                out.print(chunk.text, end="", markup=False)
        if as_json:
            print_json({"text": "".join(answer), "receipt": receipt})
        else:
            out.print()
            err.print(receipt_line(receipt or {}), markup=False)


@app.command()
def serve(
    *,
    once: Annotated[bool, typer.Option("--once", help="Run the sample conversation, then exit.")] = False,
) -> None:
    """Start the server, run the sample conversation through it, and stay up."""
    from backend.serve import serve as run

    raise typer.Exit(run(Settings(), once=once))


@keys.command()
def rotate(*, as_json: Json = False) -> None:
    """Lock every user's key anew under a new master key. Servers may be running.

    Where PATCHBAY_MASTER_KEYS tells the master keys, put the new one in front of it first, and start the servers again.
    """
    with storage_errors(as_json=as_json):
        done = asyncio.run(_rotate(Settings()))
    if as_json:
        print_json(done._asdict())
        return
    out.print(f"{done.locked_anew} keys were locked anew, under the master key {done.master}.", markup=False)
    if done.unreadable:
        err.print(
            f"{done.unreadable} could not be opened: their master key is gone. Their users can store them again."
        )


@keys.command()
def new(*, as_json: Json = False) -> None:
    """Print a new master key, for PATCHBAY_MASTER_KEYS. Nothing uses it yet."""
    from backend.keys.master_keys import MasterKey

    made = MasterKey.new()
    if as_json:
        print_json({"name": made.name, "master_key": made.text()})
    else:
        sys.stdout.write(f"{made.text()}\n")


@tokens.command("list")
def list_tokens(*, as_json: Json = False) -> None:
    """Every access token that was given out, and every browser that is logged in. Shows no secret."""
    with storage_errors(as_json=as_json):
        given, open_ones = asyncio.run(_listed(Settings()))
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


@tokens.command()
def make(
    name: Annotated[str, typer.Argument(help="What it is for, such as ci.", callback=printable)],
    *,
    user: Annotated[str, typer.Option(help="Whose it is.", callback=printable)] = "admin",
    as_json: Json = False,
) -> None:
    """Make an access token and print it, this once."""
    with storage_errors(as_json=as_json):
        made, plain = asyncio.run(_made(Settings(), user, name))
    if as_json:
        print_json({**_shown(asdict(made)), "token": plain})
    else:
        sys.stdout.write(f"{plain}\n")
        err.print(
            f"It is {user}'s, and shown only now. To end it: tokens revoke {made.id[:SHORT]}", markup=False
        )


@tokens.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id as `list` shows it, or the head of it.")],
    *,
    as_json: Json = False,
) -> None:
    """End a token, with every session that was opened with it, or a session. Running servers refuse it at once.

    One that was revoked before stays so, and the exit status is 0; it is 1 if there is none, or more than one.
    """
    with storage_errors(as_json=as_json):
        found = asyncio.run(_revoked(Settings(), which))
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


def _grid(kind: str, columns: Sequence[str], rows: Iterable[AccessToken | LoginSession]) -> Grid:
    heads = (column.removesuffix("_id").removesuffix("_at").replace("_", " ") for column in columns)
    grid = Grid(kind, *heads, box=None, pad_edge=False)
    for row in rows:
        shown = _shown(asdict(row))
        grid.add_row(row.id[:SHORT], *(escape(_cell(column, shown[column])) for column in columns))
    return grid


def _cell(column: str, value: str | None) -> str:
    return "-" if value is None else value[:SHORT] if column == "token_id" else value


def _shown(row: dict[str, Any]) -> dict[str, str | None]:
    """Moments to the minute, in UTC."""
    return {
        name: value.strftime("%Y-%m-%dT%H:%MZ") if isinstance(value, datetime) else value
        for name, value in row.items()
    }


async def _rotate(settings: Settings) -> Rotation:
    from backend.database.audit import record
    from backend.database.keys import SqlKeyStore
    from backend.keys.master_keys import load_master_keys
    from backend.keys.rotation import rotate

    async with deciding(settings) as sessions:
        master_keys = load_master_keys(settings.master_keys, settings.master_keys_path)
        done = await rotate(SqlKeyStore(sessions), master_keys)
        async with sessions.begin() as session:
            facts = {"locked_anew": done.locked_anew, "unreadable": done.unreadable}
            now = Time().now()
            await record(session, "master_key.rotated", done.master, actor=operator(), now=now, details=facts)
        return done


def _loaded(path: Path | None, *, as_json: bool) -> Table:
    """The table, if it loads."""
    try:
        return Table(path, environ=environment())
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "problems": list(error.problems)})
        else:
            err.print(str(error), markup=False)
        raise typer.Exit(1) from None


def _document(table: Table, *, as_json: bool) -> dict[str, Any]:
    """The file as it stands, without what the environment lays over it."""
    with errors(as_json=as_json):
        return {} if table.path is None else values(read(table.path), table.path)


def _mark(table: Table) -> dict[str, Any]:
    return {"table_hash": table.snapshot.hash, "features": len(table.snapshot.features)}


def _verdict(failing: int, warnings: int) -> str:
    counts = ((failing, "problem"), (warnings, "warning"))
    parts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count]
    return ", ".join(parts) or "no problem"


def _today() -> date:
    return Time().now().date()


def _table(*, as_json: bool) -> Table:
    with errors(as_json=as_json):
        return Table(environ=environment(), overrides=stored_overrides)


def _patchbay(
    table: Table, *, local_model: LocalModel | None = None, budgets: BudgetStore | None = None
) -> Patchbay:
    live = {"local": local_model} if local_model else None
    # The application's own selectors are not here: what they choose from is taken as it is written.
    selectors = dict.fromkeys(table.snapshot.selectors, in_order)
    return Patchbay(table, live=live, selectors=selectors, budgets=budgets)


@contextmanager
def _running(feature: str, *, as_json: bool) -> Iterator[Patchbay]:
    """A patchbay that can send; with the embedded model, if the feature runs on it."""
    local_model, table = LocalModel(Settings().local_llm_gguf, environ=environment()), _table(as_json=as_json)
    with storage_errors(as_json=as_json), counters(table) as budgets:
        patchbay = _patchbay(table, local_model=local_model, budgets=budgets)
        try:
            if _embedded(patchbay.explain(feature, balances=False)):
                local_model.start()
                if not as_json:
                    err.print(f"{feature} is served by {local_model.label}. Starting it…", markup=False)
            yield patchbay
        finally:
            patchbay.close()
            local_model.stop()


def _embedded(route: Route) -> bool:
    return any(candidate.endpoint.provider.access == "embedded" for candidate in route.candidates)


def _imported(path: Path, feature: str | None, *, as_json: bool) -> Import:
    from backend.tools.lmi_import import UnusableInputError, import_file

    try:
        return import_file(path, feature=feature)
    except UnusableInputError as error:
        if as_json:
            print_json({"error": {"code": "unusable_input", "message": str(error)}})
        else:
            err.print(str(error), markup=False)
        raise typer.Exit(2) from None


def _print_import(made: Import) -> None:
    for finding in made.findings:
        err.print(str(finding), markup=False)
    if made.table is None:
        err.print("There is no table: mend what is wrong, and import again.")
    else:
        sys.stdout.write(made.table)


def _print_failures(route: Route) -> None:
    """Print what would follow each kind of failure of the first endpoint."""
    if not route.candidates:
        return
    first = route.candidates[0]
    grid = Grid(
        "if it", "requests", "then", title=f"{first.endpoint}, {first.owner}'s key", title_justify="left"
    )
    for category, what in consequences(route.feature, first.endpoint, first.owner).items():
        grid.add_row(POLICY[category].sentence, str(what.requests), what.then)
    out.print(grid)


def _print_features(qos: QosInfo) -> None:
    grid = Grid(box=None, pad_edge=False)
    for column in ("feature", "runs on", "then", "set by"):
        grid.add_column(column, overflow="fold")
    for name, feature in qos.features.items():
        runs_on = feature.endpoint or f"nothing: {feature.problem}"
        grid.add_row(name, runs_on, ", ".join(feature.chain[1:]), feature.layer)
    out.print(grid)
    out.print(f"\nprofile {qos.profile} ({qos.profile_layer}), table {qos.table_hash}", markup=False)
    if (line := headline(qos.retirements)) is not None:
        out.print(line, markup=False)
    if qos.demo_active:
        variables = ", ".join(name for provider in qos.providers.values() for name in provider.api_key_envs)
        out.print(
            f"DEMO: no provider's key is configured, so {qos.demo} serves everything. Set one of {variables}."
        )
