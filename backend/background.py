"""Background tasks that are run again after an error, and whose failures the health checks show."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Work = Callable[[], Awaitable[object]]

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 5.0
"""The longest pause in seconds before a failed task is tried again, unless its normal pause is longer."""
STUCK: Final = 30.0
"""Seconds after which a try that has not ended counts as failing."""
PATIENCE: Final = 3.0
"""Seconds that a running try is given at shutdown before it is cancelled."""


class BackgroundTaskRunner:
    """Runs an application's background tasks, and runs each of them again after an error.

    A task that keeps failing with the same error is logged only once. Health checks show `failing_tasks`.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: list[_Job] = []

    @property
    def failing_tasks(self) -> tuple[str, ...]:
        """The names of the tasks that fail now.

        A task fails if its last run failed, if a run takes more than `STUCK` seconds, or if the task was
        cancelled.
        """
        return tuple(job.name for job in self._jobs if job.is_failing)

    @asynccontextmanager
    async def run_repeatedly(self, name: str, work: Work, *, interval_s: float) -> AsyncIterator[None]:
        """Call ``work`` repeatedly in the background until the context ends.

        The first call comes after ``interval_s`` seconds. After failures the wait doubles each time, up to
        `LONGEST_PAUSE` seconds, or up to ``interval_s`` if that is longer.

        Args:
            name: The name of the task, for the log and the health checks.
            work: The function to call.
            interval_s: The wait in seconds before the first call, and after each successful call.
        """
        async with self._supervised(_Job(name, work, self._clock, interval_s)):
            yield

    @asynccontextmanager
    async def run_until_success(self, name: str, work: Work) -> AsyncIterator[None]:
        """Call ``work`` in the background until it succeeds once, or until the context ends.

        The first call is made at once. After failures the wait begins with two seconds, and doubles each time up
        to `LONGEST_PAUSE` seconds.

        Args:
            name: The name of the task, for the log and the health checks.
            work: The function to call.
        """
        async with self._supervised(_Job(name, work, self._clock)):
            yield

    @asynccontextmanager
    async def _supervised(self, job: _Job) -> AsyncIterator[None]:
        self._jobs.append(job)
        job.start()
        try:
            yield
        finally:
            self._jobs.remove(job)
            await job.end()


class _Job:
    """One background job: its task, and the outcome of its tries."""

    def __init__(self, name: str, work: Work, clock: Callable[[], float], every: float | None = None) -> None:
        self.name = name
        self._work = work
        self._clock = clock
        self._every = every
        self._over = asyncio.Event()
        self._began: float | None = None
        self._fails = 0
        self._is_done = False
        self._logged: set[tuple[object, ...]] = set()
        self._task: asyncio.Task[None]

    @property
    def is_failing(self) -> bool:
        is_stuck = self._began is not None and self._clock() - self._began > STUCK
        return is_stuck or self._fails > 0 or (self._task.done() and not self._is_done)

    def start(self) -> None:
        self._task = asyncio.create_task(self._tries(), name=self.name)

    async def end(self) -> None:
        """End the job. A try in progress may finish within a time limit, because it may be writing."""
        self._over.set()
        await asyncio.wait([self._task], timeout=PATIENCE)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _tries(self) -> None:
        await self._wait(self._every or 0.0)
        while not self._over.is_set():
            await self._try()
            await self._wait(retry_delay_s(self._every, self._fails))

    async def _try(self) -> None:
        self._began = self._clock()
        try:
            await self._work()
        except (Exception, asyncio.CancelledError) as error:
            if self._task.cancelling():
                raise
            self._fails += 1
            self._log_once(error)
        else:
            self._fails = 0
            self._logged.clear()
            if self._every is None:
                self._is_done = True
                self._over.set()
        self._began = None

    def _log_once(self, error: BaseException) -> None:
        fault = _fault(error)
        if fault not in self._logged:
            self._logged.add(fault)
            log.error("background.failed work=%s", self.name, exc_info=error)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()


def retry_delay_s(interval_s: float | None, failure_count: int) -> float:
    """Return the seconds to wait before a background task is run again.

    Args:
        interval_s: The wait in seconds after a success; None for a task that has to succeed only once, which
            counts as one second.
        failure_count: The number of failures in a row. Each failure doubles the wait, up to `LONGEST_PAUSE`
            seconds, or up to ``interval_s`` if that is longer.
    """
    first = interval_s or 1.0
    return min(first * 2.0 ** min(failure_count, 16), max(first, LONGEST_PAUSE))


def _fault(error: BaseException) -> tuple[object, ...]:
    """The kind of an exception and its place in the code, by which it is logged once. Its text is ignored, because it may contain a time."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace and (trace.tb_frame.f_code, trace.tb_lineno)
