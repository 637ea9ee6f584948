"""``check``: the faults of a table, and warnings."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.groups import commands
from backend.commands.terminal import ExitStatus, Json, duration, err, errors, out, print_json
from backend.printing import finding_line

if TYPE_CHECKING:
    from backend.utils.llm import Table

app = commands()
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
    from backend.tools.lint import lint
    from backend.tools.retirements import HORIZON
    from backend.utils.llm.clock import Time

    table = _loaded(path, as_json=as_json)
    day = today.date() if today else Time().now().date()
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
        raise typer.Exit(ExitStatus.NO)


def _loaded(path: Path | None, *, as_json: bool) -> Table:
    """The table, if it loads."""
    from backend.settings import environment
    from backend.utils.llm import Table
    from backend.utils.llm.errors import ConfigError

    try:
        return Table(path, environ=environment())
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "problems": list(error.problems)})
        else:
            err.print(str(error), markup=False)
        raise typer.Exit(ExitStatus.NO) from None


def _document(table: Table, *, as_json: bool) -> dict[str, Any]:
    """The values of the file itself, without those from the environment."""
    from backend.utils.llm.model_config.document import read, values

    with errors(as_json=as_json):
        return {} if table.path is None else values(read(table.path), table.path)


def _mark(table: Table) -> dict[str, Any]:
    return {"table_hash": table.snapshot.hash, "features": len(table.snapshot.features)}


def _verdict(failing: int, warnings: int) -> str:
    counts = ((failing, "problem"), (warnings, "warning"))
    parts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count]
    return ", ".join(parts) or "no problem"
