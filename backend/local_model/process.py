"""Runs the built-in model from the parent process: starts the child, knows its address, ends it.

`LocalModel` works with threads only, so it serves a command line and an event loop alike. In a
coroutine, wait with `await asyncio.to_thread(model.address, 30)`.

The child lives no longer than the parent, even if the parent is killed with SIGKILL: it ends when its
stdin does, and see `server.exit_with_parent`. The child gets only the few environment variables that it
needs, and none of the parent's secrets.
"""

from __future__ import annotations

import atexit
import logging
import secrets
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Self

from typing_extensions import override

from backend.utils.llm.forks import ForkSafe, disconnect_inherited_descriptors

from .child import CANNOT_START, PATIENCE, ChildExit, ChildProcess
from .pulse import is_healthy, watch_health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)

State = Literal["stopped", "starting", "ready", "unresponsive", "failed"]

DEMO_NAME: Final = "smollm2-135m-instruct"
DEMO_LABEL: Final = "SmolLM2-135M (built-in demo model)"

PAUSES: Final = (0.5, 1.5, 5.0, 15.0, 30.0)
"""Seconds before each restart; there is one restart for each."""

HEALTHY: Final = 60.0
"""Seconds of service after which the next crash counts as the first again."""

PASSED_ON: Final = frozenset(
    {
        *("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR"),
        *(
            "DYLD_LIBRARY_PATH",
            "LD_LIBRARY_PATH",
            "PYTHONHOME",
            "PYTHONPATH",
        ),  # how the parent finds libraries
        *("SYSTEMROOT", "TEMP"),  # Windows
    }
)
"""The variables of the parent that the child may see."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class LocalModelUnavailable(Exception):  # noqa: N818 - reads as what it is where it is caught
    """The local model cannot be called now. ``reason`` tells the user what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class LocalModelAddress:
    """The base URL of the running model's OpenAI-compatible API, and the key that it requires.

    The repr does not show the key.
    """

    base_url: str
    key: str = field(repr=False)


class LocalModel(ForkSafe):
    """The built-in model: starts and supervises the child process that serves it. Every method is thread-safe.

    `start()` changes the state from ``stopped`` to ``starting``, then to ``ready``. A child that does not
    answer health checks is ``unresponsive``, until it answers again or is killed. After a kill or a crash
    the child is restarted, up to five times in a row. Then, or at once if a restart cannot help, the state
    is ``failed``: `reason` tells the user what to do, and `start()` tries again. In a forked process the
    state is ``stopped``.
    """

    def __init__(
        self,
        gguf: Path | None = None,
        *,
        environ: Mapping[str, str] = NOTHING,
        command: Sequence[str] | None = None,
        start_timeout: float = 120.0,
        pauses: Sequence[float] = PAUSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gguf = gguf.expanduser().absolute() if gguf else None
        self.model_name = self.gguf.stem if self.gguf else DEMO_NAME
        self.label = f"{self.gguf.stem} (your local model)" if self.gguf else DEMO_LABEL
        self._command = tuple(command or (sys.executable, "-P", str(Path(__file__).with_name("server.py"))))
        self._environ = {name: environ[name] for name in PASSED_ON & environ.keys()}
        self._start_timeout = start_timeout
        self._pauses = tuple(pauses)
        self._clock = clock
        self._run: _Run | None = None
        super().__init__()

    @override
    def _begin(self) -> None:
        if self._run is not None and self._run.child is not None:
            disconnect_inherited_descriptors(self._run.child.pipe_descriptors)
        self._changed = threading.Condition()
        self._state: State = "stopped"
        self._reason: str | None = None
        self._address: LocalModelAddress | None = None
        self._run = None

    @property
    def state(self) -> State:
        """The state: ``stopped``, ``starting``, ``ready``, ``unresponsive`` or ``failed``."""
        return self._state

    @property
    def reason(self) -> str | None:
        """What the user can do if the model has failed or does not answer; None in every other state."""
        return self._reason

    def start(self) -> None:
        """Start the child in the background and return at once. Does nothing if the model is starting or ready."""
        with self._changed:
            if self._state in {"starting", "ready", "unresponsive"}:
                return
            self._run = run = _Run(threading.Event())
            self._become("starting", run=run)
            run.thread = threading.Thread(
                target=self._supervise, args=(run,), name="local-model", daemon=True
            )
            run.thread.start()
        atexit.unregister(self.stop)
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop the child: close its stdin, and kill it if it still runs after three seconds. May be repeated."""
        with self._changed:
            run, self._run = self._run, None
            if run:
                self._become("stopped", run=run)
                run.stopping.set()
        if run:
            run.end()
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def current_address(self) -> LocalModelAddress | None:
        """Return the model's address at once; None if the model is not ready."""
        return self._address

    def address(self, timeout: float) -> LocalModelAddress:
        """Wait up to ``timeout`` seconds until the model is ready, and return its address.

        Raises:
            LocalModelUnavailable: The model failed, does not answer, was stopped or never started, or is not
                ready in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state != "starting", timeout)
            if self._address:
                return self._address
            raise LocalModelUnavailable(self._why_not())

    def _why_not(self) -> str:
        if self._state == "starting":
            return f"{self.label} is still starting. Try again in a moment."
        return self._reason or f"{self.label} is not running."

    def _become(
        self, state: State, *, run: _Run, address: LocalModelAddress | None = None, reason: str | None = None
    ) -> None:
        """Change state, unless `run` has been stopped."""
        with self._changed:
            if not run.stopping.is_set():
                self._state, self._address, self._reason = state, address, reason
                self._changed.notify_all()

    def _supervise(self, run: _Run) -> None:
        """Keep a child running, and leave none behind, however the supervision ends."""
        try:
            self._keep_alive(run)
        except Exception:
            log.exception("local_model.supervision_failed")
            self._become("failed", run=run, reason=f"{self.label} cannot be looked after; the log knows why.")
        finally:
            run.kill_child()

    def _keep_alive(self, run: _Run) -> None:
        """Start a child again and again until stopped, or until it has crashed too often."""
        crashes = 0
        while not run.stopping.is_set():
            ending = self._live(run)
            crashes = 1 if ending.served >= HEALTHY else crashes + 1
            if ending.is_permanent or crashes > len(self._pauses):
                self._become("failed", run=run, reason=ending.advice_text(self.label))
                return
            self._become("starting", run=run)
            run.stopping.wait(self._pauses[crashes - 1])

    def _live(self, run: _Run) -> ChildExit:
        """Start one child and wait until it exits."""
        key = secrets.token_urlsafe(24)
        try:
            child = run.spawn(self._command, self._child_environ(key))
        except OSError as error:
            return ChildExit(CANNOT_START, f"The local model cannot be started: {error}.")
        if child is None:
            return ChildExit(0)
        base_url = child.wait_until_ready(self._start_timeout)
        began = self._clock()
        code = (
            self._wait_supervised(run, child, LocalModelAddress(base_url, key))
            if base_url
            else child.wait_for_exit()
        )
        return ChildExit(
            code,
            child.stderr_tail().replace(key, "***"),
            slow=child.slow,
            silent=child.silent,
            served=self._clock() - began if base_url else 0.0,
        )

    def _wait_supervised(self, run: _Run, child: ChildProcess, address: LocalModelAddress) -> int:
        """Wait until a ready child exits, and return its exit code. A thread kills it if it stops answering."""
        self._become("ready", run=run, address=address)
        health_checks = threading.Thread(
            target=self._check_health, args=(run, child, address), name="local-model-pulse", daemon=True
        )
        health_checks.start()
        code = child.wait_for_exit()
        health_checks.join()
        return code

    def _check_health(self, run: _Run, child: ChildProcess, address: LocalModelAddress) -> None:
        silent = f"{self.label} does not answer. Try again in a moment."
        for pulse in watch_health(partial(is_healthy, address.base_url), child.ended):
            if pulse == "silent":
                self._become("unresponsive", run=run, reason=silent)
            elif pulse == "gone":
                log.warning("local_model.restarted_because_it_does_not_answer")
                self._become("starting", run=run)  # before its calls break off: they wait for the next one
                child.kill(silent=True)
            elif self._state == "unresponsive":
                self._become("ready", run=run, address=address)

    def _child_environ(self, key: str) -> dict[str, str]:
        variables = {"LOCAL_LLM_KEY": key, "LOCAL_LLM_NAME": self.model_name}
        if self.gguf:
            variables["LOCAL_LLM_GGUF"] = str(self.gguf)
        return self._environ | variables


@dataclass
class _Run:
    """One `start()` to `stop()`: the thread that supervises, and its present child."""

    stopping: threading.Event
    thread: threading.Thread | None = None
    child: ChildProcess | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spawn(self, command: Sequence[str], environ: Mapping[str, str]) -> ChildProcess | None:
        """Start a child, unless the run has been stopped."""
        with self.lock:
            self.child = None if self.stopping.is_set() else ChildProcess(command, environ)
            return self.child

    def kill_child(self) -> None:
        """Kill the child if it is still alive."""
        with self.lock:
            child = self.child
        if child and not child.ended.is_set():
            child.kill()
            child.wait_for_exit()

    def end(self) -> None:
        """End the child and the thread; `stopping` is set, so no other child will follow."""
        with self.lock:
            child = self.child
        if child:
            child.stop()
        if self.thread:
            self.thread.join(PATIENCE)
