"""``model``: what one model can do, and until when it is on sale."""

from __future__ import annotations

from typing import Annotated

import typer

from backend.commands import completion
from backend.commands.groups import commands
from backend.commands.in_force import table_in_force
from backend.commands.terminal import ExitStatus, Json, err, out, print_json
from backend.printing import capability_lines

app = commands()


@app.command()
def model(
    name: Annotated[
        str,
        typer.Argument(
            help="A model, or an endpoint of the table in force.", autocompletion=completion.models
        ),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show what a model can do, until when it is on sale, and where each value comes from; exit 1 if nobody knows it."""
    from backend.utils.llm.diagnostics.retirements import endpoint_uses
    from backend.utils.llm.models import FAMILIES, capabilities, is_known, retirement, sources
    from backend.utils.llm.problems import did_you_mean

    snapshot = table_in_force(as_json=as_json).snapshot
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
        raise typer.Exit(ExitStatus.NO)
