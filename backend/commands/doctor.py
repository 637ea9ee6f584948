"""``doctor``: checks whether Patchbay can run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import ExitStatus, Json, out, print_json

if TYPE_CHECKING:
    from backend.tools.doctor import CheckResult

app = make_command_app()
_SIGNS = {"ok": "ok      ", "warning": "warning ", "fault": "fault   "}


@app.command()
def run_doctor(*, as_json: Json = False) -> None:
    """Check whether Patchbay can run on this machine, and say how to repair what is wrong.

    Examines Python, the packages, the table, keys by the names of their variables, the database and its
    migrations, the port, the disk, the clock and the demo model. Changes nothing, and calls no provider.
    Exits with 1 if Patchbay cannot run.
    """
    from backend.tools.doctor import run_checks
    from backend.utils.llm.clock import Time

    found = list(run_checks(Time().now()))
    is_well = all(check.state != "fault" for check in found)
    if as_json:
        print_json({"ok": is_well, "checks": [check._asdict() for check in found]})
    else:
        for check in found:
            _print(check)
    if not is_well:
        raise typer.Exit(ExitStatus.NO)


def _print(check: CheckResult) -> None:
    out.print(f"{_SIGNS[check.state]}{check.name}: {check.says}", markup=False)
    if check.advice:
        out.print(f"        {check.advice}", markup=False)
