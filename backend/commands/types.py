"""``types``: writes the features' names as a Literal type, for type checkers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import Json, exit_on_errors, exit_with_error, out

app = make_command_app()
_TYPES = '''"""The features of the table, for type checkers. Made by `python -m backend types`; not to be edited."""

from typing import Literal

FeatureName = Literal[
{names}
]
'''


@app.command()
def feature_types_command(
    file: Annotated[
        Path | None, typer.Argument(help="The module to write; by default it is printed.")
    ] = None,
    *,
    table: Annotated[Path | None, typer.Option(help="A table; by default the one in force.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 1 if FILE is not as it would be written."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a Python module with the names of all features as a Literal type, so that type checkers find misspelt names."""
    from backend.utils.llm import Table

    with exit_on_errors(as_json=as_json):
        features = Table(table).snapshot.features
    made = _TYPES.format(names="\n".join(f'    "{name}",' for name in features))
    if file is None:
        out.print(made, markup=False, end="")
    elif check:
        _check(file, made, as_json=as_json)
    else:
        file.write_text(made, encoding="utf-8")


def _check(file: Path, made: str, *, as_json: bool) -> None:
    if file.is_file() and file.read_text(encoding="utf-8") == made:
        return
    message = f"{file} is not as the table has it. Run: python -m backend types {file}"
    exit_with_error(ValueError(message), {"code": "stale_types", "message": message}, as_json=as_json)
