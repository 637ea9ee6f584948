"""``check``: finds errors in a table, and what may soon fail."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import ExitStatus, Json, err, exit_on_errors, out, parse_duration, print_json
from backend.printing import format_lint_finding

if TYPE_CHECKING:
    from backend.utils.llm import Table

app = make_command_app()
TablePath = Annotated[Path | None, typer.Argument(help="A table; by default the one in force.")]
Within = Annotated[
    timedelta | None,
    typer.Option(
        parser=parse_duration,
        metavar="TIME",
        help="Fail if a model goes off sale within 30d, 2w, 12h, or has.",
    ),
]
Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Judge as of this day; by default today, in UTC."),
]


@app.command()
def check_table_file(
    path: TablePath = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    fail_within: Within = None,
    today: Day = None,
    as_json: Json = False,
) -> None:
    """Print all errors in a table and warnings of what may go wrong; exit 1 if there are errors.

    Warnings: models that go off sale within 90 days, that the catalogue does not know or that have no known
    price, features that only one provider serves, tools that OpenAI would refuse, and rows that no feature
    uses.
    """
    from backend.tools.lint import lint_table
    from backend.tools.retirements import HORIZON
    from backend.utils.llm.clock import Time

    table = _loaded(path, as_json=as_json)
    day = today.date() if today else Time().now().date()
    found = lint_table(
        table.snapshot, _document(table, as_json=as_json), day, horizon=max(HORIZON, fail_within or HORIZON)
    )
    failing = [
        finding for finding in found if finding.fails_check(strict=strict, retirement_within=fail_within)
    ]
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
            out.print(format_lint_finding(finding, fails=finding in failing), markup=False)
        counts = f"{_mark(table)['features']} features, {_verdict(len(failing), len(found) - len(failing))}"
        out.print(f"{table.path}: {counts}. Hash {table.snapshot.hash}.", markup=False)
    if failing:
        raise typer.Exit(ExitStatus.NO)


def _loaded(path: Path | None, *, as_json: bool) -> Table:
    """The table, if it loads."""
    from backend.settings import read_environment
    from backend.utils.llm import Table
    from backend.utils.llm.errors import ConfigError

    try:
        return Table(path, environ=read_environment())
    except ConfigError as error:
        if as_json:
            print_json({"ok": False, "problems": list(error.problems)})
        else:
            err.print(str(error), markup=False)
        raise typer.Exit(ExitStatus.NO) from None


def _document(table: Table, *, as_json: bool) -> dict[str, Any]:
    """The values of the file itself, without those from the environment."""
    from backend.utils.llm.model_config.document import parse_toml, read_table_file

    with exit_on_errors(as_json=as_json):
        return {} if table.path is None else parse_toml(read_table_file(table.path), table.path)


def _mark(table: Table) -> dict[str, Any]:
    return {"table_hash": table.snapshot.hash, "features": len(table.snapshot.features)}


def _verdict(failing: int, warnings: int) -> str:
    counts = ((failing, "problem"), (warnings, "warning"))
    parts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count]
    return ", ".join(parts) or "no problem"
