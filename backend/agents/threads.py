"""Runs the calls of a synchronous tool in threads. Once too many calls hang, further calls are refused."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from backend.utils.llm.execution.own_thread import in_a_thread

from .observations import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST_HANGING: Final = 8
"""Calls of one tool whose threads still run though nobody waits for them any more."""


class Threads:
    """The threads of one tool, one for each call. A thread cannot be ended from outside, so those that hang are counted."""

    def __init__(self) -> None:
        self._running: set[object] = set()
        self._awaited: set[object] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a new daemon thread, and return its result.

        Raises:
            ToolError: `MOST_HANGING` calls already hang. ``work`` is not called.
        """
        if len(self._running - self._awaited) >= MOST_HANGING:
            raise ToolError(
                f"{MOST_HANGING} earlier calls of this tool have not returned. It was not called."
            )
        call = object()
        self._running.add(call)
        self._awaited.add(call)
        try:
            return await in_a_thread(partial(self._counted, call, work))
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
