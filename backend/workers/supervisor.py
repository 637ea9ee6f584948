"""Supervises the worker processes: starts them, replaces those that end, and stops them."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client.multiprocess import mark_process_dead
from pydantic import SecretStr

from backend.settings import make_worker_environment

from .connections import ConnectionDispatcher, WorkerChannel
from .lines import BuiltInModelAddress, BuiltInModelState, ReportNotReady, StartWorker
from .worker_process import WorkerProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Iterator, Sequence

    from backend.local_model import LocalModel

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-m", "backend.workers.worker")
HEALTHY: Final = 60.0
"""Seconds of service after which a worker's end counts as the first again."""
DRAIN_SECONDS: Final = 300.0
"""Seconds that answers under way may take in a worker that has been replaced."""
MODEL_SECONDS: Final = 0.2
"""Seconds between two checks of the built-in model's state."""


class SupervisorTimes(NamedTuple):
    """The timing of a supervisor, in seconds.

    Attributes:
        pauses: The pauses before a crashed worker is replaced, by the number of crashes in a row.
        start: The maximum time for a worker to start, after which it is killed.
        leaving: How long, when the supervisor is stopped, workers report that they are not ready but still
            accept requests, so that load balancers send no more requests.
        ending: The maximum time for a worker to end, beyond the time that its requests in flight may take,
            after which it is killed.
    """

    pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
    start: float = 120.0
    leaving: float = 0.0
    ending: float = 10.0


class Supervisor:
    """Runs several worker processes on one port, and replaces workers that crash.

    The signal SIGHUP replaces all workers one by one, without a failed request.

    Args:
        worker_count: The number of workers.
        model: The built-in model, which all workers share. The caller starts and stops it.
        launch_token: See `create_app`.
        command: The command that starts a worker.
        times: The timing; None for the defaults.
    """

    def __init__(
        self,
        worker_count: int,
        model: LocalModel,
        launch_token: str,
        command: Sequence[str] = COMMAND,
        times: SupervisorTimes | None = None,
    ) -> None:
        self._number = worker_count
        self._model = model
        self._launch_token = SecretStr(launch_token)
        self._command = tuple(command)
        self._times = times or SupervisorTimes()
        self._places: dict[int, WorkerProcess] = {}
        self._living: set[WorkerProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling = [asyncio.Lock() for _ in range(worker_count)]
        self._is_restarting = self._is_wanted_again = False
        self._endings = 0
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_started = False
        self.is_stopping = False

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The process ids of the workers that are serving or starting."""
        return tuple(worker.process.pid for worker in self._places.values())

    def stop(self, grace_seconds: float) -> None:
        """Stop all workers. Requests in flight get at most ``grace_seconds`` to finish. Thread-safe.

        First, workers report for ``times.leaving`` seconds that they are not ready, but still accept requests. A
        second call skips that wait.
        """
        is_leaving = self._times.leaving > 0 and self.is_started and not self.is_stopping
        self.is_stopping = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: all have ended
                self._loop.call_soon_threadsafe(self._leave if is_leaving else self._end_all, grace_seconds)

    async def serve(self, listener: socket.socket) -> None:
        """Run the workers until they have ended after `stop`, or until the first workers fail to start.

        Args:
            listener: The socket to which clients connect.
        """
        self._loop = asyncio.get_running_loop()
        with tempfile.TemporaryDirectory(prefix="patchbay-metrics-") as folder, self._on_hangup():
            self._dispatcher, self._metrics = ConnectionDispatcher(listener), Path(folder)
            telling = asyncio.create_task(self._tell_of_model())
            try:
                await asyncio.gather(*map(self._fill, range(self._number)))
                self.is_started = all(worker.serves for worker in self._places.values())
            except OSError as error:
                log.error("workers.cannot_start: %s", error)  # noqa: TRY400 - it says all
            if not self.is_started:
                self._give_up()
            if self._living:
                await self._over.wait()
            telling.cancel()
            await asyncio.gather(telling, *self._tasks, return_exceptions=True)

    async def restart_workers(self) -> None:
        """Replace all workers, one by one. If a new worker does not start, the remaining old workers stay.

        If a restart is in progress, another restart follows it.
        """
        self._is_wanted_again = self._is_restarting
        if self._is_restarting:
            return
        self._is_restarting = True
        try:
            await self._replace_all()
            while self._is_wanted_again:
                self._is_wanted_again = False
                await self._replace_all()
        finally:
            self._is_restarting = False

    async def _replace_all(self) -> None:
        log.warning("workers.restart_began workers=%d", self._number)
        for place in range(self._number):
            if self.is_stopping or not await self._replace(place):
                return
        log.warning("workers.restarted workers=%d", self._number)

    async def _replace(self, place: int) -> bool:
        async with self._filling[place]:
            try:
                fresh = await self._start(place)
            except OSError as error:
                log.error("workers.restart_failed: %s; the others go on as they are", error)  # noqa: TRY400 - it says all
                return False
            await self._settled(fresh)
            if not fresh.serves:
                log.error("workers.restart_failed: the others go on as they are")
                return False
            before, self._places[place] = self._places.get(place), fresh
            self._admit(fresh)
        if before is not None:
            self._dispatcher.remove_channel(before.channel)
            self._spawn(before.stop_or_kill(DRAIN_SECONDS, self._times.ending))
        return True

    async def _fill(self, place: int, ended: WorkerProcess | None = None) -> None:
        """Start a worker in the place of ``ended``, and wait until it serves, unless a restart has filled the place.

        Raises:
            OSError: No process can be started.
        """
        async with self._filling[place]:
            if not self.is_stopping and self._places.get(place) is ended:
                self._places[place] = worker = await self._start(place)
                await self._settled(worker)
                self._admit(worker)

    def _admit(self, worker: WorkerProcess) -> None:
        """Send connections to ``worker``, unless it is stopping or has ended."""
        if worker.serves and not worker.stopping.is_set():
            self._dispatcher.add_channel(worker.channel)

    async def _settled(self, worker: WorkerProcess) -> None:
        """Wait until ``worker`` serves or has ended. It is killed if that takes too long."""
        try:
            async with asyncio.timeout(self._times.start):
                await worker.settled.wait()
        except TimeoutError:
            log.error("workers.did_not_start pid=%d within_s=%g", worker.process.pid, self._times.start)  # noqa: TRY400 - it says all
            with suppress(ProcessLookupError):
                worker.process.kill()
            await worker.settled.wait()

    async def _start(self, place: int) -> WorkerProcess:
        channel = WorkerChannel()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(channel.worker_descriptor,),
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops them in order
                env=make_worker_environment(self._metrics),
            )
        except OSError:
            channel.close()
            raise
        worker = WorkerProcess(process, channel)
        self._living.add(worker)
        self._spawn(self._watch(worker, place))
        model = make_built_in_model_state(self._model)
        worker.send_order(
            StartWorker(channel=channel.worker_descriptor, launch_token=self._launch_token, model=model)
        )
        if self.is_stopping:
            self._spawn(worker.stop_or_kill(0, self._times.ending))
        return worker

    async def _watch(self, worker: WorkerProcess, place: int) -> None:
        """Wait for the end of ``worker``. Unless the end was wanted, start another worker in its place."""
        await worker.stopping.wait()
        self._dispatcher.remove_channel(worker.channel)
        status = await worker.wait_for_exit()
        self._living.discard(worker)
        mark_process_dead(worker.process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        if self.is_stopping:
            self._end_if_alone()
        elif self._places.get(place) is not worker:
            return  # another has taken its place, or it never had one
        elif not self.is_started:
            self._give_up()
        else:
            await self._refill(place, worker, status)

    async def _refill(self, place: int, worker: WorkerProcess, status: int) -> None:
        """Start a worker in the place of ``worker``, which has ended, as soon as possible."""
        while not self.is_stopping:
            await self._pause(worker, status)
            try:
                await self._fill(place, worker)
            except OSError as error:
                log.error("workers.cannot_start: %s", error)  # noqa: TRY400 - it says all
            else:
                return

    async def _pause(self, worker: WorkerProcess, status: int) -> None:
        lasted = asyncio.get_running_loop().time() - worker.began
        self._endings = 1 if lasted >= HEALTHY else self._endings + 1
        seconds = self._times.pauses[min(self._endings, len(self._times.pauses)) - 1]
        log.error("workers.ended pid=%d status=%d next_in_s=%g", worker.process.pid, status, seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def _tell_of_model(self) -> None:
        sent_state = make_built_in_model_state(self._model)
        while True:
            await asyncio.sleep(MODEL_SECONDS)
            now = make_built_in_model_state(self._model)
            if now != sent_state:
                for worker in self._living:
                    worker.send_order(now)
            sent_state = now

    def _give_up(self) -> None:
        self.is_stopping = True
        self._end_all(0)

    def _leave(self, seconds: float) -> None:
        for worker in self._living:
            worker.send_order(ReportNotReady())
        asyncio.get_running_loop().call_later(self._times.leaving, self._end_all, seconds)

    def _end_all(self, seconds: float) -> None:
        self._dispatcher.close()
        for worker in self._living:
            self._spawn(worker.stop_or_kill(seconds, self._times.ending))
        self._end_if_alone()

    def _end_if_alone(self) -> None:
        if not self._living:
            self._over.set()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextmanager
    def _on_hangup(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.restart_workers()))
        except (NotImplementedError, RuntimeError, ValueError):  # not in the main thread, or no such signals
            yield
            return
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)


def make_built_in_model_state(model: LocalModel) -> BuiltInModelState:
    """Make the message that tells workers the current state of ``model``."""
    state, address = model.state, model.current_address()
    worker_address = address and BuiltInModelAddress(base_url=address.base_url, key=SecretStr(address.key))
    return BuiltInModelState(label=model.label, state=state, reason=model.reason, address=worker_address)
