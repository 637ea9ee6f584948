"""What ten thousand callers with keys of their own cost, beyond one caller's ten thousand calls.

    PYTHONPATH=. .venv/bin/python -m benchmarks.callers [--calls 10000]

One caller makes 10,000 calls, 32 at once; then each of 10,000 callers makes one, in the same process. The provider runs
in another one and checks every key. Compared are memory, once garbage is collected and free memory given back, sockets,
and clients. The same is done with ``user_limits`` in the table, where each key must be counted. At last there is a
call over TLS, 5.5 seconds of idleness, and another call: how many connections did that take?

Prints a table in Markdown, in about five minutes. Exit code 1 if it costs 5 MB or more, a socket more than are in flight,
a client, a wrong key, or a second connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from backend.utils.llm import Caller, Patchbay, Table, get_llm, use, use_caller

from .process import descriptors, settled_rss_mb, told_by
from .witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE = 32
MOST_MB, GOAL_MB = 5.0, 0.5
IDLE_SECONDS = 5.5


@dataclass(frozen=True)
class Reading:
    """What is held, and what the provider has seen so far."""

    rss_mb: float
    descriptors: int
    clients: int
    connections: int
    wrong_keys: int


class Cost(NamedTuple):
    """What some calls cost. Sockets are all that were opened for them."""

    memory_mb: float
    sockets: int
    clients: int
    wrong_keys: int


def main() -> int:
    """Measure with and without limits, and once over TLS; print; judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    one, many = in_a_fresh_process(_program(calls, ""))
    _, limited = in_a_fresh_process(_program(calls, 'user_limits = { requests = "1000000/minute" }'))
    connections = connections_after_idleness()
    print_header()
    print_row(f"one caller with a key, {calls} calls", one)
    print_row(f"{calls} callers with keys, beyond that", many)
    print_row("the same with `user_limits`, beyond one caller's calls", limited)
    print(
        f"\nConnections over TLS for two calls with {IDLE_SECONDS} s between them: {connections or 'no openssl'}."
    )
    faults = faults_of(many, connections)
    print(f"\nMissed: {'; '.join(faults)}." if faults else f"\nKept. The goal is {GOAL_MB} MB.")
    return 1 if faults else 0


def print_header() -> None:
    """In Markdown."""
    print("| | memory | sockets opened | clients built | wrong keys |")
    print("|---|---|---|---|---|")


def print_row(title: str, cost: Cost) -> None:
    """In Markdown."""
    print(
        f"| {title} | {cost.memory_mb:+.2f} MB | {cost.sockets} | {cost.clients} | {cost.wrong_keys} |",
        flush=True,
    )


def faults_of(many: Cost, connections: int | None = None) -> list[str]:
    """Which gates are missed."""
    told = {
        f"{many.memory_mb:.1f} MB": many.memory_mb >= MOST_MB,
        f"{many.sockets} sockets": many.sockets > AT_ONCE,
        f"{many.clients} clients": many.clients > 0,
        f"{many.wrong_keys} wrong keys": many.wrong_keys > 0,
        f"{connections} TLS connections": connections not in {1, None},
    }
    return [fault for fault, is_missed in told.items() if is_missed]


# Calls -----------------------------------------------------------------------------------------------------------------


def _program(calls: int, limits: str) -> str:
    return f"from benchmarks.callers import told; told({calls}, {limits!r})"


def in_a_fresh_process(program: str) -> tuple[Cost, Cost]:
    """What one caller's calls cost, and those of as many callers after them, as ``program`` tells it."""
    found = told_by(program)
    names = Cost._fields
    one, many = ([found[f"{who} {name}"] for name in names] for who in ("one", "many"))
    return Cost(one[0], *map(int, one[1:])), Cost(many[0], *map(int, many[1:]))


def told(calls: int, limits: str) -> None:
    """Make all calls in this process, and print as JSON what they cost."""
    with Witness() as witness, use(Patchbay(table(witness.origin, limits))) as patchbay:
        costs = asyncio.run(measured(patchbay, witness, calls))
    tell(*costs)


def tell(*costs: Cost) -> None:
    """Print as JSON what one caller costs, and what many do."""
    named = {
        f"{who} {name}": value
        for who, cost in zip(("one", "many"), costs, strict=True)
        for name, value in cost._asdict().items()
    }
    print(json.dumps(named))


def table(origin: str, limits: str) -> Table:
    """One endpoint, that no key of the house is for."""
    text = f"""
[providers.alpha]
api = "openai"
base_url = "{origin}/alpha/v1"
api_key_env = "ALPHA"
{limits}
[profiles.premium]
greet = "alpha:a1"
[profiles.byok]
extends = "premium"
"""
    return Table(text=text, environ={})


async def measured(patchbay: Patchbay, witness: Witness, calls: int) -> tuple[Cost, Cost]:
    """One caller's calls, warmed up by a tenth of them; then as many callers."""
    await _make(calls // 10, lambda _: 0)
    readings = [read(patchbay, witness)]
    for who in (lambda _: 0, lambda number: number):
        await _make(calls, who)
        readings.append(read(patchbay, witness))
    await patchbay.aclose()
    first, second, third = readings
    return cost(first, second), cost(second, third)


async def _make(calls: int, who: Callable[[int], int]) -> None:
    numbers = iter(range(1, calls + 1))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(_work(numbers, who))


async def _work(numbers: Iterator[int], who: Callable[[int], int]) -> None:
    for number in numbers:
        await call(f"u{who(number)}", number)


async def call(user: str, number: int) -> None:
    """One call on behalf of ``user``, with their key."""
    with use_caller(Caller(user_id=user, keys={"alpha": SecretStr(f"alpha-{user}")})):
        answer = await get_llm("greet").ainvoke(f"plain #{number} for {user}")
    if answer.text != f"the answer to {number}":
        raise RuntimeError(f"{user} was answered {answer.text!r}")


def read(patchbay: Patchbay, witness: Witness) -> Reading:
    """Everything that is compared."""
    counts = witness.counts()
    rss, clients = settled_rss_mb(), len(patchbay.runtime.clients)
    return Reading(rss, descriptors(), clients, counts["connections"], counts["wrong keys"])


def cost(before: Reading, after: Reading) -> Cost:
    """What came between the two."""
    return Cost(
        after.rss_mb - before.rss_mb,
        after.connections - before.connections,
        after.clients - before.clients,
        after.wrong_keys - before.wrong_keys,
    )


# TLS -------------------------------------------------------------------------------------------------------------------


def connections_after_idleness() -> int | None:
    """Connections for two calls with idleness between them; None where there is no openssl to make a certificate."""
    if shutil.which("openssl") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        certificate = _certificate(Path(folder, "provider.pem"))
        program = f"from benchmarks.callers import told_of_idleness; told_of_idleness({str(certificate)!r})"
        return int(told_by(program, environ={"SSL_CERT_FILE": str(certificate)})["connections"])


def _certificate(path: Path) -> Path:
    """A key and a certificate for it, of nobody but itself."""
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(  # noqa: S603 - nothing of it comes from outside
        ["openssl", *made.split(), "-keyout", str(path), "-out", str(path.with_suffix(".crt"))],  # noqa: S607 - whichever comes first
        check=True,
        capture_output=True,
    )
    with path.open("a", encoding="ascii") as both:
        both.write(path.with_suffix(".crt").read_text(encoding="ascii"))
    return path


def told_of_idleness(certificate: str) -> None:
    """Two calls, in a process that trusts the certificate; print how many connections were made."""
    with (
        Witness(Path(certificate)) as witness,
        use(Patchbay(table(witness.origin, ""))) as patchbay,
    ):
        asyncio.run(_twice(patchbay))
        print(json.dumps({"connections": witness.counts()["connections"]}))


async def _twice(patchbay: Patchbay) -> None:
    await call("u1", 1)
    await asyncio.sleep(IDLE_SECONDS)
    await call("u1", 2)
    await patchbay.aclose()


if __name__ == "__main__":
    sys.exit(main())
