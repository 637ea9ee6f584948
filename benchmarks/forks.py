"""Whether forked children are told their own answers, and hang at nothing.

    PYTHONPATH=. .venv/bin/python -m benchmarks.forks [ANSWERS] [FORKS]

First a parent with pooled connections, in threads and in a running event loop, and four children that it forks there
call at once, in each of four ways over both wires; and so do the workers of a process pool that the loop hands work to.
Then children are forked while six threads call, and the interpreter changes from one to the next as often as it can.
Takes a minute or two. Exit code 1 if an answer is wrong or missing, or a child hangs.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.replies import SlowFirstByte, Text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing.replies import Reply
    from backend.utils.llm.testing.transmission import ReplyContext

ANSWERS, FORKS = 3_000, 200
CHILDREN, WORKERS, THREADS, AT_ONCE, CHILDREN_AT_ONCE = 4, 2, 6, 8, 4
LIMIT = 60
"""Seconds after which a child hangs."""
ENDPOINTS = {"over_openai": "openai:gpt-6-luna", "over_gemini": "gemini:gemini-3.5-flash-lite"}
LIMITS = '[features.NAME]\ndeadline = 30\nlimits = { requests = "1000000/second", concurrency = 100 }\nselect = "latency"\n'

Told = Counter[str]


class Echo(LoopbackProvider):
    """Answers with what was asked, some sooner, some later: so answers overtake each other."""

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        """As the class."""
        return SlowFirstByte(exchange.number % 7 * 0.005, Text(exchange.prompt.turns[-1].text, chunks=3))


def serve() -> None:
    """Be the provider, until the standard input ends."""
    with Echo() as provider:
        print(json.dumps([provider.openai_url, provider.gemini_url]), flush=True)
        sys.stdin.read()


@contextmanager
def patchbay() -> Iterator[Patchbay]:
    """On a provider in a process of its own."""
    from backend.utils.llm import Patchbay, Table

    command = [sys.executable, "-m", "benchmarks.forks", "provider"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as provider:  # noqa: S603
        assert provider.stdin is not None  # noqa: S101 - they are pipes
        assert provider.stdout is not None  # noqa: S101
        openai, gemini = json.loads(provider.stdout.readline())
        rows = "\n".join(f'{name} = "{endpoint}"' for name, endpoint in ENDPOINTS.items())
        limits = "".join(LIMITS.replace("NAME", name) for name in ENDPOINTS)
        text = (
            f'[providers.openai]\napi = "openai"\nbase_url = "{openai}"\napi_key_env = "A"\n'
            f'[providers.gemini]\napi = "gemini"\nbase_url = "{gemini}"\napi_key_env = "B"\n'
            f'[profiles.premium]\n{rows}\n[profiles.byok]\nextends = "premium"\n{limits}'
        )
        try:
            yield Patchbay(Table(text=text, environ={"A": "house-key-of-a", "B": "house-key-of-b"}))
        finally:
            provider.stdin.close()


# Calls ---------------------------------------------------------------------------------------------------------------


def invoked(bay: Patchbay, feature: str, text: str) -> str:
    """Whole, from a thread."""
    return bay.get_llm(feature).invoke(text).text


def streamed(bay: Patchbay, feature: str, text: str) -> str:
    """In chunks, from a thread."""
    return "".join(chunk.text for chunk in bay.get_llm(feature).stream(text))


async def ainvoked(bay: Patchbay, feature: str, text: str) -> str:
    """Whole, from a loop."""
    return (await bay.get_llm(feature).ainvoke(text)).text


async def astreamed(bay: Patchbay, feature: str, text: str) -> str:
    """In chunks, from a loop."""
    return "".join([chunk.text async for chunk in bay.get_llm(feature).astream(text)])


def judged(answer: str, text: str) -> str:
    """Whether it is the own one."""
    return "own" if answer.strip() == text else "WRONG"


def in_turn(bay: Patchbay, who: str, calls: int) -> Told:
    """``calls`` of each wire, whole and streamed, one after the other."""
    told: Told = Counter()
    for number in range(calls):
        for call in (invoked, streamed):
            for feature in ENDPOINTS:
                text = f"{who} {call.__name__} {feature} {number}"
                try:
                    told[judged(call(bay, feature, text), text)] += 1
                except Exception as error:
                    told[type(error).__name__] += 1
    return told


async def at_once(bay: Patchbay, who: str, calls: int) -> Told:
    """The same from a loop, a few at once."""
    places, told = asyncio.Semaphore(AT_ONCE), Counter[str]()

    async def one(call: Callable[[Patchbay, str, str], Awaitable[str]], feature: str, number: int) -> None:
        text = f"{who} {call.__name__} {feature} {number}"
        async with places:
            try:
                told[judged(await call(bay, feature, text), text)] += 1
            except Exception as error:
                told[type(error).__name__] += 1

    every = ((call, feature) for call in (ainvoked, astreamed) for feature in ENDPOINTS)
    await asyncio.gather(*(one(*kind, number) for kind in every for number in range(calls)))
    return told


async def both(bay: Patchbay, who: str, calls: int) -> Told:
    """`in_turn` and `at_once`, at the same time."""
    theirs = asyncio.create_task(asyncio.to_thread(in_turn, bay, who, calls))
    return await at_once(bay, who, calls) + await theirs


async def alone(bay: Patchbay, who: str, calls: int) -> Told:
    """`both`, in a loop of their own."""
    try:
        return await both(bay, who, calls)
    finally:
        await bay.aclose()


# Children ------------------------------------------------------------------------------------------------------------


def forked(work: Callable[[], Told]) -> tuple[int, int]:
    """A child that does ``work``, and the descriptor on which it tells what came of it."""
    here, there = os.pipe()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        pid = os.fork()
    if pid:
        os.close(there)
        return pid, here
    signal.alarm(LIMIT)
    try:
        os.write(there, json.dumps(work()).encode())
        os._exit(0)
    except BaseException as error:
        with suppress(OSError):
            os.write(there, json.dumps({type(error).__name__: 1}).encode())
        os._exit(1)


def result(child: tuple[int, int]) -> Told:
    """What came of it."""
    pid, here = child
    with os.fdopen(here) as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return Counter({"HANGS" if os.WTERMSIG(status) == signal.SIGALRM else f"signal {status}": 1})
    return Counter(json.loads(said or '{"nothing": 1}'))


# What is measured ----------------------------------------------------------------------------------------------------


async def answers(bay: Patchbay, most: int) -> Told:
    """Parent and children at once."""
    calls = most // (8 * (CHILDREN + 1))
    await asyncio.gather(*(both(bay, "before", 1) for _ in range(AT_ONCE)))
    children = [
        forked(lambda who=f"child {number}": asyncio.run(alone(bay, who, calls)))  # type: ignore[misc]
        for number in range(CHILDREN)
    ]
    told = await both(bay, "parent", calls)
    for child in children:
        told += await asyncio.to_thread(result, child)
    await bay.aclose()
    return told


async def workers(bay: Patchbay, calls: int) -> Told:
    """Those of a process pool, forked by a loop with connections, beside its own calls."""
    await at_once(bay, "before", AT_ONCE)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(WORKERS, context, partial(_here.append, bay)) as executor:
        loop = asyncio.get_running_loop()
        theirs = [
            loop.run_in_executor(executor, _in_turn_here, f"worker {item}", calls) for item in range(WORKERS)
        ]
        told = await at_once(bay, "parent", calls)
        for item in await asyncio.gather(*theirs):
            told += item
    await bay.aclose()
    return told


_here: list[Any] = []


def _in_turn_here(who: str, calls: int) -> Told:
    return in_turn(_here[0], who, calls)


def under_load(bay: Patchbay, forks: int) -> Told:
    """Children that are forked while threads call: each makes eight calls."""
    in_turn(bay, "before", 1)
    over, told = threading.Event(), Counter[str]()
    busy = [threading.Thread(target=_keep_calling, args=(bay, over), daemon=True) for _ in range(THREADS)]
    before = sys.getswitchinterval()
    for thread in busy:
        thread.start()
    sys.setswitchinterval(1e-6)
    running: list[tuple[int, int]] = []
    for number in range(forks):
        running.append(forked(lambda who=f"child {number}": asyncio.run(alone(bay, who, 1))))  # type: ignore[misc]
        if len(running) == CHILDREN_AT_ONCE:
            told += result(running.pop(0))
    for child in running:
        told += result(child)
    sys.setswitchinterval(before)
    over.set()
    for thread in busy:
        thread.join()
    return told


def _keep_calling(bay: Patchbay, over: threading.Event) -> None:
    while not over.is_set():
        in_turn(bay, threading.current_thread().name, 1)


def main(most: int = ANSWERS, forks: int = FORKS) -> int:
    """Measure, tell, and judge."""
    warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
    found = {}
    with patchbay() as bay:
        found[f"parent and {CHILDREN} children"] = asyncio.run(answers(bay, most))
        found[f"parent and {WORKERS} workers of a pool"] = asyncio.run(workers(bay, most // 20))
        found[f"{forks} children under load"] = under_load(bay, forks)
    for what, told in found.items():
        print(f"{what}: {dict(told)}", flush=True)
    return int(any(told.keys() != {"own"} for told in found.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["provider"]:
        serve()
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
