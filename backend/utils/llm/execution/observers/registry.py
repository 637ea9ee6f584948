"""Chooses the observers of a call and calls them in a fixed order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from ...failures import POLICY
from ...interruptions import is_raised_by_nobody
from ...strategies import ByTier, CostLadder
from .base import AttemptObserver, may_blame_endpoint
from .load import LatencyObserver, LoadObserver, TailLatencyObserver
from .log import DegradedObserver
from .quality import ExperimentObserver, QualityObserver
from .rate_limits import RateLimitObserver, TierObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...failures import Failure
    from ...receipt import Attempt
    from ...routing.route import Route
    from ...state.health import Health
    from ..steps import Try
    from .reservations import Reservations

    Observer = Callable[[Route, Attempt], None]

log = logging.getLogger(__name__)

_FAILED = "%s failed; the call goes on"
MOST_SUBSTITUTES = 20
"""The most substituted models logged for an endpoint, so that a new name in every answer fills neither log nor memory."""


class HealthObserver(AttemptObserver):
    """Updates circuit breakers and retry budgets, and records features that an endpoint rejects as unsupported."""

    def __init__(self, health: Health) -> None:
        self._health = health

    @override
    def ended(self, step: Try, _: Attempt, failure: Failure | None) -> None:
        health, candidate = self._health, step.candidate
        circuit, key, was_probe = candidate.circuit, candidate.key_circuit, step.probe
        if failure is None:
            health.answered(circuit, key=key, was_probe=was_probe)
            health.earn_retry(candidate.budget_key)
            return
        if failure.lacks is not None:
            with health.traffic.lock:
                health.traffic.unsupported.add((step.route.table_hash, circuit), failure.lacks)
        effect = POLICY[failure.category].health
        if effect == "counts" and may_blame_endpoint(step, failure):
            health.failed(circuit, failure.category, key=key, was_probe=was_probe)
        elif effect not in {"counts", "nothing"}:
            health.answered(circuit, key=key, was_probe=was_probe, is_well=effect == "alive")
            if effect == "alive":
                health.earn_retry(candidate.budget_key)
        elif was_probe:
            health.release(circuit, key)

    @override
    def abandoned(self, step: Try, _: Attempt | None) -> None:
        if step.probe:
            self._health.release(step.candidate.circuit, step.candidate.key_circuit)


class Substitutes:
    """The models that answered in place of a requested one and were already logged, by endpoint."""

    def __init__(self) -> None:
        self._known: dict[str, set[str | None]] = {}

    def is_news(self, endpoint: str, served: str | None) -> bool:
        """Whether to log that ``endpoint`` was served by the model ``served``: True only the first time."""
        known = self._known.setdefault(endpoint, set())
        if served in known or len(known) >= MOST_SUBSTITUTES:
            return False
        known.add(served)
        return True


class SubstituteObserver(AttemptObserver):
    """Logs when a provider answers with another model than the requested one, once for each pair."""

    def __init__(self) -> None:
        self._substitutes = Substitutes()

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        if failure is not None or not attempt.substituted:
            return
        is_embedded = step.candidate.endpoint.provider.access == "embedded"
        if not is_embedded and self._substitutes.is_news(attempt.endpoint, attempt.served_model):
            log.warning("%s was served as %s", attempt.endpoint, attempt.served_model)


class ApplicationObserver(AttemptObserver):
    """Calls the application's ``observe`` after every attempt."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    @override
    def ended(self, step: Try, attempt: Attempt, _: Failure | None) -> None:
        if not attempt.withdrawn:
            self._observe(step.route, attempt)


class Observers:
    """A list of observers to which each event is passed in order."""

    def __init__(self, observers: Iterable[AttemptObserver]) -> None:
        self._all = tuple(observers)
        self.see_starts = [one for one in self._all if type(one).started is not AttemptObserver.started]
        self.see_receipts = [one for one in self._all if type(one).received is not AttemptObserver.received]

    def __iter__(self) -> Iterator[AttemptObserver]:
        return iter(self._all)

    def with_observer(self, other: AttemptObserver) -> Observers:
        """Return a copy of the list with ``other`` added at the end."""
        return Observers((*self._all, other))

    def started(self, step: Try) -> None:
        """Call `AttemptObserver.started` of every observer that overrides it."""
        for one in self.see_starts:
            try:
                one.started(step)
            except Exception as error:  # noqa: BLE001 - an observer changes no outcome
                _log(one, error)

    def received(self, step: Try) -> None:
        """Call `AttemptObserver.received` of every observer that overrides it."""
        for one in self.see_receipts:
            try:
                one.received(step)
            except Exception as error:  # noqa: BLE001 - an observer changes no outcome
                _log(one, error)

    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        """Call `AttemptObserver.ended` of every observer; then raise an interruption from outside, if there was any."""
        interruption: BaseException | None = None
        for one in self._all:
            try:
                try:
                    one.ended(step, attempt, failure)
                except Exception as error:  # noqa: BLE001 - an observer changes no outcome
                    _log(one, error)
            except BaseException as error:  # noqa: BLE001 - raised below
                interruption = error
        if interruption is not None:
            raise interruption

    def abandoned(self, step: Try, attempt: Attempt | None) -> None:
        """Call `AttemptObserver.abandoned` of every observer."""
        for one in self._all:
            one.abandoned(step, attempt)


def _log(observer: AttemptObserver, error: Exception) -> None:
    """Log an exception of ``observer``. An exception raised into it from outside is left for the call to raise."""
    if is_raised_by_nobody(error):
        raise error
    log.error(_FAILED, type(observer).__name__, exc_info=error)


class ObserverRegistry:
    """All observers of a process, and which of them each call needs.

    Args:
        health: The state of circuits and traffic, which the observers update.
        application: The application's own observer.
        reservations: The observer that settles the reservations of budgets.
        ledger: The observer that writes attempts into the ledger. Called first, so that no interruption loses a row.
    """

    def __init__(
        self,
        health: Health,
        application: Observer | None = None,
        reservations: Reservations | None = None,
        ledger: AttemptObserver | None = None,
    ) -> None:
        traffic = health.traffic
        self._order: tuple[tuple[str | type, AttemptObserver], ...] = (
            *(() if ledger is None else (("every call", ledger),)),
            ("every call", SubstituteObserver()),
            ("every call", HealthObserver(health)),
            ("degradable", DegradedObserver(traffic)),
            ("balanced", LoadObserver(traffic)),
            ("balanced", LatencyObserver(traffic)),
            ("limited", RateLimitObserver(traffic)),
            *(() if reservations is None else (("budgeted", reservations),)),
            (ByTier, TierObserver(traffic)),
            ("hedged", TailLatencyObserver(traffic)),
            (CostLadder, QualityObserver(traffic)),
            ("compared", ExperimentObserver(traffic)),
            *(() if application is None else (("every call", ApplicationObserver(application)),)),
        )
        self._known: dict[frozenset[str | type], Observers] = {}

    def of(self, route: Route, *, is_balanced: bool = True) -> Observers:
        """Select the observers that calls on ``route`` need, so that other calls do not pay for them.

        Args:
            route: The route.
            is_balanced: Whether load and latency are measured, because a strategy of the table may depend on them.
        """
        always = "every call"
        concerns: set[str | type] = {
            always,
            "balanced" if is_balanced else always,
            "budgeted" if route.feature.budgets or route.caller.budgets else always,
            "hedged" if route.feature.hedge else always,
        }
        if route.feature.split or route.is_shadow:
            concerns.add("compared")
        candidates = route.candidates + route.resting
        if len(candidates) > 1:
            concerns.add("degradable")
        for one in candidates:
            concerns.add(type(one.select))
            if one.meters:
                concerns.add("limited")
        key = frozenset(concerns)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Observers(one for concern, one in self._order if concern in key)
        return known
