"""Selects the observers of a call, and calls them in a fixed order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from ...failures import POLICY
from ...interruptions import is_external_interruption
from ...strategies import CostLadderStrategy, TierStrategy
from .base import AttemptObserver, may_blame_endpoint
from .load import LatencyObserver, LoadObserver, TailLatencyObserver
from .log import DegradedServiceObserver
from .quality import ExperimentObserver, QualityObserver
from .rate_limits import CallerTokenObserver, RateLimitObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...failures import ClassifiedFailure
    from ...receipt import Attempt
    from ...routing.route import Route
    from ...state.health import HealthTracker
    from ..steps import Try
    from .reservations import BudgetReservations

    Observer = Callable[[Route, Attempt], None]

log = logging.getLogger(__name__)

_FAILED = "%s failed; the call goes on"
MOST_SUBSTITUTES = 20
"""The most substituted models logged for an endpoint, so that a new name in every answer fills neither log nor memory."""


class HealthObserver(AttemptObserver):
    """Updates circuit breakers and retry budgets, and records what an endpoint has rejected as unsupported."""

    def __init__(self, health: HealthTracker) -> None:
        self._health = health

    @override
    def on_ended(self, step: Try, _: Attempt, failure: ClassifiedFailure | None) -> None:
        health, candidate = self._health, step.candidate
        circuit, key, was_probe = candidate.endpoint_circuit, candidate.credential_circuit, step.probe
        if failure is None:
            health.record_answer(circuit, key_circuit=key, was_probe=was_probe)
            health.credit_retry_budget(candidate.retry_budget_key)
            return
        if failure.lacks is not None:
            with health.traffic.lock:
                health.traffic.unsupported.record_rejection((step.route.table_hash, circuit), failure.lacks)
        effect = POLICY[failure.category].health
        if effect == "counts" and may_blame_endpoint(step, failure):
            health.record_failure(circuit, failure.category, key_circuit=key, was_probe=was_probe)
        elif effect not in {"counts", "nothing"}:
            health.record_answer(
                circuit, key_circuit=key, was_probe=was_probe, ends_cooldown=effect == "alive"
            )
            if effect == "alive":
                health.credit_retry_budget(candidate.retry_budget_key)
        elif was_probe:
            health.release_probes(circuit, key)

    @override
    def on_abandoned(self, step: Try, _: Attempt | None) -> None:
        if step.probe:
            self._health.release_probes(step.candidate.endpoint_circuit, step.candidate.credential_circuit)


class LoggedSubstituteModels:
    """Remembers, for each endpoint, the models that answered instead of the requested one and were logged."""

    def __init__(self) -> None:
        self._known: dict[str, set[str | None]] = {}

    def should_log(self, endpoint: str, served_model: str | None) -> bool:
        """Whether to log that ``served_model`` answered for ``endpoint``: True only the first time."""
        known = self._known.setdefault(endpoint, set())
        if served_model in known or len(known) >= MOST_SUBSTITUTES:
            return False
        known.add(served_model)
        return True


class SubstitutedModelObserver(AttemptObserver):
    """Logs when a provider answers with another model than the requested one, once for each endpoint and model."""

    def __init__(self) -> None:
        self._substitutes = LoggedSubstituteModels()

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        if failure is not None or not attempt.substituted:
            return
        is_embedded = step.candidate.endpoint.provider.access == "embedded"
        if not is_embedded and self._substitutes.should_log(attempt.endpoint, attempt.served_model):
            log.warning("%s was served as %s", attempt.endpoint, attempt.served_model)


class ApplicationObserver(AttemptObserver):
    """Calls the application's own ``observer`` function after every attempt."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    @override
    def on_ended(self, step: Try, attempt: Attempt, _: ClassifiedFailure | None) -> None:
        if not attempt.withdrawn:
            self._observe(step.route, attempt)


class ObserverList:
    """The observers of a call. Each event is passed to all of them, in order."""

    def __init__(self, observers: Iterable[AttemptObserver]) -> None:
        self._all = tuple(observers)
        self.see_starts = [
            observer for observer in self._all if type(observer).on_started is not AttemptObserver.on_started
        ]
        self.see_receipts = [
            observer
            for observer in self._all
            if type(observer).on_answer_received is not AttemptObserver.on_answer_received
        ]

    def __iter__(self) -> Iterator[AttemptObserver]:
        return iter(self._all)

    def with_observer(self, other: AttemptObserver) -> ObserverList:
        """Return a copy with ``other`` added at the end."""
        return ObserverList((*self._all, other))

    def notify_started(self, step: Try) -> None:
        """Call `AttemptObserver.on_started` of each observer that overrides it."""
        for observer in self.see_starts:
            try:
                observer.on_started(step)
            except Exception as error:  # noqa: BLE001 - an observer changes no outcome
                _log(observer, error)

    def notify_answer_received(self, step: Try) -> None:
        """Call `AttemptObserver.on_answer_received` of each observer that overrides it."""
        for observer in self.see_receipts:
            try:
                observer.on_answer_received(step)
            except Exception as error:  # noqa: BLE001 - an observer changes no outcome
                _log(observer, error)

    def notify_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        """Call `AttemptObserver.on_ended` of each observer.

        An interruption such as ``KeyboardInterrupt`` is raised after all observers were called.
        """
        interruption: BaseException | None = None
        for observer in self._all:
            try:
                try:
                    observer.on_ended(step, attempt, failure)
                except Exception as error:  # noqa: BLE001 - an observer changes no outcome
                    _log(observer, error)
            except BaseException as error:  # noqa: BLE001 - raised below
                interruption = error
        if interruption is not None:
            raise interruption

    def notify_abandoned(self, step: Try, attempt: Attempt | None) -> None:
        """Call `AttemptObserver.on_abandoned` of each observer."""
        for observer in self._all:
            observer.on_abandoned(step, attempt)


def _log(observer: AttemptObserver, error: Exception) -> None:
    """Log an exception of ``observer``. An exception raised into it from outside is left for the call to raise."""
    if is_external_interruption(error):
        raise error
    log.error(_FAILED, type(observer).__name__, exc_info=error)


class ObserverRegistry:
    """The observers of a `Patchbay`, from which each call gets those that it needs.

    Args:
        health: The state that the observers update: circuit breakers, load and limits.
        application: The application's own observer function; None for none.
        reservations: The observer that settles budgets; None without budgets.
        ledger: The observer that writes the ledger; None without a ledger. It is called first, so that an
            interruption loses no record.
    """

    def __init__(
        self,
        health: HealthTracker,
        application: Observer | None = None,
        reservations: BudgetReservations | None = None,
        ledger: AttemptObserver | None = None,
    ) -> None:
        traffic = health.traffic
        self._order: tuple[tuple[str | type, AttemptObserver], ...] = (
            *(() if ledger is None else (("every call", ledger),)),
            ("every call", SubstitutedModelObserver()),
            ("every call", HealthObserver(health)),
            ("degradable", DegradedServiceObserver(traffic)),
            ("balanced", LoadObserver(traffic)),
            ("balanced", LatencyObserver(traffic)),
            ("limited", RateLimitObserver(traffic)),
            *(() if reservations is None else (("budgeted", reservations),)),
            (TierStrategy, CallerTokenObserver(traffic)),
            ("hedged", TailLatencyObserver(traffic)),
            (CostLadderStrategy, QualityObserver(traffic)),
            ("compared", ExperimentObserver(traffic)),
            *(() if application is None else (("every call", ApplicationObserver(application)),)),
        )
        self._known: dict[frozenset[str | type], ObserverList] = {}

    def select_observers(self, route: Route, *, measures_load: bool = True) -> ObserverList:
        """Return the observers that a call on ``route`` needs, so that the others cost it no time.

        ``measures_load``: whether a strategy of the table uses the load and latency of endpoints.
        """
        always = "every call"
        concerns: set[str | type] = {
            always,
            "balanced" if measures_load else always,
            "budgeted" if route.feature.budgets or route.caller.budgets else always,
            "hedged" if route.feature.hedge else always,
        }
        if route.feature.split or route.is_shadow:
            concerns.add("compared")
        candidates = route.candidates + route.resting
        if len(candidates) > 1:
            concerns.add("degradable")
        for candidate in candidates:
            concerns.add(type(candidate.select))
            if candidate.meters:
                concerns.add("limited")
        key = frozenset(concerns)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = ObserverList(
                observer for concern, observer in self._order if concern in key
            )
        return known
