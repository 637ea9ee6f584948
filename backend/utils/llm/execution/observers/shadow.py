"""Runs copies of calls on shadow endpoints.

Their answers are dropped; their results and costs are recorded.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from ...forks import ForkSafe
from ...interruptions import is_external_interruption
from .base import AttemptObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...failures import ClassifiedFailure
    from ...model_config import TrafficShare
    from ...receipt import Attempt
    from ..steps import Try

    Copy = Callable[[TrafficShare], Callable[[], None] | None]

log = logging.getLogger(__name__)

MOST_AT_ONCE = 8
"""The most copies at a time; others are not sent, so that a slow shadow endpoint cannot pile up threads."""


class ShadowThreads(ForkSafe):
    """Runs copies of calls for shadow endpoints, each in a daemon thread of its own.

    Args:
        random: Returns a random number from 0 to below 1, for deciding whether a copy is sent.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self.random = random
        super().__init__()

    @override
    def _begin(self) -> None:
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._under_way: set[threading.Thread] = set()

    def start_copy(self, feature: str, send: Callable[[], None]) -> None:
        """Run ``send``, which sends one copy of a call of ``feature``, in a new thread.

        If `MOST_AT_ONCE` copies are already running, log this and do not send the copy.
        """
        if not self._places.acquire(blocking=False):
            log.info("%d copies are under way already; another one is not sent", MOST_AT_ONCE)
            return
        context = contextvars.Context()  # not the call's: its callbacks and its traces are not for copies
        thread = threading.Thread(
            target=context.run, args=(self._run, feature, send), name="shadow", daemon=True
        )
        self._under_way.add(thread)
        try:
            thread.start()
        except BaseException:  # the machine has no more threads: the place is for when it has
            self._release(thread)
            raise

    def join(self, seconds: float) -> None:
        """Wait for the running copies, at most ``seconds`` for each of them."""
        for thread in list(self._under_way):
            thread.join(seconds)

    def _run(self, feature: str, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception as error:  # noqa: BLE001 - whatever happens to a copy, nobody waits for it
            log.info("a copy of %s failed: %s", feature, type(error).__name__)
        finally:
            self._release(threading.current_thread())

    def _release(self, thread: threading.Thread) -> None:
        self._places.release()
        self._under_way.discard(thread)


class ShadowObserver(AttemptObserver):
    """Sends copies of one call to shadow endpoints after the call was answered.

    Args:
        shadows: Runs the copies in threads.
        copy: Takes a shadow endpoint's `TrafficShare`, and returns the function that sends the copy; None if
            the endpoint may not get one.
    """

    def __init__(self, shadows: ShadowThreads, copy: Copy) -> None:
        self._shadows = shadows
        self._copy = copy

    @override
    def on_ended(self, step: Try, _: Attempt, failure: ClassifiedFailure | None) -> None:
        feature = step.route.feature
        for share in feature.shadow if failure is None else ():
            try:
                if self._shadows.random() * 100.0 < share.percent and (send := self._copy(share)) is not None:
                    self._shadows.start_copy(feature.name, send)
            except Exception as error:
                if is_external_interruption(error):
                    raise
                log.exception("a copy could not be sent; the call goes on")
