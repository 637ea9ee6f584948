"""Starts the provider and a worker for each peer, and lets the workers take turns."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from .cores import first_and_last
from .counters import Counters
from .environments import ROOT, python_of
from .peers import PEERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .shapes import Task

PATIENCE = 120.0
"""Seconds that a worker may take for one batch."""
FEWEST, MOST = 3, 3000
"""Calls in one batch."""
SETTINGS = {
    "PYTHONPATH": str(ROOT),
    "PYTHONHASHSEED": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PATH": "/usr/bin:/bin",
}
"""The whole environment of provider and workers: no proxy, no key and no tracing of whoever starts them."""


class BenchmarkError(Exception):
    """A peer failed, so nothing is compared."""


class Batch(NamedTuple):
    """What one call of a batch cost, in seconds.

    Attributes:
        cpu: Of the whole process, all threads.
        requests: That the provider got for each call.
        connections: That were opened for each call.
    """

    cpu: float
    wall: float
    p50: float
    p99: float
    requests: float
    connections: float


class Cannot(NamedTuple):
    """Why a peer was not measured."""

    reason: str


class Measured(NamedTuple):
    """The batches of a peer, one for each round."""

    batches: tuple[Batch, ...]

    @property
    def best(self) -> float:
        """CPU seconds of a call in the round that was disturbed least."""
        return min(batch.cpu for batch in self.batches)

    def typical(self, name: str) -> float:
        """The median of one of the attributes of `Batch`."""
        return float(median(getattr(batch, name) for batch in self.batches))

    def ratio_to(self, other: Measured) -> float:
        """CPU beside another's: the median of the rounds, in each of which both ran right after one another."""
        return median(mine.cpu / yours.cpu for mine, yours in zip(self.batches, other.batches, strict=True))


Result = Measured | Cannot


class _Child:
    """A process of ours that is told by lines."""

    def __init__(self, python: str, *arguments: str) -> None:
        command = [python, "-m", *arguments]
        self.name = " ".join(arguments[:2])
        self._process = subprocess.Popen(  # noqa: S603 - ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=SETTINGS
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def read(self) -> str:
        """The next line."""
        if self._process.stdout is None:
            raise BenchmarkError(f"{self.name} has no output")
        patience = threading.Timer(PATIENCE, self._process.kill)
        patience.start()
        try:
            line = self._process.stdout.readline()
        finally:
            patience.cancel()
        if not line:
            raise BenchmarkError(f"{self.name} has ended, or took longer than {PATIENCE:.0f} s")
        return line

    def write(self, line: str) -> None:
        """Tell it something."""
        if self._process.stdin is not None:
            print(line, file=self._process.stdin, flush=True)

    def stop(self) -> None:
        """End it, at once if need be."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Conductor:
    """The provider and the workers, for as long as the context lasts.

    Args:
        peers: Names in `PEERS`. Their environments are built if need be.
    """

    def __init__(self, peers: Iterable[str]) -> None:
        self._pythons = {peer: str(python_of(PEERS[peer].environment)) for peer in peers}
        self._workers: dict[str, _Child] = {}
        self._calls: dict[tuple[str, Task], int | Cannot] = {}

    def __enter__(self) -> Self:
        clients, provider = first_and_last()
        self._provider = _Child(sys.executable, "benchmarks.provider", str(provider))
        self._url = f"http://127.0.0.1:{int(self._provider.read())}"
        try:
            for peer, python in self._pythons.items():
                self._workers[peer] = _Child(python, "benchmarks.worker", peer, self._url, str(clients))
            for worker in self._workers.values():
                worker.read()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in (*self._workers.values(), self._provider):
            child.stop()

    def measure(self, task: Task, peers: Sequence[str], *, rounds: int, seconds: float) -> dict[str, Result]:
        """What ``task`` costs each of the peers, in rounds in which they take turns.

        Args:
            task: What is called.
            peers: Who calls.
            rounds: How often each has its turn; every other round is in reverse order.
            seconds: CPU time that one batch is to take.
        """
        self._settings(latency=task.latency, pace=task.pace)
        sizes = {peer: self._size(peer, task, seconds) for peer in peers}
        found: dict[str, list[Batch]] = {peer: [] for peer, size in sizes.items() if isinstance(size, int)}
        for number in range(rounds):
            for peer in list(found)[:: -1 if number % 2 else 1]:
                found[peer].append(self._batch(peer, task, sizes[peer]))
        return {
            peer: Measured(tuple(found[peer])) if isinstance(size, int) else size
            for peer, size in sizes.items()
        }

    def count(self, task: Task, peer: str) -> Counters | Cannot:
        """What one call costs that no noise changes."""
        self._settings(latency=0, pace=0)
        reply = self.ask(peer, do="count", task=task)
        return Cannot(reply["cannot"]) if "cannot" in reply else Counters(**reply)

    def ask(self, peer: str, **request: Any) -> dict[str, Any]:
        """Tell a worker to do something.

        Raises:
            BenchmarkError: If it failed.
        """
        worker = self._workers[peer]
        worker.write(json.dumps(request))
        reply: dict[str, Any] = json.loads(worker.read())
        if "error" in reply:
            raise BenchmarkError(f"{peer} failed at {request}:\n{reply['error']}")
        return reply

    def _size(self, peer: str, task: Task, seconds: float) -> int | Cannot:
        """How many calls take so long; a small batch tells, which warms up too."""
        if (peer, task) not in self._calls:
            least = max(FEWEST, task.concurrency)
            reply = self.ask(peer, do="run", task=task, calls=least)
            self._calls[peer, task] = (
                Cannot(reply["cannot"])
                if "cannot" in reply
                else max(least, min(MOST, round(seconds / reply["cpu"])))
            )
        return self._calls[peer, task]

    def _batch(self, peer: str, task: Task, calls: int | Cannot) -> Batch:
        before = self._counts()
        reply = self.ask(peer, do="run", task=task, calls=calls)
        after = self._counts()
        made = reply["calls"] + reply["warm_up"]
        requests, connections = (after[name] - before[name] for name in ("requests", "connections"))
        if requests != made * PEERS[peer].sends:
            raise BenchmarkError(f"{peer} sent {requests} requests for {made} calls of {task}")
        return Batch(
            cpu=reply["cpu"],
            wall=reply["wall"],
            p50=reply["p50"],
            p99=reply["p99"],
            requests=requests / made,
            connections=connections / made,
        )

    def _settings(self, **settings: int) -> None:
        self._control("/settings?" + "&".join(f"{name}={value}" for name, value in settings.items()))

    def _counts(self) -> dict[str, int]:
        return self._control("/counts")

    def _control(self, path: str) -> dict[str, int]:
        with urllib.request.urlopen(self._url + path, timeout=10) as answer:  # noqa: S310 - our own provider
            counts: dict[str, int] = json.load(answer)
            return counts
