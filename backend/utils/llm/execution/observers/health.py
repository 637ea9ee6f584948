"""Whether an endpoint is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...failures import POLICY
from .verdicts import unobserved, was_patient

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...state.health import Health
    from ..steps import Try


class HealthObserver:
    """Feeds the circuit breakers."""

    started = received = unobserved

    def __init__(self, health: Health) -> None:
        self._health = health

    def ended(self, step: Try, _: Attempt, failure: Failure | None) -> None:
        """See `AttemptObserver`."""
        health, circuit = self._health, step.candidate.circuit
        if failure is None:
            health.answered(circuit)
            return
        effect = POLICY[failure.category].health
        if effect == "counts" and was_patient(step, failure):
            health.failed(circuit, failure.category, was_probe=step.probe)
        elif effect not in {"counts", "nothing"}:
            health.answered(circuit)
        elif step.probe:
            health.release(circuit)
