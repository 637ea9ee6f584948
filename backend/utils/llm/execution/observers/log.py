"""Logs changes of endpoint health for operators: one line for each change, none for a normal call.

Each line also has structured fields; ``event`` is the kind of change. No line contains a key, a user or
a text of a provider.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...failures import POLICY
from ...model_config import OWN
from ...receipt import endpoint_label
from .base import AttemptObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...failures import ClassifiedFailure
    from ...receipt import Attempt
    from ...routing.route import Candidate
    from ...state.health import Circuit, HealthChange
    from ...state.load import Target
    from ...state.traffic import TrafficState
    from ..steps import Try

log = logging.getLogger(__name__)

CALM_SECONDS = 60.0
"""Seconds without an answer of a fallback before a feature counts as recovered, and between lines about users' keys."""

_EVENTS = {
    "opened": ("breaker.opened", "%s %s: its breaker opened, and it is left alone for %.0f s"),
    "closed": ("breaker.closed", "%s answers again: its breaker closed"),
    "rests": ("rest.began", "%s %s: it is left alone for %.0f s"),
    "back": ("rest.ended", "%s answers again"),
}


class HealthLogger:
    """Logs changes of an endpoint's health: circuit breakers that open or close, cooldowns that begin or end.

    Failing endpoints are logged as warnings if they have the operator's key. Changes with users' keys are
    combined: at most one line a minute for each kind, with the number of changes.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._crowds: dict[tuple[str, ...], _Crowd] = {}

    def __call__(self, change: HealthChange) -> None:
        """Log ``change``, unless a line of its kind about users' keys was logged less than a minute ago."""
        event, text = _EVENTS[change.kind]
        circuit, keys = change.circuit, 1
        if circuit.owner == "user":
            kind = event, public_endpoint_name(circuit.endpoint), change.category.value
            keys = self._crowds.setdefault(kind, _Crowd()).count_change(self._clock())
        if keys:
            is_bad = change.kind in {"opened", "rests"}
            facts = (POLICY[change.category].sentence, change.seconds) if is_bad else ()
            level = logging.WARNING if is_bad and circuit.owner == "house" else logging.INFO
            log.log(level, text, _called(circuit), *facts, extra=_facts(event, change) | {"keys": keys})


class _Crowd:
    """Changes that are logged together."""

    def __init__(self) -> None:
        self._at = -CALM_SECONDS
        self._untold = 0

    def count_change(self, now: float) -> int:
        """Count one more change. Returns the number to log now; 0 if it is too soon."""
        self._untold += 1
        if now - self._at < CALM_SECONDS:
            return 0
        self._at, untold, self._untold = now, self._untold, 0
        return untold


def _facts(event: str, change: HealthChange) -> dict[str, Any]:
    return _fields(event, change.circuit) | {
        "category": change.category.value,
        "seconds": round(change.seconds, 1),
        "failures": change.failures,
    }


def public_endpoint_name(endpoint: str) -> str:
    """Return the endpoint's name as anybody may see it: the model of a user's own endpoint is left out."""
    return OWN if endpoint.partition(":")[0] == OWN else endpoint


def _fields(event: str, circuit: Circuit) -> dict[str, Any]:
    return {
        "event": event,
        "endpoint": public_endpoint_name(circuit.endpoint),
        "key_owner": circuit.owner,
        "account": circuit.account,
    }


def _called(circuit: Circuit) -> str:
    endpoint = endpoint_label(public_endpoint_name(circuit.endpoint), circuit.account)
    return (
        f"{endpoint}, with the house's key,"
        if circuit.owner == "house"
        else f"{endpoint}, with a user's key,"
    )


class _Spell:
    """A period in which a feature is served by other endpoints than its first choice, up to ``last``."""

    __slots__ = ("last",)

    def __init__(self, last: float) -> None:
        self.last = last


class DegradedServiceObserver(AttemptObserver):
    """Logs when a feature begins to be served by an endpoint other than its first choice, and when that ends.

    It ends when only the first choice has answered for `CALM_SECONDS`. All users' keys count as one key.
    """

    def __init__(self, traffic: TrafficState) -> None:
        self._clock = traffic.clock
        self._spells: dict[tuple[str, Target], _Spell] = {}

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        route, best = step.route, step.route.preferred
        if failure is not None or best is None:
            return
        feature = route.feature.name
        if route.is_degraded(step.candidate):
            self._degraded(feature, best, step.candidate)
        elif (spell := self._spells.get((feature, best.traffic_key))) is not None:
            self._restored(feature, best, spell)

    def _degraded(self, feature: str, best: Candidate, by: Candidate) -> None:
        now = self._clock()
        begun = _Spell(now)
        spell = self._spells.setdefault((feature, best.traffic_key), begun)
        spell.last = now
        if spell is begun:
            fields = _of_feature("feature.degraded", feature, best)
            fields["served_by"] = served_by = public_endpoint_name(by.endpoint_circuit.endpoint)
            level = logging.WARNING if best.owner == "house" else logging.INFO
            text = "%s is served by %s instead of %s"
            log.log(level, text, feature, served_by, fields["endpoint"], extra=fields)

    def _restored(self, feature: str, best: Candidate, spell: _Spell) -> None:
        is_calm = self._clock() - spell.last >= CALM_SECONDS
        if is_calm and self._spells.pop((feature, best.traffic_key), None) is not None:
            fields = _of_feature("feature.restored", feature, best)
            log.info("%s is served by its first choice again, %s", feature, fields["endpoint"], extra=fields)


def _of_feature(event: str, feature: str, best: Candidate) -> dict[str, Any]:
    return _fields(event, best.endpoint_circuit) | {"feature": feature}
