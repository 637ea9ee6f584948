"""Copies of calls that go to an endpoint which is only watched. Their answers are thrown away; what they cost is seen."""

from __future__ import annotations

import contextvars
import logging
import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from ..forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call import Call

log = logging.getLogger(__name__)

MOST_AT_ONCE = 8
"""Copies beyond this many under way are not sent: whoever is watched must not hold up the process."""


class Shadows(PerProcess):
    """Sends copies, each from a thread of its own, which does not keep the process from ending.

    Args:
        random: From 0 up to, not including, 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        super().__init__()

    @override
    def _begin(self) -> None:
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._under_way: set[threading.Thread] = set()

    def follow(self, call: Call) -> None:
        """``call`` was answered; send its copies, if it is one of the share that gets them. Whatever happens, it was."""
        for share in call.dispatch.route.feature.shadow:
            try:
                if self._random() * 100.0 < share.percent and (copy := call.copied_to(share)) is not None:
                    self._start(copy)
            except Exception:
                log.exception("a copy could not be sent; the call goes on")

    def join(self, seconds: float) -> None:
        """Wait for those that are under way, each at most so many seconds."""
        for thread in list(self._under_way):
            thread.join(seconds)

    def _start(self, copy: Call) -> None:
        if not self._places.acquire(blocking=False):
            log.info("%d copies are under way already; another one is not sent", MOST_AT_ONCE)
            return
        context = contextvars.Context()  # not the call's: its callbacks and its traces are not for copies
        thread = threading.Thread(target=context.run, args=(self._run, copy), name="shadow", daemon=True)
        self._under_way.add(thread)
        try:
            thread.start()
        except BaseException:  # the machine has no more threads: the place is for when it has
            self._leave(thread)
            raise

    def _run(self, copy: Call) -> None:
        try:
            with copy.attempt() as attempt:
                attempt.generate()
                return
            copy.go_on()
        except Exception as error:  # noqa: BLE001 - whatever happens to a copy, nobody waits for it
            log.info("a copy of %s failed: %s", copy.dispatch.route.feature.name, type(error).__name__)
        finally:
            self._leave(threading.current_thread())

    def _leave(self, thread: threading.Thread) -> None:
        self._places.release()
        self._under_way.discard(thread)
