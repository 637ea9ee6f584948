"""Records which users' keys a provider refuses, and notifies their owners.

It neither delays calls nor changes their results. A background task writes, at most once a minute for each key.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from typing_extensions import override

from backend.utils.llm.clock import Time
from backend.utils.llm.forks import PerProcess
from backend.utils.llm.model_config import OWN

from .problem import KeyProblem, reason_of
from .request_keys import RequestKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic import SecretStr

    from backend.background import Background
    from backend.utils.llm.caller import Caller
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route

    from .store import KeyStore
    from .vault import Place

log = logging.getLogger(__name__)

PAUSE: Final = 60.0
"""The shortest time in seconds between two writes for a key."""
_INTERVAL: Final = 1.0
_REMEMBERED: Final = 10_000


class Notifier(Protocol):
    """Notifies owners that their key is refused: once per key, reason and day, over all servers."""

    async def notify(self, place: Place, problem: KeyProblem) -> None:
        """Notify the owner of the key at ``place``. An error is logged, and there is no second try that day."""
        ...


class LogNotifier:
    """A `Notifier` that logs a warning."""

    async def notify(self, place: Place, problem: KeyProblem) -> None:
        """Log a warning. See `Notifier.notify`."""
        log.warning(
            "keys.refused user=%s provider=%s reason=%s endpoint=%s",
            place.user_id,
            place.provider,
            problem.reason,
            problem.endpoint,
        )


class _Observation(NamedTuple):
    """What to write about a key: its problem, or (None) that a call at ``endpoint`` worked."""

    place: Place
    endpoint: str
    problem: KeyProblem | None


class KeyMonitor(PerProcess):
    """Records which users' keys a provider refuses or accepts, so that owners can be notified.

    Pass its method `observe` to ``Patchbay(observer=…)``. Until they are written, it keeps the last observation of each of
    at most 10,000 keys.

    Args:
        notifier: Notifies owners; by default, a warning in the log.
        time: The clocks.
    """

    def __init__(self, notifier: Notifier | None = None, time: Time | None = None) -> None:
        self._notifier = notifier or LogNotifier()
        self._time = time or Time()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._observations: dict[str, _Observation] = {}
        self._written: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def observe(self, route: Route, attempt: Attempt) -> None:
        """Record the outcome of an attempt. Attempts with other keys than a user's from a `Keychain` are ignored."""
        if attempt.key_owner != "user":
            return
        key = _key(route.caller, attempt.endpoint.partition(":")[0])
        if not isinstance(key, RequestKey):
            return
        place, now = key.version.place, self._time.now()
        if (reason := reason_of(attempt)) is not None:
            self._keep(_Observation(place, attempt.endpoint, KeyProblem(reason, attempt.endpoint, now, now)))
        elif attempt.outcome == "ok":
            unwritten = self._observations.get(place.row)
            known = key.version.problem if unwritten is None else unwritten.problem
            if known is not None and known.ends_with(attempt.endpoint):
                self._keep(_Observation(place, attempt.endpoint, None))

    @asynccontextmanager
    async def writing(self, store: KeyStore, background: Background) -> AsyncIterator[None]:
        """Write observations to ``store`` in the background while the context lasts, and the remaining ones when it ends."""
        try:
            async with background.repeating("keys.monitor", partial(self.write, store), every=_INTERVAL):
                yield
        finally:
            await self.write(store, hurry=True)

    async def write(self, store: KeyStore, *, hurry: bool = False) -> None:
        """Write the pending observations to ``store``, at most one per key and minute; with ``hurry``, all of them at once."""
        for observation in self._due(hurry=hurry):
            try:
                await self._write(observation, store)
            except Exception:
                log.exception("keys.problem_not_recorded")

    async def _write(self, observation: _Observation, store: KeyStore) -> None:
        if observation.problem is None:
            await store.record_success(observation.place.row, observation.endpoint)
        elif await store.record_problem(observation.place.row, observation.problem):
            await self._notifier.notify(observation.place, observation.problem)

    def _keep(self, observation: _Observation) -> None:
        with self._lock:
            if observation.place.row in self._observations or len(self._observations) < _REMEMBERED:
                self._observations[observation.place.row] = observation

    def _due(self, *, hurry: bool) -> Iterator[_Observation]:
        """Take out the observations whose keys were not written in the last minute; all of them with ``hurry``."""
        if not self._observations:
            return
        now = self._time.clock()
        with self._lock:
            rows = [
                row for row in self._observations if hurry or now - self._written.get(row, -PAUSE) >= PAUSE
            ]
            due = [self._observations.pop(row) for row in rows]
            for row in rows:
                self._written[row] = now
                self._written.move_to_end(row)
            while len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)
        yield from due


def _key(caller: Caller, provider: str) -> SecretStr | None:
    own = caller.own_endpoint
    return own.key if provider == OWN and own is not None else caller.keys.get(provider)
