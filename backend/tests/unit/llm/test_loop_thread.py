"""The event loop of synchronous calls: it serves whoever holds it, and no longer."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from backend.tests.fakes.children import in_child
from backend.utils.llm.execution.awaiting import run_without_event_loop
from backend.utils.llm.execution.loop_thread import THREAD, SharedBackgroundLoop
from backend.utils.llm.execution.own_thread import run_in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loops() -> Iterator[SharedBackgroundLoop]:
    made = SharedBackgroundLoop()
    yield made
    made.close()
    assert threads() == []


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


async def where() -> str:
    return threading.current_thread().name


def test_nothing_runs_before_somebody_needs_it(loops: SharedBackgroundLoop) -> None:
    assert threads() == []
    assert loops.get_loop().run(where()) == THREAD


def test_all_calls_share_one_loop(loops: SharedBackgroundLoop) -> None:
    assert loops.get_loop() is loops.get_loop()
    assert len(threads()) == 1


def test_a_closed_loop_serves_the_call_that_is_under_way_and_ends_with_it(
    loops: SharedBackgroundLoop,
) -> None:
    held = loops.get_loop()
    loops.close()

    assert held.run(where()) == THREAD
    del held
    assert threads() == []


def test_after_it_was_closed_another_call_begins_a_new_one(loops: SharedBackgroundLoop) -> None:
    loops.get_loop()
    loops.close()

    assert loops.get_loop().run(where()) == THREAD


def test_it_ends_with_its_owner_who_never_closed_it() -> None:
    owner = SharedBackgroundLoop()
    owner.get_loop()
    gone = ref(owner)
    del owner
    gc.collect()

    assert gone() is None
    assert threads() == []


def test_a_forked_child_does_not_close_its_parents_loop(loops: SharedBackgroundLoop) -> None:
    loops.get_loop().run(where())

    def in_the_child() -> Any:
        found = loops.get_loop().run(where()), len(threads())
        loops.close()
        return found

    if hasattr(os, "fork"):
        assert in_child(in_the_child) == [THREAD, 1]
    assert loops.get_loop().run(where()) == THREAD


def test_what_runs_there_has_the_callers_context(loops: SharedBackgroundLoop) -> None:
    trace = contextvars.ContextVar("trace", default="none")
    trace.set("t1")

    async def look() -> str:
        return await run_in_daemon_thread(trace.get)

    assert loops.get_loop().run(look()) == "t1"


def test_what_fails_there_is_raised_here(loops: SharedBackgroundLoop) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    try:
        loops.get_loop().run(fail())
    except ZeroDivisionError:
        return
    pytest.fail("nothing was raised")


def test_its_own_thread_does_not_wait_for_itself(loops: SharedBackgroundLoop) -> None:
    done = threading.Event()

    async def outer() -> Any:
        return loops.get_loop().runs_in_current_thread, loops.get_loop().run(inner())

    async def inner() -> None:
        done.set()

    assert loops.get_loop().run(outer()) == (True, None)
    assert done.wait(5)


def test_a_test_that_is_given_up_goes_on_alone(loops: SharedBackgroundLoop) -> None:
    go_on, over = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(5)
        over.set()

    async def give_up() -> bool:
        task = asyncio.create_task(run_in_daemon_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert loops.get_loop().run(give_up())
    go_on.set()
    assert over.wait(5)


def test_a_wait_that_does_not_block_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="awaited in a synchronous call"):
        run_without_event_loop(asyncio.sleep(0))
