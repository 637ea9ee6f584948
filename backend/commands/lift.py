"""``lift``: copies the facade into another project."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import Json, err, exit_with_error, out, print_json

if TYPE_CHECKING:
    from backend.tools.lift import FileChange

app = make_command_app()
_NEXT = """What is left to do:
  pip install -r {place}/requirements.txt   (and requirements-gemini.txt for api = "gemini")
  llm.toml says which model serves which feature; LLM_CONFIG names another file.
  In the lifespan of the application:

      from utils.llm import serving

      @asynccontextmanager
      async def lifespan(app):
          async with serving():  # in force, warmed up, reloaded when its file changes, closed at the end
              yield

  Around a request: with use_caller(Caller(user_id=…)): …"""


@app.command()
def lift_command(
    project: Annotated[Path, typer.Argument(help="The folder that your modules are imported from.")],
    *,
    update: Annotated[bool, typer.Option("--update", help="Bring a copy to this version.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; show what would change.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that were changed there as well as here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy the facade into PROJECT as the package utils.llm, or update an earlier copy to this version."""
    from backend.tools.lift import PLACE, LiftError, lift_facade
    from backend.utils.llm.version import VERSION

    try:
        changes = lift_facade(project, update=update, dry_run=dry_run, force=force)
    except LiftError as error:
        exit_with_error(error, {"code": error.code, "message": str(error)}, as_json=as_json)
    except OSError as error:
        broken = LiftError(f"{error.filename or project}: {error.strerror or error}.")
        exit_with_error(broken, {"code": broken.code, "message": str(broken)}, as_json=as_json)
    if as_json:
        states = {change.path: change.state for change in changes if change.state != "same"}
        print_json({"version": VERSION, "written": not dry_run, "files": states})
        return
    if update and dry_run:
        out.print("".join(line for change in changes for line in _shown(change)), markup=False, end="")
    counts = ", ".join(
        f"{count} {state}" for state, count in Counter(change.state for change in changes).items()
    )
    err.print(
        f"{project / PLACE}: {counts} (version {VERSION}){', nothing written' if dry_run else ''}",
        markup=False,
    )
    if not update and not dry_run:
        out.print(_NEXT.format(place=project / PLACE), markup=False)


def _shown(change: FileChange) -> list[str]:
    return [] if change.state in {"same", "yours"} else list(change.to_unified_diff())
