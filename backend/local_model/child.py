"""The child process that serves the model: its pipes, its ready line, and how it ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Pipe = IO[bytes]

CANNOT_START: Final = 78
"""The exit status of `server.py` when a restart will not help."""

PATIENCE: Final = 3.0
"""Seconds that a child has to exit before it is killed."""

LONGEST_LINE: Final = 65_536
"""The most bytes of stdout that are buffered at once."""


@dataclass(frozen=True)
class ChildExit:
    """How a child process ended.

    Attributes:
        code: The exit code.
        words: The end of its stderr.
        slow: Whether it was killed because it was not ready in time.
        silent: Whether it was killed because it did not answer health checks.
        served: For how many seconds it was ready.
    """

    code: int
    words: str = ""
    slow: bool = False
    silent: bool = False
    served: float = 0.0

    @property
    def is_permanent(self) -> bool:
        """Whether a restart would fail in the same way, so that the model is not started again."""
        return self.slow or self.code == CANNOT_START

    def advice_text(self, label: str) -> str:
        """Say in one line what went wrong and what the user can do. ``label`` is the model's display name."""
        if self.code == CANNOT_START and self.words:
            return self.words.splitlines()[-1]
        what = f"keeps stopping (exit code {self.code})"
        if self.slow or self.silent:
            what = "was not ready in time" if self.slow else "does not answer, however often it is started"
        output = f" It said: {' '.join(self.words.split())}" if self.words else ""
        return f"{label} {what}. Configure the key of a provider, or name another model in LOCAL_LLM_GGUF.{output}"


class ChildProcess:
    """A running child process. One thread waits for its exit; any other thread may stop it."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(  # noqa: S603 - our own server, or a test's
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environ, start_new_session=True
        )  # a session of its own: Ctrl-C reaches the parent alone, which then ends the child in order
        self._stdin = cast("Pipe", self._process.stdin)
        self._stdout = cast("Pipe", self._process.stdout)
        self._stderr = cast("Pipe", self._process.stderr)
        self._output: deque[bytes] = deque(maxlen=8)
        self._listener = threading.Thread(target=self._listen, name="local-model-stderr", daemon=True)
        self._listener.start()
        self.slow = self.silent = False
        self.ended = threading.Event()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def pipe_descriptors(self) -> tuple[int, ...]:
        """The file descriptors of the child's pipes that are still open."""
        return tuple(pipe.fileno() for pipe in (self._stdin, self._stdout, self._stderr) if not pipe.closed)

    def wait_until_ready(self, timeout: float) -> str | None:
        """Wait until the child prints its ready line, and return the base URL in this line.

        Returns None if the child exited, or was killed because it was not ready within ``timeout`` seconds.
        """
        timer = threading.Timer(timeout, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            return next(filter(None, map(_base_url, self._lines())), None)
        finally:
            timer.cancel()

    def wait_for_exit(self) -> int:
        """Wait until the child exits, and return its exit code. Its output on stdout is dropped meanwhile."""
        for _ in self._lines():
            pass
        code = self._process.wait()
        self.ended.set()
        self._listener.join(PATIENCE)
        self._close_pipes()
        return code

    def stderr_tail(self) -> str:
        """Return the last 600 characters of the child's stderr."""
        return b"\n".join(self._output).decode(errors="replace")[-600:].strip()

    def stop(self) -> None:
        """Ask the child to exit by closing its stdin; kill it if it still runs after `PATIENCE` seconds."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def kill(self, *, silent: bool = False) -> None:
        """Kill the child at once. ``silent`` records whether the reason is that it did not answer health checks."""
        self.silent = silent
        self._process.kill()

    def _give_up(self) -> None:
        self.slow = True
        self.kill()

    def _lines(self) -> Iterator[bytes]:
        return iter(lambda: self._stdout.readline(LONGEST_LINE), b"")

    def _listen(self) -> None:
        for line in iter(lambda: self._stderr.readline(LONGEST_LINE), b""):
            self._output.append(line.rstrip())

    def _close_pipes(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._stdout.close()
        if not self._listener.is_alive():  # else something that outlives the child still holds it open
            self._stderr.close()


def _base_url(line: bytes) -> str | None:
    """Parse the ready line; any other output of the child is ignored."""
    try:
        ready = json.loads(line)
    except ValueError:
        return None
    base_url = ready.get("base_url") if isinstance(ready, dict) else None
    return base_url if isinstance(base_url, str) else None
