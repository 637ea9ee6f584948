"""What no noise changes: how many functions one call runs, how much memory it takes and keeps."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .instructions import Instructions

PROFILED, KEPT = 5, 50
"""Calls that are looked at."""


class Counters(NamedTuple):
    """Of one asynchronous call whose connection is open, all threads.

    Attributes:
        python_calls: Functions of Python that it ran.
        c_calls: Built-in functions that it ran.
        peak_kb: Memory that Python allocated meanwhile, at its most.
        blocks_kept: Of memory, when it is over: what is remembered of every call.
        instructions: Millions of them, if the machine tells.
    """

    python_calls: float
    c_calls: float
    peak_kb: float
    blocks_kept: float
    instructions: float | None


def counted(
    acall: Callable[[], Awaitable[Any]], runner: asyncio.Runner, instructions: Instructions
) -> Counters:
    """Look at some calls, after others that warm up."""
    runner.run(_repeat(acall, KEPT))
    python_calls, c_calls = _functions(acall, runner)
    return Counters(
        python_calls=python_calls,
        c_calls=c_calls,
        peak_kb=_peak(acall, runner),
        blocks_kept=_kept(acall, runner),
        instructions=_instructions(acall, runner, instructions),
    )


def _functions(acall: Callable[[], Awaitable[Any]], runner: asyncio.Runner) -> tuple[float, float]:
    found = {"call": 0, "c_call": 0}

    def note(_frame: object, event: str, _argument: object) -> None:
        if event in found:
            found[event] += 1

    async def profiled() -> None:
        # Threads are profiled from their start only, so those that a client hops to have to be new.
        threading.setprofile(note)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await _repeat(acall, 1)
        for name in found:
            found[name] = 0
        sys.setprofile(note)
        await _repeat(acall, PROFILED)
        sys.setprofile(None)
        threading.setprofile(None)

    runner.run(profiled())
    runner.run(_renew_executor())
    return found["call"] / PROFILED, found["c_call"] / PROFILED


def _peak(acall: Callable[[], Awaitable[Any]], runner: asyncio.Runner) -> float:
    peaks = []
    tracemalloc.start()
    for _ in range(PROFILED):
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        runner.run(_repeat(acall, 1))
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return min(peaks) / 1024


def _kept(acall: Callable[[], Awaitable[Any]], runner: asyncio.Runner) -> float:
    runner.run(_repeat(acall, KEPT))
    gc.collect()
    before = sys.getallocatedblocks()
    runner.run(_repeat(acall, KEPT))
    gc.collect()
    return (sys.getallocatedblocks() - before) / KEPT


def _instructions(
    acall: Callable[[], Awaitable[Any]], runner: asyncio.Runner, instructions: Instructions
) -> float | None:
    before = instructions.now()
    runner.run(_repeat(acall, KEPT))
    after = instructions.now()
    return None if before is None or after is None else (after - before) / KEPT / 1e6


async def _repeat(acall: Callable[[], Awaitable[Any]], times: int) -> None:
    for _ in range(times):
        await acall()


async def _renew_executor() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
