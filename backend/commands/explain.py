"""``explain``: shows where a call would run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands import completion
from backend.commands.groups import make_command_app
from backend.commands.in_force import FeatureName, load_current_table, make_patchbay, open_budget_counters
from backend.commands.terminal import ExitStatus, Json, exit_on_storage_errors, out, print_json
from backend.printing import TextTable

if TYPE_CHECKING:
    from backend.utils.llm import Route

app = make_command_app()


@app.command()
def explain_feature_route(  # noqa: PLR0913 - one for each option of the command line
    feature: FeatureName,
    *,
    tools: Annotated[bool | None, typer.Option(help="The call binds tools.")] = None,
    structured: Annotated[bool | None, typer.Option(help="The call wants structured output.")] = None,
    images: Annotated[bool | None, typer.Option(help="The call sends images.")] = None,
    audio: Annotated[bool | None, typer.Option(help="The call sends sounds.")] = None,
    video: Annotated[bool | None, typer.Option(help="The call sends videos.")] = None,
    pdf: Annotated[bool | None, typer.Option(help="The call sends PDFs.")] = None,
    tokens: Annotated[int, typer.Option(help="Length of the prompt, in tokens.", min=0)] = 0,
    byok: Annotated[
        list[str] | None,
        typer.Option(
            help="As a caller who brought a key for this provider. May be repeated.",
            autocompletion=completion.complete_providers,
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(help="As this user.")] = None,
    tenant: Annotated[str | None, typer.Option(help="As of this tenant.")] = None,
    tier: Annotated[str | None, typer.Option(help="As a caller of this tier.")] = None,
    conversation: Annotated[str | None, typer.Option(help="As part of this conversation.")] = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="Also what would follow each failure.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where a call of FEATURE would run now, and why; exit 1 if nothing can serve it. Sends nothing.

    Options that are not given default to what the feature's row of the table declares.
    """
    from backend.utils.llm import Caller

    given = {
        "tools": tools,
        "structured_output": structured,
        "images": images,
        "audio": audio,
        "video": video,
        "pdf": pdf,
        "tokens": tokens,
    }
    stated_needs: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    keys = dict.fromkeys(byok or (), "a-key")
    caller = Caller(user_id=user, tenant_id=tenant, tier=tier, conversation_id=conversation, keys=keys)
    table = load_current_table(as_json=as_json)
    with exit_on_storage_errors(as_json=as_json), open_budget_counters(table) as budgets:
        patchbay = make_patchbay(table, budgets=budgets)
        needs = patchbay.declared_needs(feature)._replace(**stated_needs)
        route = patchbay.explain(feature, caller=caller, needs=needs)
    if as_json:
        print_json(route.as_dict())
    else:
        out.print(str(route), markup=False)
        if failures:
            _print_failures(route)
    if not route.candidates:
        raise typer.Exit(ExitStatus.NO)


def _print_failures(route: Route) -> None:
    """Print what would happen after each kind of failure of the first endpoint."""
    from backend.utils.llm.diagnostics.estimates import find_failure_consequences
    from backend.utils.llm.failures import POLICY

    if not route.candidates:
        return
    first = route.candidates[0]
    rows = [
        (POLICY[category].sentence, str(what.requests), what.then)
        for category, what in find_failure_consequences(route.feature, first.endpoint, first.owner).items()
    ]
    out.print(f"\n{first.endpoint}, {first.owner}'s key", markup=False)
    out.print(TextTable(("if it", "requests", "then"), rows))
