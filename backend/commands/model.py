"""``model``: shows what a model can do, and until when it is on sale."""

from __future__ import annotations

from typing import Annotated

import typer

from backend.commands import completion
from backend.commands.groups import make_command_app
from backend.commands.in_force import load_current_table
from backend.commands.terminal import ExitStatus, Json, err, out, print_json
from backend.printing import format_capabilities

app = make_command_app()


@app.command()
def show_model(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, or an endpoint of the table in force.", autocompletion=completion.complete_models
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show what a model can do, until when it is on sale, and the source of each value; exit 1 if the model is unknown."""
    from backend.utils.llm.diagnostics.retirements import find_endpoint_uses
    from backend.utils.llm.models import (
        FAMILIES,
        capability_sources,
        find_capabilities,
        find_retirement,
        is_known_model,
    )
    from backend.utils.llm.problems import did_you_mean

    snapshot = load_current_table(as_json=as_json).snapshot
    endpoint = next((each for each in find_endpoint_uses(snapshot) if name in {str(each), each.model}), None)
    provider, _, rest = name.partition(":")
    asked = rest if provider in snapshot.providers else name
    can, gone = endpoint.can if endpoint else find_capabilities(asked), find_retirement(asked)
    origins = endpoint.capability_sources() if endpoint else capability_sources(asked)
    known = endpoint is not None or is_known_model(asked)
    if as_json:
        retires = gone and gone.model_dump(mode="json")
        print_json(
            {"model": asked, "known": known, "can": can.model_dump(), "sources": origins, "retires": retires}
        )
    else:
        out.print("\n".join(format_capabilities(asked, can, origins, gone)), markup=False)
    if not known:
        hint = did_you_mean(asked, FAMILIES)
        err.print(f"Nothing is known of {asked!r}: all of this is assumed. {hint}".strip(), markup=False)
        raise typer.Exit(ExitStatus.NO)
