"""Health that several processes share: each decides by its own view, and publishes lasting changes to the others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...failures import FailureCategory
from ..circuit_breaker import CircuitBreaker
from ..health import WELL, Circuit, CircuitHealth, HealthChange, HealthTracker, UnavailableReason
from .store import SharedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .knowledge import SharedTrafficState
    from .store import StateStore

RESTS, RETRIES = "rests", "retries"
"""The kinds of events that health publishes."""
STALE_SECONDS = 10.0
"""Seconds after which an event about retries is ignored."""


class SharedHealthTracker(HealthTracker):
    """A `HealthTracker` that publishes its changes to other processes, and applies their changes.

    It publishes cooldowns, breakers that open or close, probes, and retries that are spent. It does not
    publish each answer or failure.

    Args:
        clock: The monotonic clock, in seconds.
        traffic: The load and rate limits of the process.
        store: The store that carries events between processes.
    """

    traffic: SharedTrafficState

    def __init__(self, clock: Callable[[], float], traffic: SharedTrafficState, store: StateStore) -> None:
        self._store = store
        super().__init__(clock, traffic)

    def apply_remote_event(self, event: SharedEvent, age: float) -> None:
        """Apply an event of another process, published ``age`` seconds ago. May be called from any thread."""
        if event.kind == RESTS:
            self._adopt(event.values, age)
        elif event.kind == RETRIES:
            self._share_budget(event.values, age)
        else:
            self.traffic.apply_remote_event(event, age)

    @override
    def find_unavailable_reason(self, *circuits: Circuit) -> UnavailableReason | None:
        self._store.start()
        return super().find_unavailable_reason(*circuits)

    # Circuits ----------------------------------------------------------------------------------------------------------

    @override
    def _keep(self, circuit: Circuit, condition: CircuitHealth, now: float) -> Sequence[HealthChange]:
        before = self._conditions.get(circuit, WELL)
        changes = super()._keep(circuit, condition, now)
        if _for_others(before) != _for_others(after := self._conditions.get(circuit, WELL)):
            self._store.publish(SharedEvent(RESTS, _event_values(circuit, after, now)))
        return changes

    def _adopt(self, values: tuple[Any, ...], age: float) -> None:
        """Set a circuit's condition as another process has it. Listeners are told there, not here."""
        endpoint, key, owner, account, *rest = values
        circuit, now = Circuit(endpoint, key, owner, account), self._clock()
        with self._lock:
            mine = self._conditions.get(circuit, WELL)
            super()._keep(circuit, _with_event_values(mine, rest, now - age, now), now)

    # Retry budgets -----------------------------------------------------------------------------------------------------

    @override
    def credit_retry_budget(self, retry_budget_key: str) -> None:
        super().credit_retry_budget(retry_budget_key)
        if self._budgets[retry_budget_key].is_below_reserve:
            self._tell_budget(retry_budget_key, earned=1)

    @override
    def try_spend_retry(self, retry_budget_key: str, *, last_resort: bool = False) -> bool:
        with self._lock:
            budget, now = self._budgets[retry_budget_key], self._clock()
            is_spent = budget.try_spend_retry(now)
            is_borrowed = not is_spent and last_resort and budget.try_borrow_retry(now)
        if is_spent or is_borrowed:
            self._tell_budget(retry_budget_key, spent=int(is_spent), borrowed=int(is_borrowed))
        return is_spent or is_borrowed

    def _tell_budget(self, key: str, *, earned: int = 0, spent: int = 0, borrowed: int = 0) -> None:
        self._store.publish(SharedEvent(RETRIES, (key, earned, spent, borrowed)), merge=_added)

    def _share_budget(self, values: tuple[Any, ...], age: float) -> None:
        """Count the retries that another process earned, spent or borrowed."""
        if age > STALE_SECONDS:
            return
        key, earned, spent, borrowed = values
        with self._lock:
            budget, now = self._budgets[key], self._clock()
            if spent:
                budget.subtract_retries(spent, now)
            if earned:
                budget.credit_answers(now, earned)
            if borrowed:
                budget.try_borrow_retry(now)

    # People --------------------------------------------------------------------------------------------------------------

    @override
    def describe_sharing_problem(self) -> str | None:
        self._store.start()
        since, processes = self._store.away_since, self._store.processes
        if since is None:
            return None
        seconds = time.monotonic() - since
        whose = f"one of {processes}" if processes > 1 else "all of them, as no other was seen"
        return f"the state server has been away for {seconds:.0f} s: this process goes on with its own share of limits, {whose}"

    @override
    def close(self) -> None:
        self._store.close()


def _for_others(condition: CircuitHealth) -> tuple[Any, ...] | None:
    """The part of ``condition`` that other processes need; None if the circuit is healthy."""
    if not condition.needs_probe:
        return None
    breaker = condition.breaker
    cooldown = condition.cools_until, condition.cools_for, condition.is_guess
    return breaker.opens_until, breaker.openings, *cooldown, condition.probes_until


def _event_values(circuit: Circuit, condition: CircuitHealth, now: float) -> tuple[Any, ...]:
    """The event's values: names of the table, a keyed hash, and times as seconds from now."""
    breaker = condition.breaker
    opens_in = None if breaker.opens_until is None else round(breaker.opens_until - now, 3)
    return (
        *circuit,
        circuit.owner,
        circuit.account,
        opens_in,
        breaker.openings,
        breaker.in_a_row,
        condition.cools_for and condition.cools_for.value,
        round(max(0.0, condition.cools_until - now), 3),
        int(condition.is_guess),
        int(condition.is_told),
        round(max(0.0, condition.probes_until - now), 3),
        condition.failed_with.value,
        condition.openings,
    )


def _with_event_values(mine: CircuitHealth, values: Sequence[Any], then: float, now: float) -> CircuitHealth:
    """The condition with what another process published at ``then``; what this process counts itself stays."""
    (
        opens_in,
        breaker_openings,
        in_a_row,
        cools_for,
        cools,
        is_guess,
        is_told,
        probes,
        failed_with,
        openings,
    ) = values
    breaker = mine.breaker
    if opens_in is not None:
        breaker = CircuitBreaker(breaker.recent, in_a_row, breaker_openings, then + opens_in)
    elif breaker.opens_until is not None:
        breaker = CircuitBreaker()
    return replace(
        mine,
        breaker=breaker,
        cools_until=then + cools if cools_for else 0.0,
        cools_for=FailureCategory(cools_for) if cools_for else None,
        is_guess=bool(is_guess),
        is_told=bool(is_told),
        probes_until=then + probes if then + probes > now else 0.0,
        failed_with=FailureCategory(failed_with),
        openings=mine.openings + (openings > mine.openings),  # one more, however many the other has counted
    )


def _added(one: SharedEvent, other: SharedEvent) -> SharedEvent:
    sums = [first + second for first, second in zip(one.values[1:], other.values[1:], strict=True)]
    return SharedEvent(one.kind, (one.values[0], *sums))
