"""``import-config``: converts another system's configuration to a table."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import UNUSABLE_INPUT, ExitStatus, Json, err, exit_with_error, print_json

if TYPE_CHECKING:
    from backend.tools.config_import import ImportResult, System

app = make_command_app()


@app.command()
def convert_config_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, TOML or YAML, as its name ends.")],
    *,
    feature: Annotated[
        str | None, typer.Option(help="Name the feature of a file that holds one config.")
    ] = None,
    system: Annotated[
        str | None,
        typer.Option("--as", metavar="SYSTEM", help="litellm, lmi or tensorzero; by default its keys tell."),
    ] = None,
    partly: Annotated[
        bool, typer.Option("--partly", help="Leave out what is wrong, in place of printing nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a configuration of LiteLLM, LMI or TensorZero to a table, and print it; exit 1 if that fails.

    Also reports what was left out or changed.
    """
    made = _imported(path, feature, system, partly=partly, as_json=as_json)
    if as_json:
        print_json({"ok": made.table is not None, **asdict(made)})
    else:
        _print_import(made)
    if made.table is None:
        raise typer.Exit(ExitStatus.NO)


def _imported(
    path: Path, feature: str | None, system: str | None, *, partly: bool, as_json: bool
) -> ImportResult:
    from backend.tools.config_import import UnusableInputError, import_file

    try:
        return import_file(path, feature=feature, system=_system(system), skip_invalid=partly)
    except UnusableInputError as error:
        exit_with_error(error, {"code": UNUSABLE_INPUT, "message": str(error)}, as_json=as_json)


def _system(name: str | None) -> System | None:
    from backend.tools.config_import import SYSTEMS

    found = next((system for system in SYSTEMS if system == name), None)
    if name is not None and found is None:
        raise typer.BadParameter(f"it is one of {', '.join(SYSTEMS)}.", param_hint="--as")
    return found


def _print_import(made: ImportResult) -> None:
    for finding in made.findings:
        err.print(str(finding), markup=False)
    if made.table is None:
        err.print("There is no table: mend what is wrong and import again, or leave it out with --partly.")
    else:
        sys.stdout.write(made.table)
