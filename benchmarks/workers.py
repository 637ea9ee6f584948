"""How much more two workers answer than one, over HTTP: the service as it is shipped, on a provider that costs next to nothing.

    PYTHONPATH=. .venv/bin/python -m benchmarks.workers    # or: make workers

Takes about two minutes, and wants two cores with nothing else on them: what other work takes is told beside the result. The client,
which writes and reads bytes on connections that it keeps, and the provider, which sends bytes that are ready, take some 4 % of a core each,
and are on the same two cores. Exit code 1 if two workers answer less than `ENOUGH` times as much as one.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from backend.settings import read_environment

from .served import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH: Final = 1.8
ROUNDS: Final = 3
SECONDS: Final = 10.0
CLIENTS: Final = 32
_BODY: Final = json.dumps({"model": "summary", "messages": [{"role": "user", "content": "Hello"}]}).encode()
_TABLE: Final = """
[providers.openai]
api = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "HOUSE_KEY"

[profiles.premium]
summary = "openai:gpt-6-luna"

[profiles.byok]
extends = "premium"
"""


class Rate(NamedTuple):
    """What one service did.

    Attributes:
        answers: In a second.
        cpu: Milliseconds of processor time of all its processes for one answer.
        busiest: The part of that which one of them took, in percent.
        others: Cores that everything else on the machine took meanwhile, client and provider included.
    """

    answers: float
    cpu: float
    busiest: float
    others: float


class Service(NamedTuple):
    """A service that runs."""

    process: psutil.Process
    port: int
    token: str

    def cpus(self) -> list[float]:
        """Processor time so far of each of its processes, in seconds."""
        family = [self.process, *self.process.children(recursive=True)]
        return [sum(process.cpu_times()[:2]) for process in family]


@contextmanager
def provider() -> Iterator[int]:
    """The port of a provider."""
    command = [sys.executable, "-m", "benchmarks.provider", "-1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdout is not None  # noqa: S101 - for the type checker
        assert process.stdin is not None  # noqa: S101 - for the type checker
        yield int(process.stdout.readline())
        process.stdin.close()


@contextmanager
def service(workers: int, provider_port: int) -> Iterator[Service]:
    """A service with so many workers, whose sample is over."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "llm.toml")
        table.write_text(_TABLE.format(port=provider_port))
        variables = {
            "LLM_CONFIG": str(table),
            "HOUSE_KEY": "sk-of-the-house",
            "PATCHBAY_DATA_DIR": folder,
            "PATCHBAY_PORT": "0",
        }
        with subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-u", "-m", "backend", "serve", "--workers", str(workers)],
            stdout=subprocess.PIPE,
            text=True,
            env={**read_environment(), **variables},
        ) as process:
            try:
                port = int(_told(process, r"Open http://127\.0\.0\.1:(\d+)/"))
                yield Service(psutil.Process(process.pid), port, _told(process, r"^  (pb_\S+)"))
            finally:
                process.terminate()


def _told(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found[1]
    raise RuntimeError("the service did not start")


async def rate(service: Service) -> Rate:
    """Ask as fast as answers come, over `CLIENTS` connections."""
    clients = [await Client.connected(service.port, service.token) for _ in range(CLIENTS)]
    await _ask(clients, 2.0)
    before, machine, began = service.cpus(), _machine(), time.monotonic()
    answers = await _ask(clients, SECONDS)
    lasted = time.monotonic() - began
    each = [after - first for first, after in zip(before, service.cpus(), strict=True)]
    own = sum(each)
    others = (_machine() - machine - own) / lasted
    return Rate(answers / lasted, 1_000 * own / answers, 100 * max(each) / own, others)


async def _ask(clients: list[Client], seconds: float) -> int:
    until = time.monotonic() + seconds

    async def ask(client: Client) -> int:
        answers = 0
        while time.monotonic() < until:
            await client.ask("POST", "/v1/chat/completions", _BODY)
            answers += 1
        return answers

    return sum(await asyncio.gather(*map(ask, clients)))


def _machine() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    """Measure, and print."""
    found: dict[int, list[Rate]] = {1: [], 2: []}
    with provider() as port:
        for _ in range(ROUNDS):
            for workers, rates in found.items():
                with service(workers, port) as running:
                    rates.append(asyncio.run(rate(running)))
    print(
        "| workers | answers a second | CPU of one answer | of the busiest process | cores taken by others |"
    )
    print("|---|---|---|---|---|")
    for workers, rates in found.items():
        figures = [median(column) for column in zip(*rates, strict=True)]
        print(
            f"| {workers} | {figures[0]:.0f} | {figures[1]:.2f} ms | {figures[2]:.0f} % | {figures[3]:.2f} |"
        )
    times = median(two.answers / item.answers for item, two in zip(*found.values(), strict=True))
    print(f"\nTwo workers answer {times:.2f} times as much as one; asked: {ENOUGH}.")
    return 0 if times >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
