"""``call``: calls a feature once, to try it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.groups import make_command_app
from backend.commands.in_force import FeatureName, load_current_table, make_patchbay, open_budget_counters
from backend.commands.terminal import (
    Json,
    err,
    exit_on_errors,
    exit_on_storage_errors,
    out,
    print_json,
    read_settings,
)
from backend.printing import format_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm import Needs, Patchbay, Route

app = make_command_app()


@app.command()
def call_feature(
    feature: FeatureName,
    text: Annotated[str, typer.Argument(help="What to say to the model; - reads standard input.")],
    *,
    as_json: Json = False,
) -> None:
    """Call FEATURE with TEXT, stream the answer, and print its receipt."""
    from backend.utils.llm import Needs

    prompt = sys.stdin.read() if text == "-" else text
    with (
        exit_on_errors(as_json=as_json),
        open_feature_patchbay(feature, Needs(), as_json=as_json) as patchbay,
    ):
        receipt, answer = None, []
        for chunk in patchbay.get_llm(feature).stream(prompt):
            answer.append(chunk.text)
            receipt = chunk.response_metadata.get("receipt", receipt)
            if not as_json:
                out.print(chunk.text, end="", markup=False)
        if as_json:
            print_json({"text": "".join(answer), "receipt": receipt})
        else:
            out.print()
            err.print(format_receipt(receipt or {}), markup=False)


@contextmanager
def open_feature_patchbay(feature: str, needs: Needs | None = None, *, as_json: bool) -> Iterator[Patchbay]:
    """Open a `Patchbay` with the table in force, to call ``feature``, and close it at the end of the context.

    The embedded model is started if the call would run on it.

    Args:
        feature: The feature that will be called.
        needs: The capabilities that the call needs of a model; None for those in the feature's row.
        as_json: Whether the command prints JSON: errors are then JSON, and the start of the embedded model
            is not announced.
    """
    from backend.local_model import LocalModel
    from backend.settings import read_environment

    local_model = LocalModel(read_settings().local_llm_gguf, environ=read_environment())
    table = load_current_table(as_json=as_json)
    with exit_on_storage_errors(as_json=as_json), open_budget_counters(table) as budgets:
        patchbay = make_patchbay(table, local_model=local_model, budgets=budgets)
        try:
            if _embedded(patchbay.explain(feature, needs=needs, balances=False)):
                local_model.start()
                if not as_json:
                    err.print(f"{feature} is served by {local_model.label}. Starting it…", markup=False)
            yield patchbay
        finally:
            patchbay.close()
            local_model.stop()


def _embedded(route: Route) -> bool:
    return any(candidate.endpoint.provider.access == "embedded" for candidate in route.candidates)
