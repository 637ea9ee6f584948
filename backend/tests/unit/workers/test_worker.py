"""What a worker says to its supervisor, and when."""

from __future__ import annotations

import asyncio
from typing import Any

from backend.workers.worker import _run, _stop


class Server:
    """A server that starts, or does not, and notes what is asked of it."""

    def __init__(self, *, is_started: bool) -> None:
        self.is_started = is_started
        self.is_stopping = False
        self.happened: list[str] = []

    async def serve(self, listener: Any) -> None:
        await asyncio.sleep(0)
        self.happened.append("served" if self.is_started else "failed")

    async def warm_up(self) -> None:
        self.happened.append("warmed up")

    def stop(self, seconds: float) -> None:
        self.is_stopping = True
        self.happened.append(f"stop within {seconds:g} s")

    def write(self, what: bytes) -> None:
        self.happened.append(what.decode())


async def test_a_worker_says_that_it_serves_once_first_calls_would_not_wait() -> None:
    server: Any = Server(is_started=True)

    await _run(server, None, server)  # type: ignore[arg-type]

    assert server.happened == ["warmed up", "ready", "served"]


async def test_a_worker_that_cannot_start_says_nothing() -> None:
    server: Any = Server(is_started=False)

    await _run(server, None, server)  # type: ignore[arg-type]

    assert server.happened == ["failed"]


def test_a_worker_that_is_told_to_stop_by_a_signal_says_so_first() -> None:
    server: Any = Server(is_started=True)

    _stop(server, server)
    _stop(server, server)

    assert server.happened == ["stopping", "stop within 3 s", "stopping", "stop within 0 s"]
