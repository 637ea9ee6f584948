"""What whoever is on call is told by the log: one line when something changes, none for a call as such.

Each line has fields for programs, too: ``event`` says which it is. No key, no user and no text of a provider is in them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...failures import POLICY
from ...model_config import OWN
from ...receipt import called
from .base import AttemptObserver

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...routing.route import Candidate
    from ...state.health import Circuit, HealthChange
    from ...state.traffic import Traffic
    from ..steps import Try

log = logging.getLogger(__name__)

MOST_DEGRADED = 10_000
"""Beyond this many, those that are served second best are forgotten: users bring any number of keys."""
CALM_SECONDS = 60.0
"""A feature is well again once its first choice answers, and no other has for so long."""

_EVENTS = {
    "opened": ("breaker.opened", "%s %s: its breaker opened, and it is left alone for %.0f s"),
    "closed": ("breaker.closed", "%s answers again: its breaker closed"),
    "rests": ("rest.began", "%s %s: it is left alone for %.0f s"),
    "back": ("rest.ended", "%s answers again"),
}


def log_health(change: HealthChange) -> None:
    """Log ``change``: as a warning what befalls a key of the house."""
    circuit, is_bad = change.circuit, change.kind in {"opened", "rests"}
    event, text = _EVENTS[change.kind]
    facts = (POLICY[change.category].sentence, change.seconds) if is_bad else ()
    fields = _fields(event, circuit) | {
        "category": change.category.value,
        "seconds": round(change.seconds, 1),
        "failures": change.failures,
    }
    level = logging.WARNING if is_bad and circuit.owner == "house" else logging.INFO
    log.log(level, text, _called(circuit), *facts, extra=fields)


def endpoint_for_all(endpoint: str) -> str:
    """``endpoint`` as everybody may see it: of one that a user brought nobody sees the model's name, which they chose."""
    return OWN if endpoint.partition(":")[0] == OWN else endpoint


def _fields(event: str, circuit: Circuit) -> dict[str, Any]:
    return {
        "event": event,
        "endpoint": endpoint_for_all(circuit.endpoint),
        "key_owner": circuit.owner,
        "account": circuit.account,
    }


def _called(circuit: Circuit) -> str:
    endpoint = called(endpoint_for_all(circuit.endpoint), circuit.account)
    return (
        f"{endpoint}, with the house's key,"
        if circuit.owner == "house"
        else f"{endpoint}, with a user's key,"
    )


class _Spell:
    """For how long a feature is served second best: by now, until ``last``."""

    __slots__ = ("last",)

    def __init__(self, last: float) -> None:
        self.last = last


class DegradedObserver(AttemptObserver):
    """Tells the log when a feature begins to be served second best, and when its first choice serves it again.

    Not of every call, however often the two take turns: see `CALM_SECONDS`.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._clock = traffic.clock
        self._spells: dict[tuple[str, Circuit], _Spell] = {}

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        route, best = step.route, step.route.preferred
        is_for_a_budget = any(skip.over is not None for skip in route.skipped)
        if failure is not None or best is None or is_for_a_budget:
            return
        served = route.feature.name, best.circuit
        if route.is_degraded(step.candidate):
            self._degraded(served, step.candidate)
        elif (spell := self._spells.get(served)) is not None:
            self._restored(served, spell)

    def _degraded(self, served: tuple[str, Circuit], by: Candidate) -> None:
        if len(self._spells) >= MOST_DEGRADED:
            self._spells.clear()
        now = self._clock()
        begun = _Spell(now)
        spell = self._spells.setdefault(served, begun)
        spell.last = now
        if spell is begun:
            self._log("feature.degraded", served, "%s is served by %s instead of %s", by)

    def _restored(self, served: tuple[str, Circuit], spell: _Spell) -> None:
        is_calm = self._clock() - spell.last >= CALM_SECONDS
        if is_calm and self._spells.pop(served, None) is not None:
            self._log("feature.restored", served, "%s is served by its first choice again, %s")

    def _log(self, event: str, served: tuple[str, Circuit], text: str, by: Candidate | None = None) -> None:
        feature, best = served
        fields = _fields(event, best) | {"feature": feature}
        facts = [feature, fields["endpoint"]]
        if by is not None:
            fields["served_by"] = endpoint_for_all(by.circuit.endpoint)
            facts.insert(1, fields["served_by"])
        level = logging.WARNING if by is not None and best.owner == "house" else logging.INFO
        log.log(level, text, *facts, extra=fields)
