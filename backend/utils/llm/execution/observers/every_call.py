"""What every call concerns: whether an endpoint is alive, which model it serves, and what the application watches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from ...failures import POLICY
from .base import AttemptObserver, was_patient

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...failures import Failure
    from ...receipt import Attempt
    from ...routing.route import Route
    from ...state.health import Health
    from ..steps import Try

    Observer = Callable[[Route, Attempt], None]

log = logging.getLogger(__name__)

MOST_SUBSTITUTES = 20
"""Of one endpoint. A provider that names another one in every answer fills neither log nor memory."""


class HealthObserver(AttemptObserver):
    """Feeds the circuit breakers, and remembers what an endpoint says that it does not take."""

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
        if effect == "counts" and was_patient(step, failure):
            health.failed(circuit, failure.category, key=key, was_probe=was_probe)
        elif effect not in {"counts", "nothing"}:
            health.answered(circuit, key=key, was_probe=was_probe, is_well=effect == "alive")
            if effect == "alive":
                health.earn_retry(candidate.budget_key)
        elif was_probe:
            health.release(circuit, key)


class Substitutes:
    """Those that the log was told of."""

    def __init__(self) -> None:
        self._known: dict[str, set[str | None]] = {}

    def is_news(self, endpoint: str, served: str | None) -> bool:
        """Whether it is new that ``endpoint`` is served as ``served``; from now on it is not."""
        known = self._known.setdefault(endpoint, set())
        if served in known or len(known) >= MOST_SUBSTITUTES:
            return False
        known.add(served)
        return True


class SubstituteObserver(AttemptObserver):
    """Tells the log of each once."""

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
    """Tells ``observe`` of every attempt, once it is over."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    @override
    def ended(self, step: Try, attempt: Attempt, _: Failure | None) -> None:
        if not attempt.withdrawn:
            self._observe(step.route, attempt)
