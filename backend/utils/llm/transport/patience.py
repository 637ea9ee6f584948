"""Timeouts on an event loop that may itself be late.

When a loop was blocked, or its process stopped, its timers expire in the same iteration in which the
awaited data is there, and asyncio's timeouts drop the data. These timeouts check for data first, so that
a delay in this process is not mistaken for a slow peer.

A cancelled timer stays in the loop with its context until its time has come. So the context has no
caller, whose keys it would keep in memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..caller import copy_context_without_caller
from .ticket import LOOK_SECONDS

if TYPE_CHECKING:
    from types import TracebackType

    from .ticket import Ticket

TURNS = 10
"""The number of parts of a wait in `UnblockedLoopTimeout`, each of which the loop has to run by itself."""


class TicketDeadline:
    """An async context manager that raises ``TimeoutError`` when the deadline of ``ticket`` has passed.

    If it passed while the event loop was blocked, data that has arrived meanwhile can still be read.
    """

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        seconds = self._ticket.due - self._ticket.clock()
        self._timer = self._loop.call_later(seconds, self._look, context=copy_context_without_caller())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _look(self) -> None:
        seconds = LOOK_SECONDS if self._ticket.extend_if_late() else 0.0
        self._timeout.reschedule(self._loop.time() + seconds)


class UnblockedLoopTimeout:
    """Async context manager: raises ``TimeoutError`` after ``seconds`` in which the loop was not blocked.

    None sets no limit. Each time that the loop is blocked counts for at most a tenth of ``seconds``.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = (seconds or 0.0) / TURNS
        self._left = TURNS if seconds is not None else 0
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop, self._context = asyncio.get_running_loop(), copy_context_without_caller()
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
