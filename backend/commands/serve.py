"""``serve``: runs the server in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import exit_on_errors, read_settings

app = make_command_app()


@app.command()
def start_server(
    *,
    once: Annotated[bool, typer.Option("--once", help="Run the sample conversation, then exit.")] = False,
    workers: Annotated[
        int,
        typer.Option(
            help="In how many processes. With more than one, SIGHUP restarts them one by one.", min=1
        ),
    ] = 1,
) -> None:
    """Start the server, run the sample conversation through it, and keep serving."""
    from backend.serve import serve as run

    with exit_on_errors(as_json=False):
        settings = read_settings()
    raise typer.Exit(run(settings, once=once, workers=workers))
