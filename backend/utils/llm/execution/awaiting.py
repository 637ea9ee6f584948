"""Runs coroutines to their end in synchronous calls, so that both kinds of call share code.

Such a coroutine never suspends: each of its waits blocks the thread.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from ..caller import copy_context_without_caller

if TYPE_CHECKING:
    from asyncio import Timeout
    from collections.abc import AsyncIterator, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

T = TypeVar("T")
EnteredT = TypeVar("EnteredT")


def run_without_event_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine ``work`` without an event loop, and return its result.

    ``work`` belongs to a synchronous call: its waits block the thread, so it never suspends.

    Raises:
        RuntimeError: ``work`` awaited something that needs an event loop.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("something is awaited in a synchronous call")


class SyncContextAdapter(AbstractContextManager[EnteredT, bool]):
    """Wraps an asynchronous context manager, so that synchronous calls can use it in a ``with`` statement.

    Its ``__aenter__`` and ``__aexit__`` must never suspend: they may only wait by blocking the thread.
    """

    def __init__(self, context: AbstractAsyncContextManager[EnteredT, bool]) -> None:
        self._context = context

    @override
    def __enter__(self) -> EnteredT:
        return run_without_event_loop(_entered(self._context))

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return run_without_event_loop(_left(self._context, kind, error, trace))


async def _entered(context: AbstractAsyncContextManager[EnteredT, bool]) -> EnteredT:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Any, bool], *error: Any) -> bool:
    return await context.__aexit__(*error)


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[Timeout]:
    """Raise ``TimeoutError`` if the ``async with`` block takes longer than ``seconds``.

    Unlike `asyncio.timeout`, it does not keep the caller's context, which may hold API keys, in memory.
    """
    async with asyncio.timeout(None) as clock:
        ends_at = asyncio.get_running_loop().time() + seconds
        copy_context_without_caller().run(clock.reschedule, ends_at)
        yield clock


async def await_if_awaitable(value: Any) -> Any:
    """Return ``value``; if it is awaitable, await it and return the result."""
    return await value if isawaitable(value) else value


def reject_awaitable(value: Any, message: str) -> Any:
    """Return ``value``, or raise an error if it is awaitable: a synchronous call cannot await it.

    Raises:
        TypeError: ``value`` is awaitable; ``message`` is the error's text.
    """
    if isawaitable(value):
        getattr(value, "close", bool)()  # a coroutine that is never awaited complains
        raise TypeError(message)
    return value
