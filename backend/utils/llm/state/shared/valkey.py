"""The store on a Valkey or Redis server: one thread of each process talks to it, for all other threads and event loops.

Commands that are queued at the same time share a round trip. Callers choose how long they wait; while the server is away no
call asks it, so its absence costs no call any time.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from typing_extensions import override

from ...forks import ForkSafe
from .connection import AWAY, RETRY_SECONDS, SOCKET_SECONDS, StateServerConnection, random_reconnect_delay
from .names import PREFIX
from .scripts import BEAT, CHANGE, HOLD, RESERVE, SET_ASIDE
from .store import LEASE_SECONDS, RENEW_SECONDS, CounterChange, LimitState, ReservationAnswer, SharedLimit
from .stream import EventListener, make_publish_commands
from .unsent import AT_ONCE, MOST_UNSENT, UnsentChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import SecretStr

    from .store import CountReporter, EventHandler, Kind, SharedEvent

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
PRESENT_SECONDS = 5.0
"""Seconds after its last beat at which a process no longer counts as present."""
TELL_SECONDS = 60.0
"""Least seconds between two log lines about an absent server: a slow server comes and goes."""
SETTLE_SECONDS = 2.0
"""Seconds for which a process keeps to its share after the server was away or lost its data, while the others report, too."""
SETTLING_SECONDS = 0.05
"""Seconds for which counter changes wait for a shared round trip, mostly that of the next reservation."""
FLUSH_SECONDS = 0.05
"""Seconds for which mergeable events wait; longer with more than `CROWD` processes."""
PATIENCE_SECONDS = 0.04
"""`StateStore.patience`; with a second check, no call waits longer than 50 ms."""
LATE_SHARE = 0.8
"""The share of `patience` for which commands must be unanswered, at two checks, before the server counts as away."""
CROWD = 8
"""The number of processes above which mergeable events wait longer."""
MOST_LENGTHS = 1_000
"""Lengths of windows and totals whose text is cached."""
_TAG = f"{PREFIX}:{{processes}}"
_KEYS: Final = (f"{_TAG}:present", f"{_TAG}:generation")


class _Job(NamedTuple):
    """One command, and the callback for its reply; the reply is None if the command failed."""

    command: tuple[Any, ...]
    callback: Callable[[Any], None] | None = None


_WAKE: Final = _Job(())


class ValkeyStore(ForkSafe):
    """A `StateStore` on a Valkey or Redis server.

    Args:
        url: The server's address: ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://``.
        on_event: Called with each event of other processes.
        now: Returns the time in milliseconds, for tests; 0 stands for the server's own clock.
    """

    reporter: CountReporter | None = None

    def __init__(self, url: SecretStr, on_event: EventHandler, *, now: Callable[[], int] = lambda: 0) -> None:
        self._url = url
        self._listener = EventListener(url, on_event)
        self._now = now
        self.patience = PATIENCE_SECONDS
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._name = os.urandom(8).hex()
        self._thread: threading.Thread | None = None
        self._connection: StateServerConnection | None = None
        self._shas: dict[str, str] = {}
        self._generation: bytes | None = None
        self._soon: dict[tuple[str, Any], SharedEvent] = {}
        self._at_once: list[SharedEvent] = []
        self._changes: list[CounterChange] = []
        self._unsent = UnsentChanges()
        self._freed: list[tuple[str, str]] = []
        self._flushes_at = self._changes_at = math.inf
        self._sleeps_until = -math.inf
        self._dozes_at = math.inf
        self._suspected = self._trying_since = math.inf
        self._beats_at = self._renews_at = -math.inf
        self._settles_until = self._logged_at = -math.inf
        self._joins = 0
        self._is_there = False
        self._is_closing = self._is_told = False
        self._clock_offset = 0.0
        self.is_slow = False
        self.joined = True  # what comes first waits for the first connection
        self.away_since: float | None = None
        self.processes = 1

    # Asked by calls, from any thread ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads. Does nothing if they run. See `StateStore.start`."""
        if self._thread is None:
            with self._lock:
                self._start_once()

    def _start_once(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shared-state", daemon=True)
            self._thread.start()
            self._listener.start(self._name)

    def reserve(
        self, name: str, limits: Sequence[SharedLimit], on_answer: Callable[[ReservationAnswer | None], None]
    ) -> None:
        """Queue a reservation of ``limits``; the answer is passed to ``on_answer``. See `StateStore.reserve`."""
        if not self.joined:
            on_answer(None)
            return
        command = (
            "EVALSHA",
            RESERVE,
            len(limits),
            *[limit.key for limit in limits],
            self._now(),
            name,
            self._name,
            self.processes,
            *[
                f"{limit.kind} {limit.ask} {limit.most} {_counts_for(limit.kind, limit.seconds)}"
                for limit in limits
            ],
        )
        self._put(_Job(command, lambda reply: on_answer(None if reply is None else _answer(reply))))

    def queue_changes(self, changes: Sequence[CounterChange]) -> None:
        """Queue changes of counters. See `StateStore.queue_changes`."""
        self._settle(changes, ())

    def release_slots(self, name: str, keys: Sequence[str], *, send_now: bool) -> None:
        """Queue the release of the slots that the request ``name`` holds. See `StateStore.release_slots`."""
        self._settle((), [(key, name) for key in keys], 0.0 if send_now else SETTLING_SECONDS)

    def _settle(
        self,
        changes: Sequence[CounterChange],
        freed: Sequence[tuple[str, str]],
        seconds: float = SETTLING_SECONDS,
    ) -> None:
        if not (changes or freed):
            return
        with self._lock:
            if not self._is_there:
                self._unsent.add_changes_bounded(() if self._is_closing else changes)
                self._freed += freed
                del self._freed[:-MOST_UNSENT]
                return
            self._changes += changes
            self._freed += freed
            at = time.monotonic() + seconds
            if self._changes_at <= at:
                return
            self._changes_at = at
            is_asleep = self._sleeps_until > self._changes_at
        if is_asleep:
            self._put(_WAKE)

    def publish(
        self, event: SharedEvent, *, merge: Callable[[SharedEvent, SharedEvent], SharedEvent] | None = None
    ) -> None:
        """Queue ``event`` for all other processes. Dropped if the server is unreachable. See `StateStore.publish`."""
        with self._lock:
            if self._is_closing or self.away_since is not None:
                return  # when it is back, this will be old
            if merge is None:
                self._at_once.append(event)
            else:
                key = (event.kind, event.values[0])
                self._soon[key] = event if key not in self._soon else merge(self._soon[key], event)
                if self._flushes_at < math.inf:
                    return
                self._flushes_at = time.monotonic() + FLUSH_SECONDS * max(1.0, self.processes / CROWD)
        self._put(_WAKE)

    def is_unreachable(self) -> bool:
        """Whether the server is unreachable, after a wait has timed out. See `StateStore.is_unreachable`."""
        connection = self._connection
        asked_at = self._trying_since if connection is None else connection.asked_at
        is_busy = connection is not None and connection.has_unread_answer
        if is_busy or time.monotonic() - asked_at < LATE_SHARE * self.patience:
            return not self.joined
        if asked_at == self._suspected:
            if self.away_since is None:
                # Connected, or about to be for the first time: it may be counting for others.
                self.is_slow = connection is not None or self._generation is None
            self._away(f"no answer within {1000 * self.patience:.0f} ms")
        self._suspected = asked_at
        return not self.joined

    def close(self) -> None:
        """Send everything that is queued, and stop the threads, within 2 seconds. See `StateStore.close`."""
        with self._lock:
            self._is_closing, thread = True, self._thread
        self._listener.close()
        if thread is not None:
            self._jobs.put(_WAKE)
            thread.join(2 * SOCKET_SECONDS)

    def _put(self, job: _Job) -> None:
        self.start()
        self._jobs.put(job)

    def _changing(self, changes: Sequence[CounterChange]) -> tuple[Any, ...]:
        arguments = [
            part
            for limit, bucket, amount in changes
            for part in (limit.kind, bucket, amount, *_milliseconds(limit))
        ]
        keys = [change.limit.key for change in changes]
        return ("EVALSHA", CHANGE, len(keys), *keys, self._now(), *arguments)

    # In its own thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._take_turn()
            self._leave()
        finally:
            self.joined, self._is_there = False, False  # nobody waits for a thread that is gone

    def _take_turn(self) -> None:
        jobs, due = self._gathered(), list[_Job]()
        if not self.joined:  # nobody waits for these any more
            self._fail(jobs)
            jobs = []
        try:
            if self._connection is not None or self._connected():
                due = [*self._due()]
        except Exception as error:  # noqa: BLE001 - told by `_lost`
            self._lost(error)
        if self._connection is not None:
            self._exchange([*due, *jobs])  # what is given back, first
        else:
            self._fail(jobs)
            self._rest()

    def _rest(self) -> None:
        """Wait before the next attempt to connect, and fail what is queued meanwhile."""
        until = time.monotonic() + random_reconnect_delay()
        while not self._is_closing and (seconds := until - time.monotonic()) > 0:
            with suppress(Empty):
                self._fail([self._jobs.get(timeout=seconds)])

    def _gathered(self) -> list[_Job]:
        """The queued jobs: waits for the first, and takes all others that are there."""
        self._sleeps_until = math.inf  # what comes between the two lines wakes it
        changes_at = self._changes_at if self.joined else math.inf
        until = min(self._beats_at, self._flushes_at, changes_at, self._dozes_at)
        self._sleeps_until, self._dozes_at = until, math.inf
        seconds = until - time.monotonic()
        jobs: list[_Job] = []
        with suppress(Empty):
            jobs.append(self._jobs.get(timeout=max(0.0, seconds)) if seconds > 0 else self._jobs.get_nowait())
            while True:
                jobs.append(self._jobs.get_nowait())
        return [job for job in jobs if job is not _WAKE]

    def _due(self) -> Iterator[_Job]:
        """The jobs whose time has come: beat, renewal of places, allowances, and queued changes and events."""
        now = time.monotonic()
        if is_beat := now >= self._beats_at:
            self._beats_at = now + (BEAT_SECONDS if self.joined else RETRY_SECONDS)
            yield _Job(self._beat(), lambda reply: self._beaten(now, reply))
        if now >= self._renews_at:
            self._renews_at = now + RENEW_SECONDS
            yield from self._holds()
        if is_beat and self.joined:
            yield from self._sets_aside()
        yield from self._waiting(now)

    def _waiting(self, now: float) -> Iterator[_Job]:
        """The queued changes, releases and events, as jobs."""
        with self._lock:
            events, self._at_once = self._at_once, []
            if now >= self._flushes_at:
                events += self._soon.values()
                self._soon, self._flushes_at = {}, math.inf
            changes, freed = list[CounterChange](), list[tuple[str, str]]()
            if self.joined:  # else what went out without a word is told first
                changes, self._changes = self._changes, []
                freed, self._freed = self._freed, []
                self._changes_at = math.inf
        if changes:
            yield self._settling(changes)
        for key, names in _by_key(freed).items():
            yield _Job(("ZREM", key, *names))
        if events:
            yield from map(_Job, make_publish_commands(self._name, events))

    def _sets_aside(self) -> Iterator[_Job]:
        """The job that renews this process's allowance of each limit in use."""
        in_use = self.reporter.list_limits_in_use() if self.reporter is not None else ()
        if not in_use:
            return
        arguments = [
            part for limit, held in in_use for part in (limit.kind, limit.most, *_milliseconds(limit), held)
        ]
        keys = [limit.key for limit, _ in in_use]
        head = ("EVALSHA", SET_ASIDE, len(keys), *keys, self._now(), self._name, self.processes)
        joins = self._joins

        def on_reply(reply: Any) -> None:
            is_latest = joins == self._joins  # joining again has set other amounts aside since
            if is_latest and reply is not None and self.reporter is not None:
                rooms = zip(reply[::2], reply[1::2], strict=True)
                answers = [LimitState(left, allowance=amount) for left, amount in rooms]
                self.reporter.set_allowances(
                    [(limit, room) for (limit, _), room in zip(in_use, answers, strict=True)]
                )

        yield _Job((*head, *arguments), on_reply)

    def _beat(self) -> tuple[Any, ...]:
        milliseconds = round(1000 * PRESENT_SECONDS)
        return ("EVALSHA", BEAT, 2, *_KEYS, self._name, milliseconds, os.urandom(8).hex())

    def _holds(self) -> Iterator[_Job]:
        places = list(self.reporter.list_taken_slots()) if self.reporter is not None else []
        if places:
            lease = round(1000 * LEASE_SECONDS)
            keys, names = [limit.key for limit, _ in places], [name for _, name in places]
            yield _Job(("EVALSHA", HOLD, len(keys), *keys, self._now(), lease, *names))

    def _exchange(self, jobs: Sequence[_Job]) -> None:
        """Send ``jobs`` in one round trip, and pass on the replies."""
        if self._connection is None:
            self._fail(jobs)
            return
        if not jobs:
            return
        try:
            replies = self._sent(self._connection, [job.command for job in jobs])
        except Exception as error:  # noqa: BLE001 - told by `_lost`
            self._lost(error)
            self._fail(jobs)
            return
        self._dozes_at = time.monotonic() + SETTLING_SECONDS
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        for job, reply in zip(jobs, replies, strict=True):
            _tell(job, None if isinstance(reply, Exception) else reply)
        if errors:
            self._lost(errors[0])

    def _sent(self, connection: StateServerConnection, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        return connection.run(
            [
                (name, self._shas[rest[0]], *rest[1:]) if name == "EVALSHA" else (name, *rest)
                for name, *rest in commands
            ]
        )

    def _fail(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            _tell(job, None)

    # There, and away ---------------------------------------------------------------------------------------------------

    def _connected(self) -> bool:
        """Connect to the server and register this process; False if the server cannot be reached."""
        self._trying_since = time.monotonic()
        try:
            self._connection = connection = StateServerConnection(self._url)
            scripts = (RESERVE, SET_ASIDE, CHANGE, HOLD, BEAT)
            shas = connection.run([("SCRIPT", "LOAD", script) for script in scripts])
            self._shas = dict(zip(scripts, shas, strict=True))
            asked_at = time.monotonic()
            (reply,) = self._sent(connection, [self._beat()])
            if isinstance(reply, Exception):
                raise reply
        except AWAY as error:
            self._lost(error)
            return False
        with self._lock:
            self._is_there = True
        self._beaten(asked_at, reply)
        return self._connection is not None

    def _beaten(self, asked_at: float, reply: Any) -> None:
        """Handle the reply to a beat: decide whether the server's counts are binding from now on."""
        if reply is None:
            return
        now = time.monotonic()
        processes, generation, milliseconds = reply
        self.processes = max(1, processes)
        self._clock_offset = (
            milliseconds / 1000 - asked_at
        )  # at the most: what counts too long is never too little
        was, self._generation = self._generation, generation
        is_empty = was is not None and was != generation
        if is_empty:
            self.joined = self.is_slow = False  # nobody waits until all is told; nothing is set aside now
        self._report(everything=is_empty)
        if self._connection is None:
            return
        absence = 0.0 if self.away_since is None else now - self.away_since
        if is_empty or (absence > BEAT_SECONDS and not self.is_slow and self._settles_until < 0):
            self.joined, self._settles_until = False, now + SETTLE_SECONDS
        is_prompt = now - asked_at <= self.patience or absence > BEAT_SECONDS
        if not self.joined and is_prompt and now >= self._settles_until:
            self._join()  # and have something set aside again
        self._beats_at = now + (BEAT_SECONDS if self.joined else RETRY_SECONDS)

    def _report(self, *, everything: bool) -> None:
        """Report what was sent without the server's answer; or everything, if the server has lost its data."""
        if everything:
            with self._lock:  # the process says it anew
                self._unsent, self._changes = UnsentChanges(), []
        if self.reporter is not None:
            changes = iter(self.reporter.list_unreported_changes(self._bucket, include_reported=everything))
            while piece := list(islice(changes, AT_ONCE)):
                self._tell_of(piece)
            if not self.joined:
                self._renews_at = -math.inf
        while self._connection is not None and self._unsent:
            with self._lock:
                piece = self._unsent.pop_batch()
            self._tell_of(piece)

    def _tell_of(self, changes: Sequence[CounterChange]) -> None:
        if self._connection is not None:
            self._exchange([self._settling(changes, is_report=True)])
        else:
            with self._lock:
                self._unsent.add_changes(changes)

    def _settling(self, changes: Sequence[CounterChange], *, is_report: bool = False) -> _Job:
        """The job that sends ``changes``. If it fails, increases are queued again: better count too much than too little."""

        def on_reply(reply: Any) -> None:
            is_refused = self._connection is not None
            if reply is None and not (is_report and is_refused):  # what is refused twice always will be
                with self._lock:
                    self._unsent.add_changes_bounded(change for change in changes if change.amount > 0)

        return _Job(self._changing(changes), on_reply)

    def _bucket(self, limit: SharedLimit, seconds_ago: float) -> int:
        now = self._now() / 1000 or time.monotonic() + self._clock_offset
        return math.floor((now - seconds_ago) / limit.bucket_seconds)

    def _join(self) -> None:
        with self._lock:
            self.joined, self.is_slow, self._settles_until = True, False, -math.inf
            self._joins += 1
            since, self.away_since = self.away_since, None
        if self.reporter is not None:
            self.reporter.on_store_rejoin()
            self._report(everything=False)  # what went out since it was told
            self._exchange([*self._holds(), *self._sets_aside()])
        if since is not None and since == self._logged_at:
            log.warning(
                "the state server is back after %.1f s: limits are counted together again",
                time.monotonic() - since,
                extra={"event": "state_server.back"},
            )

    def _lost(self, error: BaseException) -> None:
        """Close the connection, which is broken, and mark the server as away."""
        connection, self._connection, self._is_there = self._connection, None, False
        if connection is not None:
            connection.close()
        self._settles_until, self.is_slow = -math.inf, False
        self._away(type(error).__name__)
        if not (self._is_told or isinstance(error, AWAY)):
            self._is_told = True
            log.error("the state server cannot be used; it is tried again and again", exc_info=error)

    def _away(self, why: str) -> None:
        with self._lock:
            now = time.monotonic()
            if is_news := self.away_since is None:
                self.away_since = now
            self.joined = False
            self._at_once, self._soon, self._flushes_at = [], {}, math.inf
            self._beats_at = min(self._beats_at, now)
            is_told = is_news and now - self._logged_at > TELL_SECONDS
            self._logged_at = now if is_told else self._logged_at
        if is_told:
            log.warning(
                "the state server is away (%s): this process goes on with its own share of limits, one of %d",
                why,
                self.processes,
                extra={"event": "state_server.away"},
            )

    def _leave(self) -> None:
        """Send what is queued, and unregister this process."""
        with suppress(Empty):
            jobs: list[_Job] = []
            while True:
                jobs.append(self._jobs.get_nowait())
        self._flushes_at = -math.inf
        if self._connection is None:
            self._fail(jobs)
        else:
            self._exchange([*self._due(), *(job for job in jobs if job is not _WAKE)])
            self._exchange([_Job(("ZREM", _KEYS[0], self._name))])
        if self._connection is not None:
            self._connection.close()


def _tell(job: _Job, reply: Any) -> None:
    """Pass ``reply`` to the job's callback. An error of one callback does not affect the others."""
    if job.callback is not None:
        try:
            job.callback(reply)
        except Exception:
            log.exception("what the state server said was not understood; others are told all the same")


def _by_key(freed: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """The names of the requests whose places are free, by the places' key."""
    found: dict[str, list[str]] = {}
    for key, name in freed:
        found.setdefault(key, []).append(name)
    return found


def _milliseconds(limit: SharedLimit) -> tuple[int, float]:
    """The milliseconds for which ``limit`` counts, and those of one bucket."""
    if limit.kind == "window":
        return round(1000 * limit.grant_seconds), 1000 * limit.bucket_seconds
    return round(1000 * limit.seconds), 0


@lru_cache(maxsize=MOST_LENGTHS)
def _counts_for(kind: Kind, seconds: float) -> str:
    """`_milliseconds` of a limit, as text."""
    length, grain = _milliseconds(SharedLimit("", kind, 0, 0, seconds))
    return f"{length} {grain}"


def _answer(reply: bytes) -> ReservationAnswer:
    granted, *numbers = map(int, reply.split())
    rooms = [
        LimitState(left, math.inf if wait < 0 else wait / 1000, bucket, None if allowance < 0 else allowance)
        for left, wait, bucket, allowance in zip(*[iter(numbers)] * 4, strict=True)
    ]
    return ReservationAnswer(bool(granted), tuple(rooms))
