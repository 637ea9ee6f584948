"""Waiting for an answer from another thread, with a deadline, and without blocking an event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

NEXT_LOOK_SECONDS = 0.005
"""Seconds until the next check after a store's patience has run out: this process itself may have been slow."""

MOST_LOOKS = 200


def is_told(answer: Future[Any], seconds: float) -> bool:
    """Whether ``answer`` arrives within ``seconds``. Blocks the thread."""
    with suppress(TimeoutError):
        answer.result(seconds)
    return answer.done()


async def is_told_soon(answer: Future[Any], seconds: float) -> bool:
    """Whether ``answer`` arrives within ``seconds``, without blocking the event loop."""
    if answer.done():
        return True
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def told(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(wake)

    timer = loop.call_later(seconds, wake)
    answer.add_done_callback(told)
    try:
        await woken
    finally:
        timer.cancel()
    return answer.done()
