"""Health that several processes share: each decides by its own view, and publishes lasting changes to the others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...failures import Category
from ..circuit_breaker import Breaker
from ..health import WELL, Circuit, Condition, Health, HealthChange, Unavailable
from .store import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .knowledge import SharedTraffic
    from .store import Store

RESTS, RETRIES = "rests", "retries"
"""The kinds of events that health publishes."""
STALE_SECONDS = 10.0
"""Seconds after which an event about retries is ignored."""


class SharedHealth(Health):
    """A `Health` that publishes its changes to other processes, and applies theirs.

    Published are cooldowns, breakers that open or close, probes, and retries spent; single answers and failures are not.

    Args:
        clock: The monotonic clock, in seconds.
        traffic: The load and limits of the process.
        store: The store that passes events on.
    """

    traffic: SharedTraffic

    def __init__(self, clock: Callable[[], float], traffic: SharedTraffic, store: Store) -> None:
        self._store = store
        super().__init__(clock, traffic)

    def heard(self, event: Event, age: float) -> None:
        """Apply an event of another process, published ``age`` seconds ago. From any thread."""
        if event.kind == RESTS:
            self._adopt(event.values, age)
        elif event.kind == RETRIES:
            self._share_budget(event.values, age)
        else:
            self.traffic.heard(event, age)

    @override
    def availability(self, *circuits: Circuit) -> Unavailable | None:
        self._store.start()
        return super().availability(*circuits)

    # Circuits ----------------------------------------------------------------------------------------------------------

    @override
    def _keep(self, circuit: Circuit, condition: Condition, now: float) -> Sequence[HealthChange]:
        before = self._conditions.get(circuit, WELL)
        changes = super()._keep(circuit, condition, now)
        if _for_others(before) != _for_others(after := self._conditions.get(circuit, WELL)):
            self._store.publish(Event(RESTS, _told(circuit, after, now)))
        return changes

    def _adopt(self, values: tuple[Any, ...], age: float) -> None:
        """Set a circuit's condition as another process has it. Listeners are told there, not here."""
        endpoint, key, owner, account, *rest = values
        circuit, now = Circuit(endpoint, key, owner, account), self._clock()
        with self._lock:
            mine = self._conditions.get(circuit, WELL)
            super()._keep(circuit, _as_told(mine, rest, now - age, now), now)

    # Retry budgets -----------------------------------------------------------------------------------------------------

    @override
    def earn_retry(self, budget_key: str) -> None:
        super().earn_retry(budget_key)
        if self._budgets[budget_key].is_low:
            self._tell_budget(budget_key, earned=1)

    @override
    def may_retry(self, budget_key: str, *, last_resort: bool = False) -> bool:
        with self._lock:
            budget, now = self._budgets[budget_key], self._clock()
            is_spent = budget.spend(now)
            is_borrowed = not is_spent and last_resort and budget.borrow(now)
        if is_spent or is_borrowed:
            self._tell_budget(budget_key, spent=int(is_spent), borrowed=int(is_borrowed))
        return is_spent or is_borrowed

    def _tell_budget(self, key: str, *, earned: int = 0, spent: int = 0, borrowed: int = 0) -> None:
        self._store.publish(Event(RETRIES, (key, earned, spent, borrowed)), merge=_added)

    def _share_budget(self, values: tuple[Any, ...], age: float) -> None:
        """Count the retries that another process earned, spent or borrowed."""
        if age > STALE_SECONDS:
            return
        key, earned, spent, borrowed = values
        with self._lock:
            budget, now = self._budgets[key], self._clock()
            if spent:
                budget.lose(spent, now)
            if earned:
                budget.earn(now, earned)
            if borrowed:
                budget.borrow(now)

    # People --------------------------------------------------------------------------------------------------------------

    @override
    def notice(self) -> str | None:
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


def _for_others(condition: Condition) -> tuple[Any, ...] | None:
    """The part of ``condition`` that other processes need; None if the circuit is healthy."""
    if not condition.is_on_trial:
        return None
    breaker = condition.breaker
    cooldown = condition.cools_until, condition.cools_for, condition.is_guess
    return breaker.opens_until, breaker.openings, *cooldown, condition.probes_until


def _told(circuit: Circuit, condition: Condition, now: float) -> tuple[Any, ...]:
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


def _as_told(mine: Condition, told: Sequence[Any], then: float, now: float) -> Condition:
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
    ) = told
    breaker = mine.breaker
    if opens_in is not None:
        breaker = Breaker(breaker.recent, in_a_row, breaker_openings, then + opens_in)
    elif breaker.opens_until is not None:
        breaker = Breaker()
    return replace(
        mine,
        breaker=breaker,
        cools_until=then + cools if cools_for else 0.0,
        cools_for=Category(cools_for) if cools_for else None,
        is_guess=bool(is_guess),
        is_told=bool(is_told),
        probes_until=then + probes if then + probes > now else 0.0,
        failed_with=Category(failed_with),
        openings=mine.openings + (openings > mine.openings),  # one more, however many the other has counted
    )


def _added(one: Event, other: Event) -> Event:
    sums = [first + second for first, second in zip(one.values[1:], other.values[1:], strict=True)]
    return Event(one.kind, (one.values[0], *sums))
