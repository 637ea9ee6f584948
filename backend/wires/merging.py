"""Runs several model calls concurrently, and collects their answers or merges their streams."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence

T = TypeVar("T")

_HELD = 16
"""Events of all streams together that wait to be taken: a reader who is slow slows the streams."""


class _Ended(NamedTuple):
    """The end of a stream, with its error if it failed."""

    error: Exception | None


async def merge_streams(streams: Sequence[AsyncGenerator[T]]) -> AsyncGenerator[T]:
    """Run all ``streams`` concurrently, and yield their events as they arrive.

    If a stream fails, the others are closed, and its exception is raised.
    """
    queue = asyncio.Queue[T | _Ended](_HELD)
    tasks = [asyncio.create_task(_pass_on(stream, queue)) for stream in streams]
    running = len(tasks)
    try:
        while running:
            event = await queue.get()
            if not isinstance(event, _Ended):
                yield event
                continue
            running -= 1
            if event.error is not None:
                raise event.error
    finally:
        await _cancelled(tasks)


async def gather_or_cancel(calls: Sequence[Coroutine[object, object, T]]) -> list[T]:
    """Run all ``calls`` concurrently, and return their results in order.

    If a call fails, the others are cancelled, and its exception is raised.
    """
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _cancelled(tasks)


async def _pass_on(stream: AsyncGenerator[T], queue: asyncio.Queue[T | _Ended]) -> None:
    try:
        async with aclosing(stream):
            async for event in stream:
                await queue.put(event)
    except Exception as error:  # noqa: BLE001 - the reader raises it
        await queue.put(_Ended(error))
    else:
        await queue.put(_Ended(None))


async def _cancelled(tasks: Sequence[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
