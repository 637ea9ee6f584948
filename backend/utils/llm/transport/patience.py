"""Clocks of an event loop that may itself be late.

When a loop was held up, or its process was stopped, its timers fall due in the same turn as what they wait for, and
asyncio's cancel all that has come. These look first, so our own lateness is not taken for the other side's.

A timer that was cancelled stays with the loop until its time, and so does its context: that of nobody, or it would hold the
caller's keys.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..caller import context_without_caller
from .ticket import LOOK_SECONDS

if TYPE_CHECKING:
    from types import TracebackType

    from .ticket import Ticket

TURNS = 10
"""Into so many parts a wait is cut that is told by what the loop could do, not by the wall."""


class Patience:
    """A context that ends with a ``TimeoutError`` when the ticket's time is up, after a last look at what has come."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        seconds = self._ticket.due - self._ticket.clock()
        self._timer = self._loop.call_later(seconds, self._look, context=context_without_caller())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _look(self) -> None:
        seconds = LOOK_SECONDS if self._ticket.looks_again() else 0.0
        self._timeout.reschedule(self._loop.time() + seconds)


class LoopSeconds:
    """A context that ends with a ``TimeoutError`` after ``seconds`` in which the loop could do its work.

    However long the loop is held up at once, no more than a tenth of the time goes by.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = (seconds or 0.0) / TURNS
        self._left = TURNS if seconds is not None else 0
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop, self._context = asyncio.get_running_loop(), context_without_caller()
        self._timer: asyncio.TimerHandle | None = None
        if self._left:
            self._tick()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        if self._left:
            self._left -= 1
            self._timer = self._loop.call_later(self._seconds, self._tick, context=self._context)
        else:
            self._timeout.reschedule(self._loop.time())
