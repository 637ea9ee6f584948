"""The supervisor's view of one worker process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from .lines import READY, STOPPING, StopWorker

if TYPE_CHECKING:
    from .connections import WorkerChannel
    from .lines import Order

log = logging.getLogger(__name__)


class WorkerProcess:
    """The supervisor's handle of one worker process, which is starting, serving or stopping.

    Attributes:
        process: The process.
        channel: The channel that passes connections to the worker.
        began: When the process was started, by the event loop's clock.
        settled: Set when the worker has become ready to serve, or has ended.
        serves: Whether the worker has become ready to serve.
        stopping: Set when the worker stops on its own, or has ended. It must get no more connections then.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: WorkerChannel) -> None:
        self.process = process
        self.channel = channel
        self.began = asyncio.get_running_loop().time()
        self.settled = asyncio.Event()
        self.serves = False
        self.stopping = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        if self.process.stdout is not None:
            while output := await self.process.stdout.read(1024):
                if READY in output:
                    self.serves = True
                    self.settled.set()
                if STOPPING in output:
                    self.stopping.set()
        self.settled.set()
        self.stopping.set()

    def send_order(self, order: Order) -> None:
        """Send ``order`` to the worker, through its standard input. Does nothing if the worker has ended."""
        if self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.write(f"{order.model_dump_json()}\n".encode())

    async def wait_for_exit(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        status = await self.process.wait()
        await self._listening
        return status

    async def stop_or_kill(self, grace_seconds: float, kill_after_seconds: float) -> None:
        """Order the worker to stop, wait until it has ended, and kill it if that takes too long.

        Args:
            grace_seconds: The time that the worker may give its requests in flight.
            kill_after_seconds: How long after ``grace_seconds`` the worker is killed.
        """
        self.send_order(StopWorker(seconds=grace_seconds))
        try:
            async with asyncio.timeout(grace_seconds + kill_after_seconds):
                await self.process.wait()
        except TimeoutError:
            log.warning("workers.killed pid=%d", self.process.pid)
            with suppress(ProcessLookupError):
                self.process.kill()
