"""``features``: every feature, and what it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.commands.groups import commands
from backend.commands.in_force import patchbay_of, table_in_force
from backend.commands.terminal import Json, out, print_json

if TYPE_CHECKING:
    from backend.utils.llm import QosInfo

app = commands()


@app.command()
def features(*, as_json: Json = False) -> None:
    """Every feature, and what it runs on."""
    qos = patchbay_of(table_in_force(as_json=as_json)).get_qos_info()
    if as_json:
        print_json(qos.model_dump(mode="json"))
    else:
        _print_features(qos)


def _print_features(qos: QosInfo) -> None:
    from rich.table import Table as Grid

    from backend.utils.llm.diagnostics.retirements import headline

    grid = Grid(box=None, pad_edge=False)
    for column in ("feature", "runs on", "then", "set by"):
        grid.add_column(column, overflow="fold")
    for name, feature in qos.features.items():
        runs_on = feature.endpoint or f"nothing: {feature.problem}"
        grid.add_row(name, runs_on, ", ".join(feature.chain[1:]), feature.layer)
    out.print(grid)
    out.print(f"\nprofile {qos.profile} ({qos.profile_layer}), table {qos.table_hash}", markup=False)
    if (line := headline(qos.retirements)) is not None:
        out.print(line, markup=False)
    if qos.demo_active:
        variables = ", ".join(name for provider in qos.providers.values() for name in provider.api_key_envs)
        out.print(
            f"DEMO: no provider's key is configured, so {qos.demo} serves everything. Set one of {variables}."
        )
