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
from backend.utils.llm.forks import ForkSafe
from backend.utils.llm.model_config import OWN

from .problem import KeyProblem, classify_key_refusal
from .request_keys import RequestKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic import SecretStr

    from backend.background import BackgroundTaskRunner
    from backend.utils.llm.caller import Caller
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route

    from .store import KeyStore
    from .vault import KeyIdentity

log = logging.getLogger(__name__)

PAUSE: Final = 60.0
"""The shortest time in seconds between two writes for a key."""
_INTERVAL: Final = 1.0
_REMEMBERED: Final = 10_000


class Notifier(Protocol):
    """Notifies users that a provider refuses their key: once per key, reason and day, counted over all servers."""

    async def notify(self, place: KeyIdentity, problem: KeyProblem) -> None:
        """Notify the owner of a key.

        If this raises, the error is logged, and there is no second try on the same day.

        Args:
            place: Which key it is: its user, tenant and provider.
            problem: Why the provider refuses it.
        """
        ...


class LogNotifier:
    """A `Notifier` that writes a warning to the log."""

    async def notify(self, place: KeyIdentity, problem: KeyProblem) -> None:
        """Log a warning that names the user, the provider and the reason."""
        log.warning(
            "keys.refused user=%s provider=%s reason=%s endpoint=%s",
            place.user_id,
            place.provider,
            problem.reason,
            problem.endpoint,
        )


class _Observation(NamedTuple):
    """What to write about a key: its problem, or (None) that a call at ``endpoint`` worked."""

    place: KeyIdentity
    endpoint: str
    problem: KeyProblem | None


class KeyMonitor(ForkSafe):
    """Records which users' keys are refused by providers, and has the owners of these keys notified.

    Pass its method `observe` to ``Patchbay(observer=…)``. Observations wait in memory, one per key and for
    at most 10,000 keys, until a background task writes them.

    Args:
        notifier: Notifies the owners; by default, with a warning in the log.
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
        """Note whether the provider accepted the user's key in ``attempt``. Ignores attempts with other keys."""
        if attempt.key_owner != "user":
            return
        key = _key(route.caller, attempt.endpoint.partition(":")[0])
        if not isinstance(key, RequestKey):
            return
        place, now = key.version.place, self._time.now()
        if (reason := classify_key_refusal(attempt)) is not None:
            self._keep(_Observation(place, attempt.endpoint, KeyProblem(reason, attempt.endpoint, now, now)))
        elif attempt.outcome == "ok":
            unwritten = self._observations.get(place.row)
            known = key.version.problem if unwritten is None else unwritten.problem
            if known is not None and known.is_resolved_by_success_at(attempt.endpoint):
                self._keep(_Observation(place, attempt.endpoint, None))

    @asynccontextmanager
    async def write_periodically(
        self, store: KeyStore, background: BackgroundTaskRunner
    ) -> AsyncIterator[None]:
        """Write the observations to ``store`` in the background while the context lasts, and the rest when it ends."""
        try:
            async with background.run_repeatedly(
                "keys.monitor", partial(self.write_pending_observations, store), interval_s=_INTERVAL
            ):
                yield
        finally:
            await self.write_pending_observations(store, all_now=True)

    async def write_pending_observations(self, store: KeyStore, *, all_now: bool = False) -> None:
        """Write the waiting observations to ``store``, and notify the owners of refused keys.

        Args:
            store: The store of the users' keys.
            all_now: Whether to write all observations. If False, each key's are written at most once a minute.
        """
        for observation in self._due(hurry=all_now):
            try:
                await self._write(observation, store)
            except Exception:
                log.exception("keys.problem_not_recorded")

    async def _write(self, observation: _Observation, store: KeyStore) -> None:
        if observation.problem is None:
            await store.clear_resolved_problem(observation.place.row, observation.endpoint)
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
