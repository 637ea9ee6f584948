"""``init``: writes a first table, from nothing or from a code base."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import UNUSABLE_INPUT, ExitStatus, Json, err, exit_with_error, print_json

if TYPE_CHECKING:
    from backend.tools.config_import import ImportResult

app = make_command_app()


@app.command()
def write_first_table(
    file: Annotated[Path | None, typer.Argument(help="The table to write; by default it is printed.")] = None,
    *,
    code: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="DIR", help="A code base; its models become features. Nothing of it is run."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a first table, for the models of a code base or for one sample feature.

    Finds LangChain's models, LiteLLM's calls and Routers, and configurations of LiteLLM and TensorZero, and
    reports what could not be imported. Keys are never copied.
    """
    if file is not None and file.exists():
        message = f"{file} is there already, and is not written over."
        exit_with_error(FileExistsError(message), {"code": "exists", "message": message}, as_json=as_json)
    made = _made(code, as_json=as_json)
    if as_json:
        print_json({"ok": made.table is not None, **asdict(made)})
    else:
        for finding in made.findings:
            err.print(str(finding), markup=False)
    if made.table is None:
        err.print("There is no table.")
        raise typer.Exit(ExitStatus.NO)
    if file is not None:
        _write(file, made.table, as_json=as_json)
    elif not as_json:
        sys.stdout.write(made.table)


def _write(file: Path, table: str, *, as_json: bool) -> None:
    try:
        file.write_text(table, encoding="utf-8")
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}."
        exit_with_error(
            error.__class__(message), {"code": "cannot_write", "message": message}, as_json=as_json
        )


def _made(code: Path | None, *, as_json: bool) -> ImportResult:
    from backend.tools.code_scan import scan_code_base
    from backend.tools.config_import import ImportResult, UnusableInputError
    from backend.tools.lift import STARTER

    if code is None:
        return ImportResult(STARTER, ())
    try:
        return scan_code_base(code)
    except UnusableInputError as error:
        exit_with_error(error, {"code": UNUSABLE_INPUT, "message": str(error)}, as_json=as_json)
