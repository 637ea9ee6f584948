"""The signals by which people and supervisors stop a service. Here they end nothing: whoever runs it is told, and cleans up."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Self

from typing_extensions import override

from backend.utils.llm.forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

HANDLED: Final = (signal.SIGINT, signal.SIGTERM)
LONGEST_STOP: Final = 17.0
"""Seconds from a signal after which the process is ended, whatever it still does."""
MOST: Final = 3
"""The signal that ends the process at once."""
SIGNALLED: Final = 128
"""What a shell adds to a signal's number for the exit status of what the signal ended."""


class Signals(PerProcess):
    """SIGINT and SIGTERM, while the context lasts. In the main thread; in others signals are left as they are.

    A forked child has no thread that follows them: there they do what they did before.

    Args:
        on_signal: Is called for each signal that comes, from a thread of its own.
    """

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}
        super().__init__()

    @override
    def _begin(self) -> None:
        self._restore()
        # A handler runs between any two steps of the main thread, also while that holds a lock: this queue takes none.
        self._come: SimpleQueue[int | None] = SimpleQueue()
        self._first: int | None = None

    @property
    def status(self) -> int | None:
        """The exit status of a process that was ended by the first signal; None if none has come."""
        return None if self._first is None else SIGNALLED + self._first

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            threading.Thread(target=self._follow, name="signals", daemon=True).start()
            self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        self._come.put(None)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        self._first = self._first or number
        self._come.put(number)

    def _follow(self) -> None:
        """Tell of each signal. End the process when nothing comes of that, unless the context is over before."""
        seconds = None
        with suppress(Empty):
            for _ in range(MOST):
                if self._come.get(timeout=seconds) is None:
                    return
                seconds = LONGEST_STOP
                self._on_signal()
        os._exit(self.status or 1)
