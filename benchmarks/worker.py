"""One peer in a process of its own: told by lines of JSON what to run, it answers with what that cost.

python -m benchmarks.worker PEER URL CORE
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TextIO

from .cores import stay_on
from .counters import counted
from .instructions import Instructions
from .peers import PEERS
from .shapes import EXPECTED, Task, prompt_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .peers import Peer, Way
    from .shapes import Shape

Reply = dict[str, Any]


class CannotError(Exception):
    """The peer has no such thing."""


class Worker:
    """Runs batches of calls. Its event loop and its threads stay, as a server's do."""

    def __init__(self, peer: Peer, runner: asyncio.Runner, instructions: Instructions) -> None:
        self._instructions = instructions
        self._peer = peer
        self._runner = runner
        self._ways: dict[Shape, Way] = {}
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._verified: set[tuple[Shape, str]] = set()

    def run(self, task: Task, calls: int) -> Reply:
        """What ``calls`` calls cost, after as many as are in flight at once: these open the connections."""
        way = self._ready(task)
        warm_up = task.concurrency
        self._batch(way, task, warm_up)
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        seconds = self._batch(way, task, calls)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        seconds.sort()
        return {
            "calls": calls,
            "warm_up": warm_up,
            "cpu": cpu / calls,
            "wall": wall / calls,
            "p50": seconds[len(seconds) // 2],
            "p99": seconds[int(len(seconds) * 0.99)],
        }

    def count(self, task: Task) -> Reply:
        """What one call costs that no noise changes. See `Counters`."""
        way = self._ready(task)
        prompt = prompt_of(task.prompt)
        return counted(lambda: way.acall(prompt), self._runner, self._instructions)._asdict()

    def lookups(self) -> Reply:
        """What `get_llm` costs. Of ours only."""
        from .lookups import lookups

        return dict(lookups())

    def _ready(self, task: Task) -> Way:
        way = self._ways.get(task.shape) or self._peer.way(task.shape)
        if way is None:
            raise CannotError(f"no {task.shape}")
        if task.mode == "sync" and way.call is None:
            raise CannotError("no synchronous calls")
        if task.mode == "sync" and task.concurrency > 1 and not way.is_for_threads:
            raise CannotError("one thread only")
        self._ways[task.shape] = way
        if (task.shape, task.mode) not in self._verified:
            self._verify(way, task)
            gc.collect()
            gc.freeze()  # modules and clients stay: walking them before each batch would take longer than the batch
            self._verified.add((task.shape, task.mode))
        return way

    def _verify(self, way: Way, task: Task) -> None:
        """Nobody is fast by doing nothing."""
        prompt = prompt_of(task.prompt)
        if task.mode == "sync" and way.call is not None:
            answer = way.call(prompt)
        else:
            answer = self._runner.run(_once(way, prompt))
        if (found := way.read(answer)) != EXPECTED[task.shape]:
            raise ValueError(f"the answer to {task} is not the provider's, but {found!r}")

    def _batch(self, way: Way, task: Task, calls: int) -> list[float]:
        prompt = prompt_of(task.prompt)
        if task.mode == "async":
            return self._runner.run(_async_batch(way, prompt, calls, task.concurrency))
        if way.call is None:
            raise CannotError("no synchronous calls")
        if task.concurrency == 1:
            return [_timed(way.call, prompt) for _ in range(calls)]
        pool = self._pools.setdefault(task.concurrency, ThreadPoolExecutor(task.concurrency))
        call = way.call
        return list(pool.map(lambda _: _timed(call, prompt), range(calls)))


async def _once(way: Way, prompt: str) -> Any:
    return await way.acall(prompt)


async def _async_batch(way: Way, prompt: str, calls: int, concurrency: int) -> list[float]:
    left, seconds = iter(range(calls)), list[float]()

    async def lane() -> None:
        for _ in left:
            began = time.perf_counter()
            await way.acall(prompt)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*(lane() for _ in range(concurrency)))
    return seconds


def _timed(call: Callable[[str], Any], prompt: str) -> float:
    began = time.perf_counter()
    call(prompt)
    return time.perf_counter() - began


def replied(worker: Worker, request: Reply) -> Reply:
    """What becomes of one request."""
    try:
        match request:
            case {"do": "run", "task": task, "calls": calls}:
                return worker.run(Task(*task), calls)
            case {"do": "count", "task": task}:
                return worker.count(Task(*task))
            case {"do": "lookups"}:
                return worker.lookups()
            case _:
                return {"error": f"nobody knows how to {request}"}
    except CannotError as error:
        return {"cannot": str(error)}
    except Exception:
        return {"error": traceback.format_exc()}


def channel() -> TextIO:
    """Standard output for replies only: what a peer prints goes where its complaints go."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def main(name: str, url: str, core: str) -> None:
    """Make the peer, and do what the lines say until they end."""
    out = channel()
    stay_on(int(core))
    instructions = Instructions()  # before there are threads
    with asyncio.Runner() as runner:
        worker = Worker(PEERS[name].make(url), runner, instructions)
        print(json.dumps({"ready": True}), file=out)
        for line in sys.stdin:
            print(json.dumps(replied(worker, json.loads(line))), file=out)
        out.flush()
        os._exit(0)  # a peer's own goodbye is not measured, and may take its time


if __name__ == "__main__":
    main(*sys.argv[1:])
