"""Runs coroutines to their end in synchronous calls, so that both kinds of call share code.

Such a coroutine never suspends: each of its waits blocks the thread.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from ..caller import context_without_caller

if TYPE_CHECKING:
    from asyncio import Timeout
    from collections.abc import AsyncIterator, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

T = TypeVar("T")
EnteredT = TypeVar("EnteredT")


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine ``work`` without an event loop, and return its result.

    For coroutines of synchronous calls, whose waits block the thread and never suspend.

    Raises:
        RuntimeError: ``work`` awaited something that needs an event loop.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("something is awaited in a synchronous call")


class BlockingContext(AbstractContextManager[EnteredT, bool]):
    """Makes an asynchronous context manager usable with ``with``, in a synchronous call without an event loop.

    Its ``__aenter__`` and ``__aexit__`` must never suspend; their waits block the thread.
    """

    def __init__(self, context: AbstractAsyncContextManager[EnteredT, bool]) -> None:
        self._context = context

    @override
    def __enter__(self) -> EnteredT:
        return run_blocking(_entered(self._context))

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return run_blocking(_left(self._context, kind, error, trace))


async def _entered(context: AbstractAsyncContextManager[EnteredT, bool]) -> EnteredT:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Any, bool], *error: Any) -> bool:
    return await context.__aexit__(*error)


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[Timeout]:
    """Raise ``TimeoutError`` if the block takes longer than ``seconds``, like `asyncio.timeout`.

    Unlike that of `asyncio.timeout`, the timer does not keep the caller's context, and so keys, in memory.
    """
    async with asyncio.timeout(None) as clock:
        ends_at = asyncio.get_running_loop().time() + seconds
        context_without_caller().run(clock.reschedule, ends_at)
        yield clock


async def await_if_awaitable(value: Any) -> Any:
    """Return ``value``, or the result of awaiting it if it is awaitable."""
    return await value if isawaitable(value) else value


def reject_awaitable(value: Any, complaint: str) -> Any:
    """Return ``value``, which must not be awaitable, because the call is synchronous.

    Raises:
        TypeError: ``value`` is awaitable; ``complaint`` is the message.
    """
    if isawaitable(value):
        getattr(value, "close", bool)()  # a coroutine that is never awaited complains
        raise TypeError(complaint)
    return value
