"""``features``: lists every feature with its endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.commands.groups import make_command_app
from backend.commands.in_force import load_current_table, make_patchbay
from backend.commands.terminal import Json, out, print_json
from backend.printing import TextTable

if TYPE_CHECKING:
    from backend.utils.llm import QosInfo

app = make_command_app()


@app.command()
def list_features(*, as_json: Json = False) -> None:
    """List every feature, with the endpoints that it runs on."""
    qos = make_patchbay(load_current_table(as_json=as_json)).get_qos_info()
    if as_json:
        print_json(qos.model_dump(mode="json"))
    else:
        _print_features(qos)


def _print_features(qos: QosInfo) -> None:
    from backend.tools.retirements import make_retirement_headline

    rows = [
        (name, feature.endpoint or "nothing", ", ".join(feature.chain[1:]), feature.layer)
        for name, feature in qos.features.items()
    ]
    out.print(TextTable(("feature", "runs on", "then", "set by"), rows))
    out.print()
    for name, feature in qos.features.items():
        if feature.problem:
            out.print(f"{name}: {feature.problem}", markup=False)
    out.print(f"profile {qos.profile} ({qos.profile_layer}), table {qos.table_hash}", markup=False)
    if (line := make_retirement_headline(qos.retirements)) is not None:
        out.print(line, markup=False)
    if qos.demo_active:
        variables = ", ".join(name for provider in qos.providers.values() for name in provider.api_key_envs)
        out.print(
            f"DEMO: no provider's key is configured, so {qos.demo} serves everything. Set one of {variables}."
        )
