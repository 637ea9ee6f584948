"""Handles SIGINT and SIGTERM, so that the service stops gracefully instead of ending at once."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Self

from typing_extensions import override

from backend.utils.llm.forks import ForkSafe

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

HANDLED: Final = (signal.SIGINT, signal.SIGTERM)
LONGEST_STOP: Final = 17.0
"""Seconds from the last signal after which the process is ended in any case."""
MOST: Final = 3
"""The number of the signal that ends the process at once."""
SIGNALLED: Final = 128
"""Added to a signal's number for the exit status, as shells do."""


class SignalHandler(ForkSafe):
    """A context manager that handles SIGINT and SIGTERM. It does nothing outside the main thread.

    The third signal ends the process at once, and so does a stop that takes too long. A forked child process
    has the previous handlers.

    Args:
        on_signal: Called for each signal, in a separate thread.
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
    def exit_status(self) -> int | None:
        """The exit status for the first signal: 130 for SIGINT, 143 for SIGTERM; None if there was no signal."""
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
        """Report each signal. End the process after `MOST` of them, or `LONGEST_STOP` seconds after the last, unless the context ends before."""
        seconds = None
        with suppress(Empty):
            for _ in range(MOST):
                if self._come.get(timeout=seconds) is None:
                    return
                seconds = LONGEST_STOP
                self._on_signal()
        os._exit(self.exit_status or 1)
