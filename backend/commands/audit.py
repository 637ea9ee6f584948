"""``audit``: the audit trail of people's decisions, and its verification."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.groups import make_command_app
from backend.commands.terminal import (
    ExitStatus,
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

    from backend.database.verification import ChainVerificationResult
    from backend.ledger.audit import AuditEntry

app = make_command_app(
    no_args_is_help=True, help="What persons decided, in chains of hashes that signed heads join."
)


@app.command("list")
def list_audit_entries(
    *,
    kind: Annotated[
        str | None, typer.Option(help="Of this kind, such as override.set, or override for all of them.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="About this feature, endpoint, key or token.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """List the newest entries of the audit trail."""
    with exit_on_storage_errors(as_json=as_json):
        found = asyncio.run(_entries(limit, kind, subject))
    if as_json:
        print_json([_shown(entry) for entry in found])
        return
    rows = [(_moment(entry.at), entry.actor, entry.kind, entry.subject, entry.details) for entry in found]
    out.print(TextTable(("at", "who", "what", "of", "details"), rows))


@app.command("verify")
def verify_hash_chains(
    *,
    expect: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Fail if no head has this hash, which you noted before."),
    ] = None,
    attempts: Annotated[
        bool, typer.Option(help="Also every attempt in the ledger: half a minute for a million.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Verify the hash chains of the audit trail and the ledger, and name what is broken.

    The exit status is 0 if all chains are intact, 3 if a link is broken, and 4 if the newest signed heads
    cannot be verified, because their master key is gone. If the newest entries and heads were cut off, only
    --expect shows it: note the hash of a head elsewhere, as the server's log does, and pass it.
    """
    with exit_on_storage_errors(as_json=as_json):
        found = asyncio.run(_verified(expect, attempts=attempts))
    if as_json:
        print_json(_report(found))
    else:
        _print(found)
    if found.breaks:
        raise typer.Exit(ExitStatus.BROKEN)
    if found.unverified:
        raise typer.Exit(ExitStatus.UNVERIFIED)


def _print(found: ChainVerificationResult) -> None:
    for item in found.breaks:
        err.print(f"{item.fault}: {item.where}: {item.says}.", markup=False)
    if found.unverified:
        err.print(f"Of {found.unverified} heads nobody can tell who signed them: their master key is gone.")
    verdict = "is broken" if found.breaks else "holds"
    counts = f"{found.entries} entries and {found.attempts} attempts under {found.heads} signed heads"
    out.print(f"{counts}: the trail {verdict}.", markup=False)
    if found.beside_pruned:
        out.print(f"{found.beside_pruned} attempts are beside pruned ones, so nobody can tell of these.")
    if found.last is not None:
        out.print(f"Last head, to be noted elsewhere: {found.last.number} {found.last.hash}", markup=False)


def _report(found: ChainVerificationResult) -> dict[str, Any]:
    return {
        "ok": not found.breaks and not found.unverified,
        "entries": found.entries,
        "attempts": found.attempts,
        "beside_pruned": found.beside_pruned,
        "heads": found.heads,
        "unverified_heads": found.unverified,
        "last_head": found.last and {"number": found.last.number, "hash": found.last.hash},
        "breaks": [item._asdict() for item in found.breaks],
    }


def _shown(entry: AuditEntry) -> dict[str, Any]:
    return {**entry._asdict(), "at": _moment(entry.at), "details": json.loads(entry.details)}


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds")


async def _entries(limit: int, kind: str | None, subject: str | None) -> Sequence[AuditEntry]:
    from backend.database.audit import AuditTrail

    async with open_sessions(read_settings()) as sessions:
        return await AuditTrail(sessions).list_entries(limit=limit, kind=kind, subject=subject)


async def _verified(expect: str | None, *, attempts: bool) -> ChainVerificationResult:
    from backend.database import verification
    from backend.keys.master_keys import load_master_keys
    from backend.keys.signing import AuditSigningKeys

    settings = read_settings()
    async with open_sessions(settings) as sessions:
        keys = AuditSigningKeys(load_master_keys(settings.master_keys, settings.master_keys_path))
        return await verification.verify_hash_chains(
            sessions, keys, expected_hash=expect, include_ledger=attempts
        )
