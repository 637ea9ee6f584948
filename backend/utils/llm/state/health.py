"""Health: circuit breakers, cooldowns and retry budgets. In memory here; another store may implement `Health`."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from typing_extensions import override

from ..failures import POLICY, Category
from ..forks import PerProcess
from .circuit_breaker import Breaker
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CIRCUITS = 10_000
"""Beyond this many the least recently used one is forgotten: users bring any number of keys."""
PROBE_GRACE = 5.0
"""Seconds that a probe may be late before another one may be sent."""
LONGEST_COOLING = 3600.0
"""The longest cooldown in seconds, whatever the provider asks for."""
RETRY_SHARE = 0.1
RETRY_RESERVE = 10.0

UnavailableKind = Literal["cooling", "open", "probing", "limited"]
Admission = Literal["request", "probe"]
"""Permission to send a request, or a probe, for whose outcome other calls wait."""


class Circuit(NamedTuple):
    """One endpoint as one credential sees it: another user's bad key says nothing about mine.

    Attributes:
        endpoint: ``provider:model``, or only the provider for what concerns the key whichever model it asks for.
        key: The credential's fingerprint.
    """

    endpoint: str
    key: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a circuit is not to be used now.

    Attributes:
        seconds: How much longer, and ``look_in`` how many until it is worth looking again, if that may be sooner.
        category: What led to it.
        kind: ``cooling`` was asked for, or follows from the failure; ``open`` is the breaker's; ``probing`` waits for
            somebody else's probe; ``limited`` has no room under our own limits.
        reason: The limit, in words, and ``scope`` whose it is.
        is_guess: Whether ``seconds`` is only when to look again.
        openings: How often the breaker was opened, or found to be rightly open by a probe: whoever sees it grow knows
            how the probe ended.
    """

    seconds: float
    category: Category
    kind: UnavailableKind
    openings: int = field(default=0, compare=False)
    reason: str = ""
    scope: str = ""
    is_guess: bool = False
    look_in: float | None = None

    @property
    def soonest(self) -> float:
        """Seconds until it may be over."""
        return self.seconds if self.look_in is None else self.look_in

    @override
    def __str__(self) -> str:
        what = POLICY[self.category].sentence
        match self.kind:
            case "limited" if self.is_guess:
                return self.reason
            case "limited" if isfinite(self.seconds):
                return f"{self.reason}; room in {_in_words(self.seconds)} s"
            case "limited":
                return f"{self.reason}; it asks for more than that alone"
            case "cooling":
                return f"it {what}; left alone for {self.seconds:.0f} s more"
            case "open":
                return f"it {what} again and again; left alone for {self.seconds:.0f} s more"
            case "probing":
                return f"it {what} again and again; a probe is under way"


def _in_words(seconds: float) -> str:
    """Rounded up: whoever comes then finds room."""
    return str(ceil(seconds)) if seconds > 1 else f"{seconds:.2g}"


class Health(Protocol):
    """What plans read and attempts write: which circuits are usable. No method blocks or does I/O."""

    @property
    def traffic(self) -> Traffic:
        """What goes on now."""

    def availability(self, *circuits: Circuit) -> Unavailable | None:
        """Why the first unusable one of ``circuits`` is so; None if all may be used."""

    def admit(
        self, circuit: Circuit, seconds: float, *, last_resort: bool, key: Circuit | None = None
    ) -> Admission | Unavailable:
        """Get permission to send a request, or the reason why not.

        Args:
            circuit: The circuit that it is for.
            seconds: How long the request may take; a probe whose outcome is never reported is forgotten after that.
            last_resort: Nothing else is left: an open breaker may be probed before its time. Still one at a time.
            key: The circuit of the request's key, which may be cooling, too.
        """

    def answered(self, circuit: Circuit) -> None:
        """Record that an admitted request was answered, well or not: the provider is alive."""

    def failed(self, circuit: Circuit, category: Category, *, was_probe: bool = True) -> None:
        """Record that an admitted request failed, by the provider's fault.

        Args:
            circuit: The circuit that it was for.
            category: The kind of failure.
            was_probe: Whether it was the probe, if there is one; else that goes on.
        """

    def release(self, circuit: Circuit) -> None:
        """Release a probe without an outcome: it was cancelled, or never sent."""

    def cool(self, circuit: Circuit, seconds: float, category: Category) -> None:
        """Put ``circuit`` on cooldown for ``seconds``."""

    def first_request(self, budget_key: str) -> None:
        """Record the first request of a call, which adds to the retry budget ``budget_key``: one for each provider and owner of keys."""

    def may_retry(self, budget_key: str) -> bool:
        """Spend one retry of the budget ``budget_key``; False if none is left."""


class RetryBudget:
    """Allows at most ``RETRY_RESERVE + RETRY_SHARE * N`` retries for N first requests, so that an outage causes no retry storm.

    Not thread-safe: the owner holds a lock.
    """

    def __init__(self) -> None:
        self._left = RETRY_RESERVE

    def earn(self) -> None:
        """Add the share of one first request."""
        self._left = min(RETRY_RESERVE, self._left + RETRY_SHARE)

    def spend(self) -> bool:
        """Spend one retry; False if none is left."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class _Condition:
    breaker: Breaker = field(default_factory=Breaker)
    cools_until: float = 0.0
    cools_for: Category = Category.RATE_LIMIT
    probes_until: float = 0.0
    failed_with: Category = Category.SERVER
    openings: int = 0


class MemoryHealth(PerProcess):
    """The view of one process, gone with it.

    A forked child begins with what its parent had learnt: who was down is down for it, too. Probes are the parent's.

    Args:
        clock: The monotonic clock, in seconds.
        traffic: What goes on in the process; by default nothing is known of it yet.
    """

    def __init__(self, clock: Callable[[], float], traffic: Traffic | None = None) -> None:
        self.traffic = Traffic(clock) if traffic is None else traffic
        self._clock = clock
        self._conditions: OrderedDict[Circuit, _Condition] = OrderedDict()
        self._budgets: defaultdict[str, RetryBudget] = defaultdict(RetryBudget)
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._conditions = OrderedDict(
            (circuit, replace(condition, probes_until=0.0)) for circuit, condition in self._conditions.items()
        )

    def __len__(self) -> int:
        return len(self._conditions)

    def availability(self, *circuits: Circuit) -> Unavailable | None:
        """See `Health`."""
        for circuit in circuits:
            condition = self._conditions.get(circuit)
            if condition is not None and (why := _unavailable(condition, self._clock())) is not None:
                return why
        return None

    def admit(
        self, circuit: Circuit, seconds: float, *, last_resort: bool, key: Circuit | None = None
    ) -> Admission | Unavailable:
        """See `Health`."""
        if circuit not in self._conditions and key not in self._conditions:
            return "request"
        now = self._clock()
        with self._lock:
            if key is not None and (why := self.availability(key)) is not None:
                return why
            condition = self._conditions.get(circuit, _Condition())
            why = _unavailable(condition, now)
            if why is not None and not (last_resort and why.kind == "open"):
                return why
            if condition.breaker.state(now) == "closed":
                return "request"
            self._keep(circuit, replace(condition, probes_until=now + seconds + PROBE_GRACE))
            return "probe"

    def answered(self, circuit: Circuit) -> None:
        """See `Health`."""
        if circuit not in self._conditions:
            return
        now = self._clock()
        with self._lock:
            condition = self._conditions.get(circuit, _Condition())
            self._keep(
                circuit, replace(condition, breaker=condition.breaker.succeeded(now), probes_until=0.0)
            )

    def failed(self, circuit: Circuit, category: Category, *, was_probe: bool = True) -> None:
        """See `Health`."""
        now = self._clock()
        with self._lock:
            condition = self._conditions.get(circuit, _Condition())
            is_straggler = not was_probe and condition.breaker.state(now) != "closed"
            if is_straggler:  # it was under way when the breaker opened, and says nothing new
                return
            breaker = condition.breaker.failed(now)
            is_verdict = breaker.opens_until is not None
            self._keep(
                circuit,
                replace(
                    condition,
                    breaker=breaker,
                    failed_with=category,
                    openings=condition.openings + is_verdict,
                    probes_until=0.0,
                ),
            )

    def release(self, circuit: Circuit) -> None:
        """See `Health`."""
        with self._lock:
            condition = self._conditions.get(circuit)
            if condition is not None and condition.probes_until:
                self._keep(circuit, replace(condition, probes_until=0.0))

    def cool(self, circuit: Circuit, seconds: float, category: Category) -> None:
        """See `Health`."""
        until = self._clock() + min(seconds, LONGEST_COOLING)
        with self._lock:
            condition = self._conditions.get(circuit, _Condition())
            if until > condition.cools_until:
                self._keep(circuit, replace(condition, cools_until=until, cools_for=category))

    def first_request(self, budget_key: str) -> None:
        """See `Health`."""
        with self._lock:
            self._budgets[budget_key].earn()

    def may_retry(self, budget_key: str) -> bool:
        """See `Health`."""
        with self._lock:
            return self._budgets[budget_key].spend()

    def _keep(self, circuit: Circuit, condition: _Condition) -> None:
        if condition.breaker.is_spotless and self._clock() >= condition.cools_until:
            self._conditions.pop(circuit, None)
            return
        self._conditions[circuit] = condition
        self._conditions.move_to_end(circuit)
        if len(self._conditions) > MOST_CIRCUITS:
            self._conditions.popitem(last=False)


def _unavailable(condition: _Condition, now: float) -> Unavailable | None:
    openings = condition.openings
    if now < condition.cools_until:
        return Unavailable(condition.cools_until - now, condition.cools_for, "cooling", openings)
    if now < condition.probes_until:
        return Unavailable(condition.probes_until - now, condition.failed_with, "probing", openings)
    opens_until = condition.breaker.opens_until
    if opens_until is not None and now < opens_until:
        return Unavailable(opens_until - now, condition.failed_with, "open", openings)
    return None
