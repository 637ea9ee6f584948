"""Prints how each client fares on each upstream wire."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backend.tests.fakes.edges import loopback_edge
from backend.utils.llm.testing import LoopbackProvider

from .packages import NotInstalledError, installed, missing_tools
from .programs import CLIENTS, Address
from .recording import write
from .rounds import Outcome, played

if TYPE_CHECKING:
    from backend.tests.fakes.edges import Edge

    from .programs import Client

UPSTREAM: Final = {
    "via_openai": "openai:gpt-6-luna",
    "via_anthropic": "anthropic:claude-sonnet-5-5",
    "via_gemini": "gemini:gemini-3.5-flash",
}
"""The features that clients ask for, each served on another wire."""
ASSISTANT = "assistant"
"""A name that no client knows a model by."""


def main() -> int:
    """Install the clients, play their rounds, print the table; or record what they send."""
    parser = argparse.ArgumentParser(prog="benchmarks.clients", description=__doc__)
    parser.add_argument("names", nargs="*", help="some of the clients; by default all")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="ask the loopback provider itself, and keep the requests",
    )
    parser.add_argument("--model", default=ASSISTANT, help="the model to ask for while recording")
    args = parser.parse_args()
    if (cause := missing_tools()) is not None:
        print(f"Skipped: {cause}. These clients are programs for node.")
        return 0
    wanted = [client for client in CLIENTS if not args.names or client.name in args.names]
    with LoopbackProvider(served_suffix="") as provider, tempfile.TemporaryDirectory() as folder:
        if args.record is not None:
            return _record(wanted, provider, Path(folder), args.record, args.model)
        with loopback_edge(provider, Path(folder, "service"), UPSTREAM) as service:
            return _table(wanted, provider, service, Path(folder))


def _table(clients: list[Client], provider: LoopbackProvider, service: Edge, state: Path) -> int:
    columns = [f"{feature}, {kind}" for feature in UPSTREAM for kind in ("text", "tool")]
    print(f"| client | packages | wire | {' | '.join(columns)} |")
    print("|---" * (3 + len(columns)) + "|")
    faults: list[str] = []
    for client in clients:
        cells = _cells(client, provider, service, state, faults)
        named = " ".join(client.packages) or "of the tests"
        print(f"| {client.name} | {named} | {client.wire} | {' | '.join(cells)} |", flush=True)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _cells(
    client: Client, provider: LoopbackProvider, service: Edge, state: Path, faults: list[str]
) -> list[str]:
    try:
        place = installed(client.name, client.packages, state)
    except NotInstalledError as error:
        faults.append(f"{client.name}: not installed: {error}")
        return ["not installed"] * 2 * len(UPSTREAM)
    cells = []
    for feature in UPSTREAM:
        address = Address(service.origin, service.token, feature)
        for kind in ("text", "tool"):
            outcome = played(client, place, address, provider, kind)
            cells.append(_cell(outcome))
            if outcome.fault:
                faults.append(f"{client.name}, {feature}, {kind}: {outcome.fault}")
    return cells


def _cell(outcome: Outcome) -> str:
    return "**fails**" if outcome.fault else f"{outcome.seconds:.1f} s"


def _record(clients: list[Client], provider: LoopbackProvider, state: Path, folder: Path, model: str) -> int:
    """Play a tool round of each against ``provider``, and write what it sent into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    address = Address(provider.origin, "sk-canary-of-a-client", model)
    failed = 0
    for client in clients:
        place = installed(client.name, client.packages, state)
        outcome = played(client, place, address, provider, "tool")
        name = client.name if model == ASSISTANT else f"{client.name}-{model}"
        write(client, place, provider.requests, datetime.now(UTC).date(), folder / f"{name}.json")
        print(f"{client.name}: {outcome.fault or 'recorded'}")
        failed |= bool(outcome.fault)
    return failed


if __name__ == "__main__":
    sys.exit(main())
