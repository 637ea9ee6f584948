"""``models``: lists every model of the table, with those that go off sale first."""

from __future__ import annotations

from backend.commands.groups import make_command_app
from backend.commands.in_force import load_current_table, make_patchbay
from backend.commands.terminal import Json, out, print_json
from backend.printing import TextTable

app = make_command_app()


@app.command()
def list_table_models(*, as_json: Json = False) -> None:
    """List every model of the table: until when it is on sale, what it can do, what it costs, and which features use it."""
    from backend.console import wording

    found = make_patchbay(load_current_table(as_json=as_json)).get_models()
    if as_json:
        print_json({"models": [model.model_dump(mode="json") for model in found]})
        return
    found = tuple(
        sorted(found, key=lambda model: (model.retires is None, model.retires and model.retires.day))
    )
    heads = ("model", "on sale until", "window", "in, $/M", "out, $/M", "can", "features")
    rows = [
        (
            model.endpoint,
            f"{model.retires.day} (in {model.retires.days} d)" if model.retires else "",
            wording.format_short_count(model.context_window),
            wording.format_usd(model.input_usd),
            wording.format_usd(model.output_usd),
            " ".join(model.abilities),
            str(len(model.features)),
        )
        for model in found
    ]
    out.print(TextTable(heads, rows, right=(2, 3, 4, 6)))
