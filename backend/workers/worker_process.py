"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from .lines import READY, STOPPING, Stop

if TYPE_CHECKING:
    from .connections import Channel
    from .lines import Order

log = logging.getLogger(__name__)


class WorkerProcess:
    """A worker process that serves, or is starting.

    Attributes:
        channel: The channel that passes it connections.
        settled: Set when the worker serves, or has ended before that.
        serves: Whether the worker serves, or did.
        stopping: Set when the worker stops by itself, or has ended, so that it must get no more connections.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.began = asyncio.get_running_loop().time()
        self.settled = asyncio.Event()
        self.serves = False
        self.stopping = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        if self.process.stdout is not None:
            while said := await self.process.stdout.read(1024):
                if READY in said:
                    self.serves = True
                    self.settled.set()
                if STOPPING in said:
                    self.stopping.set()
        self.settled.set()
        self.stopping.set()

    def tell(self, order: Order) -> None:
        """Send ``order`` to the worker's standard input. Does nothing if the worker has ended."""
        if self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.write(f"{order.model_dump_json()}\n".encode())

    async def ended(self) -> int:
        """Wait for the end of the process, and return its exit status."""
        status = await self.process.wait()
        await self._listening
        return status

    async def end(self, seconds: float, more: float) -> None:
        """Ask the worker to stop, and wait until it has ended.

        Args:
            seconds: What the worker may leave to its requests in flight.
            more: Further seconds, after which the worker is killed.
        """
        self.tell(Stop(seconds=seconds))
        try:
            async with asyncio.timeout(seconds + more):
                await self.process.wait()
        except TimeoutError:
            log.warning("workers.killed pid=%d", self.process.pid)
            with suppress(ProcessLookupError):
                self.process.kill()
