"""Runs coroutines in synchronous calls: each wait blocks the thread, so that both kinds of call share code."""

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
    """Run the coroutine ``work`` to its end in this thread, and return its result; each of its waits blocks the thread.

    Raises:
        RuntimeError: ``work`` awaited something that needs an event loop.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("something is awaited in a synchronous call")


class Blocking(AbstractContextManager[EnteredT, bool]):
    """Makes an asynchronous context manager usable with ``with`` in synchronous calls; each of its waits blocks the thread."""

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
async def within(seconds: float) -> AsyncIterator[Timeout]:
    """Limit the block to ``seconds``, like `asyncio.timeout`, but a cancelled timer does not keep the caller's context alive."""
    async with asyncio.timeout(None) as clock:
        ends_at = asyncio.get_running_loop().time() + seconds
        context_without_caller().run(clock.reschedule, ends_at)
        yield clock


async def result_of(value: Any) -> Any:
    """Return ``value``, or the result of awaiting it if it is awaitable."""
    return await value if isawaitable(value) else value


def at_once(value: Any, complaint: str) -> Any:
    """Return ``value`` in a synchronous call, after checking that it is not awaitable.

    Raises:
        TypeError: ``value`` is awaitable; the message is ``complaint``.
    """
    if isawaitable(value):
        getattr(value, "close", bool)()  # a coroutine that is never awaited complains
        raise TypeError(complaint)
    return value
