"""``models``: lists every model of the table, with those that go off sale first."""

from __future__ import annotations

from backend.commands.groups import make_command_app
from backend.commands.in_force import load_table_in_force, make_patchbay
from backend.commands.terminal import Json, out, print_json
from backend.printing import TextTable

app = make_command_app()


@app.command()
def models(*, as_json: Json = False) -> None:
    """List every model of the table: until when it is on sale, what it can do, what it costs, and which features use it."""
    from backend.console import wording

    found = make_patchbay(load_table_in_force(as_json=as_json)).get_models()
    if as_json:
        print_json({"models": [one.model_dump(mode="json") for one in found]})
        return
    found = tuple(sorted(found, key=lambda one: (one.retires is None, one.retires and one.retires.day)))
    heads = ("model", "on sale until", "window", "in, $/M", "out, $/M", "can", "features")
    rows = [
        (
            one.endpoint,
            f"{one.retires.day} (in {one.retires.days} d)" if one.retires else "",
            wording.format_short_count(one.context_window),
            wording.format_usd(one.input_usd),
            wording.format_usd(one.output_usd),
            " ".join(one.abilities),
            str(len(one.features)),
        )
        for one in found
    ]
    out.print(TextTable(heads, rows, right=(2, 3, 4, 6)))
