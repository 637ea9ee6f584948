"""Runs each call of a synchronous tool in a thread. If too many calls hang, further calls are refused."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from backend.utils.llm.execution.own_thread import run_in_daemon_thread

from .observations import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_HANGING: Final = 8
"""Calls of one tool whose threads still run though nobody waits for them any more."""


class ToolThreads:
    """Runs the calls of one synchronous tool, each in a thread of its own.

    A thread cannot be stopped from outside. So if too many calls still run although nobody waits for their
    results any more, further calls are refused.
    """

    def __init__(self) -> None:
        self._running: set[object] = set()
        self._awaited: set[object] = set()

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a new daemon thread, and return its result.

        Raises:
            ToolError: `MOST_HANGING` earlier calls still run although nobody waits for them.
        """
        if len(self._running - self._awaited) >= MOST_HANGING:
            raise ToolError(
                f"{MOST_HANGING} earlier calls of this tool have not returned. It was not called."
            )
        call = object()
        self._running.add(call)
        self._awaited.add(call)
        try:
            return await run_in_daemon_thread(partial(self._counted, call, work))
        except Exception:
            self._running.discard(call)  # there may have been no thread for it
            raise
        finally:
            self._awaited.discard(call)

    def _counted(self, call: object, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self._running.discard(call)
