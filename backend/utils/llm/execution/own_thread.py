"""Runs the application's functions, in threads if they may block, so that they delay no deadline or loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .awaiting import await_if_awaitable, time_limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
THREAD = "patchbay application"
"""The thread's name."""


class StillRunningError(Exception):
    """The function did not return in time. Its thread, if it has one, continues, and its result is dropped."""


class _Outcome(NamedTuple):
    """The result or exception of a function; unlike a future, it can hold a `StopIteration`."""

    value: Any
    error: BaseException | None = None


def is_async_callable(work: Callable[..., Any]) -> bool:
    """Whether ``work`` is a coroutine function, a ``partial`` of one, or an object with an ``async __call__``.

    Other functions that return an awaitable are not recognised.
    """
    while isinstance(work, partial):
        work = work.func
    return iscoroutinefunction(work) or iscoroutinefunction(type(work).__call__)


def run_with_timeout(work: Callable[[], T], seconds: float) -> T:
    """Run ``work`` in a new daemon thread, with a copy of the caller's context, and return its result.

    Raises:
        StillRunningError: ``work`` took longer than ``seconds``.
    """
    try:
        outcome = _begun(work).result(max(0.0, seconds))
    except TimeoutError:
        raise StillRunningError from None
    result: T = _result(outcome)
    return result


async def await_with_timeout(work: Awaitable[T], seconds: float) -> T:
    """Await ``work`` and return its result; cancel it after ``seconds``.

    Raises:
        StillRunningError: ``work`` took longer than ``seconds``. A ``TimeoutError`` of ``work`` itself is
            raised unchanged.
    """
    clock: asyncio.Timeout | None = None
    try:
        async with time_limit(seconds) as clock:
            return await work
    except TimeoutError:
        if clock is not None and clock.expired():
            raise StillRunningError from None
        raise


async def run_in_daemon_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a new daemon thread, and await its result, which is dropped if the await is cancelled.

    The event loop's thread pool is not used, because ``work`` may take long or need one of its threads.
    """
    result: T = _result(await asyncio.wrap_future(_begun(work)))
    return result


async def call_without_blocking(work: Callable[[], Any]) -> Any:
    """Call ``work`` without blocking the event loop, await its result if it is awaitable, and return it.

    A coroutine function runs on the event loop, any other function in a new thread.
    """
    return await await_if_awaitable(work() if is_async_callable(work) else await run_in_daemon_thread(work))


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
