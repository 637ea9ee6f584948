"""``keys``: makes and rotates the master keys."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    Json,
    current_os_user,
    err,
    exit_on_storage_errors,
    open_audited_sessions,
    out,
    print_json,
    read_settings,
)

if TYPE_CHECKING:
    from backend.keys.rotation import RotationResult
    from backend.settings import Settings

app = make_command_app("The master keys, which lock the keys that users store.", no_args_is_help=True)


@app.command("rotate")
def rotate_master_key(*, as_json: Json = False) -> None:
    """Encrypt every user's key anew, under a new master key. Servers may be running.

    If PATCHBAY_MASTER_KEYS holds the master keys, first put the new master key at its front, and restart the
    servers.
    """
    with exit_on_storage_errors(as_json=as_json):
        done = asyncio.run(_rotate(read_settings()))
    if as_json:
        print_json(done._asdict())
        return
    out.print(f"{done.locked_anew} keys were locked anew, under the master key {done.master}.", markup=False)
    if done.unreadable:
        err.print(
            f"{done.unreadable} could not be opened: their master key is gone. Their users can store them again."
        )


@app.command("new")
def make_master_key(*, as_json: Json = False) -> None:
    """Make a new master key for PATCHBAY_MASTER_KEYS, and print it. It is not stored or used yet."""
    from backend.keys.master_keys import MasterKey

    made = MasterKey.generate()
    if as_json:
        print_json({"name": made.name, "master_key": made.to_text()})
    else:
        sys.stdout.write(f"{made.to_text()}\n")


async def _rotate(settings: Settings) -> RotationResult:
    from backend.database.audit import record_audit_event
    from backend.database.keys import SqlKeyStore
    from backend.keys.master_keys import load_master_keys
    from backend.keys.rotation import rotate_master_key
    from backend.utils.llm.clock import Time

    async with open_audited_sessions(settings) as sessions:
        master_keys = load_master_keys(settings.master_keys, settings.master_keys_path)
        done = await rotate_master_key(SqlKeyStore(sessions), master_keys)
        async with sessions.begin() as session:
            facts = {"locked_anew": done.locked_anew, "unreadable": done.unreadable}
            now = Time().now()
            await record_audit_event(
                session, "master_key.rotated", done.master, actor=current_os_user(), now=now, details=facts
            )
        return done
