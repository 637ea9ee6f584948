"""``config``: the table in force in each process, and its overrides."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.commands.groups import commands
from backend.commands.in_force import patchbay_of, table_in_force
from backend.commands.terminal import Json, database, err, out, print_json, read_settings, storage_errors
from backend.printing import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.console.views.config import ConfigView
    from backend.ledger.usage import Worker
    from backend.overrides import KeptOverride
    from backend.settings import Settings

app = commands()


@app.command()
def config(*, as_json: Json = False) -> None:
    """The table in force: its file, its hash in every process that made calls within the hour, its overrides, its problems."""
    from pydantic_core import to_jsonable_python

    from backend.console.views.config import config_view

    table = table_in_force(as_json=as_json)
    with storage_errors(as_json=as_json):
        workers, kept = asyncio.run(_stored(read_settings()))
    view = config_view(patchbay_of(table).get_qos_info(), workers, kept, datetime.now(UTC))
    if as_json:
        print_json(to_jsonable_python(view))
    else:
        _print(view)


async def _stored(settings: Settings) -> tuple[Sequence[Worker], Sequence[KeptOverride]]:
    from backend.console.views.config import PAST
    from backend.database.overrides import SqlOverrideStore
    from backend.database.usage import SqlUsageStore

    async with database(settings) as sessions:
        workers = await SqlUsageStore(sessions.kw["bind"]).workers()
        return workers, await SqlOverrideStore(sessions).all(PAST)


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
                        one.subject,
                        ", ".join(one.links) or "nobody",
                        one.author,
                        wording.until(one.until, view.at),
                        one.state,
                        one.reason,
                    )
                    for one in view.overrides
                ],
            )
        )
    if view.workers:
        rows = [
            (one.writer, one.table_hash, "drifts" if one.drifts else "", wording.ago(one.at, view.at))
            for one in view.workers
        ]
        out.print(TextTable(("process", "table", "", "last attempt"), rows))
