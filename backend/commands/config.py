"""``config``: shows the table in force in each process, and its overrides."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.commands.groups import make_command_app
from backend.commands.in_force import load_current_table, make_patchbay
from backend.commands.terminal import (
    Json,
    err,
    exit_on_storage_errors,
    open_sessions,
    out,
    print_json,
    read_settings,
)
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.console.views.config import ConfigView
    from backend.ledger.usage import RecentWorker
    from backend.overrides import OverrideRecord
    from backend.settings import Settings

app = make_command_app()


@app.command()
def show_config(*, as_json: Json = False) -> None:
    """Show the table in force: its file, problems and overrides, and its hash in each process with recent calls.

    Recent calls are those within the last hour.
    """
    from pydantic_core import to_jsonable_python

    from backend.console.views.config import make_config_view

    table = load_current_table(as_json=as_json)
    with exit_on_storage_errors(as_json=as_json):
        workers, kept = asyncio.run(_stored(read_settings()))
    view = make_config_view(make_patchbay(table).get_qos_info(), workers, kept, datetime.now(UTC))
    if as_json:
        print_json(to_jsonable_python(view))
    else:
        _print(view)


async def _stored(settings: Settings) -> tuple[Sequence[RecentWorker], Sequence[OverrideRecord]]:
    from backend.console.views.config import PAST
    from backend.database.overrides import SqlOverrideStore
    from backend.database.usage import SqlUsageStore

    async with open_sessions(settings) as sessions:
        workers = await SqlUsageStore(sessions.kw["bind"]).list_recent_workers()
        return workers, await SqlOverrideStore(sessions).list_recent(PAST)


def _print(view: ConfigView) -> None:
    from backend.console import wording

    out.print(f"table {view.table_hash}, {view.source or 'of no file'}", markup=False)
    out.print(
        f"profile {view.profile} ({view.profile_layer}), of users' keys {view.byok_profile}", markup=False
    )
    for problem in view.problems:
        err.print(f"not in force: {problem}", markup=False)
    layers = ", ".join(f"{layer.name}: {layer.features}" for layer in view.layers)
    out.print(f"chains decided by {layers}", markup=False)
    if view.overrides:
        out.print(
            TextTable(
                ("override of", "served by", "author", "ends", "state", "reason"),
                [
                    (
                        override.subject,
                        ", ".join(override.links) or "nobody",
                        override.author,
                        wording.format_time_until(override.until, view.at),
                        override.state,
                        override.reason,
                    )
                    for override in view.overrides
                ],
            )
        )
    if view.workers:
        rows = [
            (
                worker.writer,
                worker.table_hash,
                "drifts" if worker.drifts else "",
                wording.format_time_ago(worker.at, view.at),
            )
            for worker in view.workers
        ]
        out.print(TextTable(("process", "table", "", "last attempt"), rows))
