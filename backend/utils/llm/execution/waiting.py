"""Decides whether a call waits for endpoints that are not available, how long, and which of them it probes before their time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..routing.waiting import PROBE_POLL_SECONDS, is_worth_waiting
from ..state.circuit_breaker import IN_A_ROW

if TYPE_CHECKING:
    from ..model_config import Feature
    from ..state.health import Circuit, Health, Unavailable
    from .steps import Pending


class WaitPolicy:
    """Decides how long a call waits for endpoints that are not available, and which of them it probes early."""

    def __init__(self, feature: Feature, health: Health) -> None:
        self._feature = feature
        self._health = health
        self._looked: dict[Circuit, tuple[float, int]] = {}
        """When this call first saw each circuit resting, and how often the circuit had opened by then."""
        self._gives_up_at = math.inf
        """When the call stops waiting for a retry on loan."""

    def first_seen(self, circuit: Circuit, why: Unavailable, now: float) -> tuple[float, int]:
        """Remember when this call first found ``circuit`` unavailable, and how often its breaker had opened by then.

        Returns both: the time, in seconds of the monotonic clock, and the number of openings.
        """
        return self._looked.setdefault(circuit, (now, why.openings))

    def lend(self, pending: Pending, why: Unavailable | None, now: float) -> None:
        """Record that the call waits for ``pending``, a retry on loan, whose endpoint may be unavailable since the last failure."""
        if why is not None:
            self._looked[pending.candidate.circuit] = now, why.openings
        self._gives_up_at = min(self._gives_up_at, pending.not_before + self._feature.wait)

    def seconds_until(self, pending: Pending, why: Unavailable | None, now: float) -> float | None:
        """Seconds after which the call checks ``pending`` again; 0 for at once, None to give it up.

        ``why`` is the reason why the endpoint is not available; None if it is.
        """
        if pending.on_loan and now >= self._gives_up_at:
            return None
        if pending.not_before > now:
            return pending.not_before - now
        if why is None:
            # It came back between two looks, or the budget may.
            return PROBE_POLL_SECONDS if pending.on_loan else 0.0
        if why.kind == "probing" or self.is_worth_a_probe(pending, why, now):
            return min(why.seconds, PROBE_POLL_SECONDS)
        return why.soonest if is_worth_waiting(why, self._feature) else None

    def is_worth_a_probe(self, pending: Pending, why: Unavailable, now: float) -> bool:
        """Whether to probe the endpoint of ``pending`` early: no probe has failed since this call first checked it.

        Fewer than `IN_A_ROW` failed probes do not rule it out while the provider answers other calls, or if ``pending`` is
        on loan: a probe of a provider that fails only now and then may fail, too.
        """
        if not why.is_probeable:
            return False
        candidate = pending.candidate
        looked_at, openings = self.first_seen(candidate.circuit, why, now)
        if why.openings == openings:
            return True
        has_patience = why.openings - openings < IN_A_ROW and now - looked_at < self._feature.wait
        return has_patience and (pending.on_loan or self._health.has_answered(candidate.budget_key))
