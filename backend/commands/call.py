"""``call``: one call of a feature, to try it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from backend.commands.groups import commands
from backend.commands.in_force import FeatureName, counters, patchbay_of, table_in_force
from backend.commands.terminal import Json, err, errors, out, print_json, read_settings, storage_errors
from backend.printing import receipt_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm import Needs, Patchbay, Route

app = commands()


@app.command()
def call(
    feature: FeatureName,
    text: Annotated[str, typer.Argument(help="What to say to the model; - reads standard input.")],
    *,
    as_json: Json = False,
) -> None:
    """Call FEATURE with TEXT, stream the answer, and print its receipt."""
    from backend.utils.llm import Needs

    prompt = sys.stdin.read() if text == "-" else text
    with errors(as_json=as_json), running(feature, Needs(), as_json=as_json) as patchbay:
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
            err.print(receipt_line(receipt or {}), markup=False)


@contextmanager
def running(feature: str, needs: Needs | None = None, *, as_json: bool) -> Iterator[Patchbay]:
    """Open a `Patchbay` on the table in force, ready for a call of ``feature``, and close it when the context ends.

    The embedded model is started if the call would run on it.

    Args:
        feature: The feature that will be called.
        needs: What the call needs of a model; by default what the feature's row declares.
        as_json: Whether the command prints JSON: then errors are JSON, and nothing is said about starting a model.
    """
    from backend.local_model import LocalModel
    from backend.settings import environment

    local_model = LocalModel(read_settings().local_llm_gguf, environ=environment())
    table = table_in_force(as_json=as_json)
    with storage_errors(as_json=as_json), counters(table) as budgets:
        patchbay = patchbay_of(table, local_model=local_model, budgets=budgets)
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
