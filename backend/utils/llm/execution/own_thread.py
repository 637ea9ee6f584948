"""Runs the application's functions in separate threads, so that they delay neither a deadline nor an event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .awaiting import result_of, within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
THREAD = "patchbay application"
"""The thread's name."""


class StillRunningError(Exception):
    """The function did not return in time. Its thread runs on, and its result is dropped."""


class _Outcome(NamedTuple):
    """The result or exception of a function; unlike a future, it can hold a `StopIteration`."""

    value: Any
    error: BaseException | None = None


def is_asynchronous(work: Callable[..., Any]) -> bool:
    """Whether ``work`` can be seen to be a coroutine function, so that calling it needs no thread."""
    while isinstance(work, partial):
        work = work.func
    return iscoroutinefunction(work) or iscoroutinefunction(type(work).__call__)


def in_time(work: Callable[[], T], seconds: float) -> T:
    """Run ``work`` in a separate daemon thread, in a copy of this context, and return its result within ``seconds``.

    Raises:
        StillRunningError: ``work`` took longer than ``seconds``.
    """
    try:
        outcome = _begun(work).result(max(0.0, seconds))
    except TimeoutError:
        raise StillRunningError from None
    result: T = _result(outcome)
    return result


async def awaited_in_time(work: Awaitable[T], seconds: float) -> T:
    """Await ``work`` and return its result; cancel it after ``seconds``.

    Raises:
        StillRunningError: ``work`` took longer. An exception of ``work`` itself is raised unchanged, even a `TimeoutError`.
    """
    clock: asyncio.Timeout | None = None
    try:
        async with within(seconds) as clock:
            return await work
    except TimeoutError:
        if clock is not None and clock.expired():
            raise StillRunningError from None
        raise


async def in_a_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a separate daemon thread, and return its result; dropped if the awaiting task is cancelled.

    The loop's executor is not used: ``work`` may take long, or make calls that need one of its threads.
    """
    result: T = _result(await asyncio.wrap_future(_begun(work)))
    return result


async def answer_of(work: Callable[[], Any]) -> Any:
    """Call ``work`` and return its result: a function runs in a thread, a coroutine function on the event loop."""
    return await result_of(work() if is_asynchronous(work) else await in_a_thread(work))


def _begun(work: Callable[[], Any]) -> Future[_Outcome]:
    ended: Future[_Outcome] = Future()
    ended.set_running_or_notify_cancel()
    run = copy_context().run
    threading.Thread(target=run, args=(_run, work, ended), name=THREAD, daemon=True).start()
    return ended


def _run(work: Callable[[], Any], ended: Future[_Outcome]) -> None:
    try:
        outcome = _Outcome(work())
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        outcome = _Outcome(None, error)
    ended.set_result(outcome)
    del outcome, ended, work  # an error holds this frame


def _result(outcome: _Outcome) -> Any:
    value, error = outcome
    if error is None:
        return value
    try:
        raise error
    finally:
        del outcome, error  # it would hold this frame, and this frame the error
