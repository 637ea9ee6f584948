"""Circuit breakers, cooldowns and retry budgets: the health of everything that a process asks."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from typing_extensions import override

from ..failures import POLICY, FailureCategory
from ..forks import ForkSafe
from .circuit_breaker import OPEN_SECONDS, CircuitBreaker
from .traffic import TrafficState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..types import KeyOwner

    HealthListener = Callable[["HealthChange"], None]

log = logging.getLogger(__name__)

MOST_CIRCUITS = 10_000
"""Circuits kept; beyond that the least recently used is forgotten, as users bring any number of keys."""
PROBE_GRACE = 5.0
"""Seconds that a probe may be late before another one may be sent."""
LONGEST_COOLING = 3600.0
"""The longest cooldown in seconds, whatever the provider asks for."""
WORTH_TELLING = 5.0
"""Listeners are not told of cooldowns of fewer seconds: calls wait for these, and one may follow every request."""
RETRY_SHARE = 0.3
RETRY_RESERVE = 10.0
EARNED_HALF_LIFE = 10.0
"""Seconds in which a retry budget loses half of what it holds above its reserve."""
COUNT_SECONDS = 1.0
"""Seconds between two applications of that decay while answers come."""
FIRST_LOAN_SECONDS = 0.5
"""Seconds from the first retry that an empty budget lends to the next; doubled after each."""
LONGEST_LOAN_SECONDS = 300.0

UnavailableKind = Literal["cooling", "open", "probing", "limited"]
RestKind = Literal["cooling", "open", "probing", "half open"]
Admission = Literal["request", "probe"]
"""Permission to send a normal request, or a probe whose outcome other calls wait for."""


class _Place(NamedTuple):
    endpoint: str
    key: str


class Circuit(_Place):
    """Identifies a circuit breaker: an endpoint with one key, so that a user's bad key affects no other user.

    Attributes:
        endpoint: ``provider:model``; only ``provider`` for the circuit of the key, whatever the model.
        key: The fingerprint of the key.
        owner: Whose key it is: the operator's (``house``) or a user's. Only for display: circuits are equal if
            their endpoint and key are.
        account: The name of the operator's account that the key belongs to, or None. Only for display.
    """

    owner: KeyOwner
    account: str | None

    def __new__(cls, endpoint: str, key: str, owner: KeyOwner = "house", account: str | None = None) -> Self:
        """Make a circuit; the arguments are the class's attributes."""
        self = super().__new__(cls, endpoint, key)
        self.owner, self.account = owner, account
        return self


@dataclass(frozen=True, slots=True)
class UnavailableReason:
    """The reason why a circuit cannot be used now.

    Attributes:
        seconds: Seconds until the circuit may be used.
        look_in: Seconds until the next check, if it should be sooner than ``seconds``; else None.
        category: The kind of failure that caused this.
        kind: ``cooling``: in cooldown. ``open``: the breaker is open. ``probing``: another call's probe is
            in flight. ``limited``: a rate limit of our own is used up.
        reason: The rate limit, in words; empty for other kinds.
        scope: The id of the key, endpoint or feature that the rate limit applies to; empty for other kinds.
        is_guess: Whether ``seconds`` is our estimate rather than the provider's; for a rate limit, whether
            it is only the time of the next check.
        openings: How often the breaker opened or an estimated cooldown began. If it grows, the last probe
            failed.
    """

    seconds: float
    category: FailureCategory
    kind: UnavailableKind
    openings: int = field(default=0, compare=False)
    reason: str = ""
    scope: str = ""
    is_guess: bool = False
    look_in: float | None = None

    @property
    def min_wait_seconds(self) -> float:
        """The least time, in seconds, until the circuit may be usable again."""
        return self.seconds if self.look_in is None else self.look_in

    @property
    def can_probe_early(self) -> bool:
        """Whether a probe may be sent before the wait ends: no provider asked for the wait, and a retry may help."""
        is_ours = self.kind == "open" or (self.kind == "cooling" and self.is_guess)
        return is_ours and POLICY[self.category].again == "retry"

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
                return f"it {what}; a probe is under way"


class HealthChange(NamedTuple):
    """A change of a circuit's health, as passed to listeners.

    Attributes:
        kind: ``opened``: the breaker opened, or opened again after a failed probe. ``closed``: the breaker
            closed. ``rests``: a cooldown began. ``back``: the cooldown ended.
        category: The kind of failure that caused the change.
        seconds: For how many seconds no request is sent; 0 for ``closed`` and ``back``.
        failures: The number of failures in a row that the breaker has counted.
    """

    kind: Literal["opened", "closed", "rests", "back"]
    circuit: Circuit
    category: FailureCategory
    seconds: float
    failures: int


class UnhealthyCircuit(NamedTuple):
    """A circuit that gets no requests now, or whose next request is a probe.

    Attributes:
        kind: As in `UnavailableReason`; ``half open`` if the wait is over and the next request is the probe.
        category: The kind of failure that caused this.
        since: For how many seconds the circuit has been unhealthy.
        seconds: For how many more seconds it gets no requests.
        failures: The number of failures in a row that the breaker has counted.
    """

    circuit: Circuit
    kind: RestKind
    category: FailureCategory
    since: float
    seconds: float
    failures: int


def _in_words(seconds: float) -> str:
    """``seconds`` as text, rounded up, so that a call made then finds room."""
    return str(ceil(seconds)) if seconds > 1 else f"{seconds:.2g}"


class RetryBudget:
    """Limits retries, so that an outage causes no retry storm. Not thread-safe: the owner holds a lock.

    It begins with `RETRY_RESERVE` retries, and each answer adds `RETRY_SHARE` of a retry. What exceeds the
    reserve halves every `EARNED_HALF_LIFE` seconds. A call with no other endpoint left may borrow a retry from
    an empty budget; another only after an answer, or after a pause that doubles each time.

    Attributes:
        earned_at: When the last answer came, by the monotonic clock.
    """

    def __init__(self) -> None:
        self.earned_at = -inf
        self._left = RETRY_RESERVE
        self._counted_at = 0.0
        self._lends_at = 0.0
        self._pause = FIRST_LOAN_SECONDS

    @property
    def is_below_reserve(self) -> bool:
        """Whether less than the initial reserve, `RETRY_RESERVE` retries, is left."""
        return self._left < RETRY_RESERVE

    def credit_answers(self, now: float, answers: int = 1) -> None:
        """Add `RETRY_SHARE` of a retry for each of ``answers``, the number of new answers."""
        if now - self._counted_at > COUNT_SECONDS:
            self._count(now)
        self.earned_at = now
        self._left += RETRY_SHARE * answers
        self._lends_at, self._pause = 0.0, FIRST_LOAN_SECONDS

    def try_spend_retry(self, now: float) -> bool:
        """Subtract one retry and return True; return False if less than one is left."""
        self._count(now)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def subtract_retries(self, retries: int, now: float) -> None:
        """Subtract ``retries``, the number that other processes have spent of the same budget."""
        self._count(now)
        self._left = max(0.0, self._left - retries)

    def try_borrow_retry(self, now: float) -> bool:
        """Allow a retry although the budget is empty; False until the pause after the last borrowed retry ends."""
        if now < self._lends_at:
            return False
        self._lends_at = now + self._pause
        self._pause = min(LONGEST_LOAN_SECONDS, 2 * self._pause)
        return True

    def _count(self, now: float) -> None:
        """Apply the decay of the part above the reserve."""
        if (extra := self._left - RETRY_RESERVE) > 0:
            self._left = RETRY_RESERVE + extra * 0.5 ** ((now - self._counted_at) / EARNED_HALF_LIFE)
        self._counted_at = now


@dataclass(frozen=True, slots=True)
class CircuitHealth:
    """The health of one circuit, as a frozen value: its breaker, cooldown and probe.

    Times are seconds of the monotonic clock.
    """

    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    cools_until: float = 0.0
    cools_for: FailureCategory | None = None
    """The kind of failure behind the cooldown, until an answer ends it."""
    is_guess: bool = False
    is_told: bool = False
    """Whether the cooldown is at least `WORTH_TELLING` seconds long, so that listeners are told."""
    probes_until: float = 0.0
    failed_with: FailureCategory = FailureCategory.SERVER
    openings: int = 0
    since: float = 0.0
    """When `needs_probe` became true; 0 if never."""

    @property
    def needs_probe(self) -> bool:
        """Whether a probe must be answered before normal requests: the breaker opened, or a cooldown began."""
        return self.cools_for is not None or self.breaker.opens_until is not None

    def with_answer(self, now: float, *, was_probe: bool, ends_cooldown: bool) -> CircuitHealth:
        """Return the health after an answer, which ends the probe and closes the breaker.

        ``ends_cooldown`` tells whether the answer may end the cooldown. It does so only if the time of the
        cooldown is over, or if the cooldown was estimated and the answer is the probe's.
        """
        after = replace(self, breaker=self.breaker.with_success(now), probes_until=0.0)
        is_over = now >= self.cools_until or (self.is_guess and was_probe)
        return (
            replace(after, cools_until=0.0, cools_for=None, is_told=False)
            if ends_cooldown and is_over
            else after
        )


WELL = CircuitHealth()


class HealthTracker(ForkSafe):
    """Tracks the health of all circuits: routing asks which are usable, and attempts report their outcome.

    No method blocks or does I/O. A forked child begins with a copy of its parent's state, without the probes
    in flight.

    Args:
        clock: The monotonic clock, in seconds.
        traffic: The load and rate limits of the process; by default empty.
    """

    def __init__(self, clock: Callable[[], float], traffic: TrafficState | None = None) -> None:
        self.traffic = TrafficState(clock) if traffic is None else traffic
        self._clock = clock
        self._listeners: tuple[HealthListener, ...] = ()
        self._conditions: OrderedDict[Circuit, CircuitHealth] = OrderedDict()
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

    def find_unavailable_reason(self, *circuits: Circuit) -> UnavailableReason | None:
        """Return why the first unusable circuit of ``circuits`` cannot be used now; None if all may be used."""
        for circuit in circuits:
            condition = self._conditions.get(circuit)
            if condition is not None and (why := _unavailable(condition, self._clock())) is not None:
                return why
        return None

    def admit_request(
        self,
        circuit: Circuit,
        max_request_seconds: float,
        *,
        last_resort: bool,
        key_circuit: Circuit | None = None,
    ) -> Admission | UnavailableReason:
        """Decide whether a request may be sent now. If it is a probe, it is registered as in flight.

        Args:
            circuit: The circuit of the request.
            max_request_seconds: The longest time that the request may take. A probe without an outcome is
                forgotten after it.
            last_resort: Whether no other endpoint is left. Then one request at a time may probe an open breaker,
                or a cooldown that no provider asked for, before the wait is over.
            key_circuit: The circuit of the request's key, which may be in cooldown, too.

        Returns:
            ``request``; ``probe`` if the outcome decides whether other requests may follow; or the reason why
            the request must not be sent.
        """
        if circuit not in self._conditions and key_circuit not in self._conditions:
            return "request"
        now = self._clock()
        with self._lock:
            known = self._known(key_circuit, circuit)
            for condition in known.values():
                why = _unavailable(condition, now)
                if why is not None and not (last_resort and why.can_probe_early):
                    return why
            on_trial = [circuit for circuit, condition in known.items() if condition.needs_probe]
            for item in on_trial:
                self._keep(
                    item, replace(known[item], probes_until=now + max_request_seconds + PROBE_GRACE), now
                )
            return "probe" if on_trial else "request"

    def _known(self, *circuits: Circuit | None) -> dict[Circuit, CircuitHealth]:
        return {
            circuit: self._conditions[circuit]
            for circuit in circuits
            if circuit is not None and circuit in self._conditions
        }

    def record_answer(
        self,
        circuit: Circuit,
        *,
        key_circuit: Circuit | None = None,
        was_probe: bool = True,
        ends_cooldown: bool = True,
    ) -> None:
        """Record that a request was answered, so that the provider is reachable.

        Args:
            circuit: The circuit of the request.
            key_circuit: The circuit of the request's key.
            was_probe: Whether the request was the probe, if a probe is in flight.
            ends_cooldown: Whether the answer may end a cooldown; False for an error that calls for one.
        """
        if circuit not in self._conditions and key_circuit not in self._conditions:
            return
        now = self._clock()
        with self._lock:
            changes = [
                self._keep(
                    item, condition.with_answer(now, was_probe=was_probe, ends_cooldown=ends_cooldown), now
                )
                for item, condition in self._known(key_circuit, circuit).items()
            ]
        self._tell(chain.from_iterable(changes))

    def record_failure(
        self,
        circuit: Circuit,
        category: FailureCategory,
        *,
        key_circuit: Circuit | None = None,
        was_probe: bool = True,
    ) -> None:
        """Record that a request failed, and that the provider is to blame.

        Args:
            circuit: The circuit of the request.
            category: The kind of failure.
            key_circuit: The circuit of the request's key.
            was_probe: Whether the request was the probe. If not, a probe in flight continues, and the failure
                counts only while the breaker is closed.
        """
        if was_probe and key_circuit is not None:
            self.release_probes(key_circuit)
        now = self._clock()
        with self._lock:
            condition = self._conditions.get(circuit, WELL)
            is_straggler = not was_probe and condition.breaker.state_at(now) != "closed"
            if is_straggler:  # it was under way when the breaker opened, and says nothing new
                return
            breaker = condition.breaker.with_failure(now)
            is_verdict = breaker.opens_until is not None
            changes = self._keep(
                circuit,
                replace(
                    condition,
                    breaker=breaker,
                    failed_with=category,
                    openings=condition.openings + is_verdict,
                    probes_until=0.0 if was_probe else condition.probes_until,
                ),
                now,
            )
        self._tell(changes)

    def release_probes(self, *circuits: Circuit) -> None:
        """End the probes of ``circuits`` without an outcome, because the requests were cancelled or never sent."""
        now = self._clock()
        with self._lock:
            for circuit, condition in self._known(*circuits).items():
                if condition.probes_until:
                    self._keep(circuit, replace(condition, probes_until=0.0), now)

    def start_cooldown(
        self, circuit: Circuit, seconds: float, category: FailureCategory, *, is_guess: bool = False
    ) -> None:
        """Put ``circuit`` into cooldown for ``seconds``, at most an hour; then a probe precedes other requests.

        ``category`` is the kind of failure that caused the cooldown. ``is_guess`` tells whether ``seconds`` is our
        estimate rather than the provider's; then a probe may be sent early.
        """
        now = self._clock()
        until, is_told = now + min(seconds, LONGEST_COOLING), seconds >= WORTH_TELLING
        with self._lock:
            condition = self._conditions.get(circuit, WELL)
            if until <= condition.cools_until and condition.is_guess <= is_guess:
                return
            cooled = replace(
                condition,
                cools_until=until,
                cools_for=category,
                is_guess=is_guess,
                is_told=is_told or condition.is_told,
                openings=condition.openings + is_guess,
            )
            changes = self._keep(circuit, cooled, now)
        self._tell(changes)

    def list_unhealthy_circuits(self) -> tuple[UnhealthyCircuit, ...]:
        """List the circuits that are in cooldown, have an open breaker, or wait for a probe."""
        if not self._conditions:
            return ()
        with self._lock:
            known, now = list(self._conditions.items()), self._clock()
        return tuple(_resting(circuit, health, now) for circuit, health in known if health.needs_probe)

    def describe_sharing_problem(self) -> str | None:
        """A sentence for operators if this process cannot exchange its state with other processes; else None."""
        return None

    def close(self) -> None:
        """Stop exchanging state with other processes. Does nothing if the health is not shared."""

    def subscribe(self, listener: HealthListener) -> None:
        """Call ``listener`` with each later `HealthChange`; its exceptions are logged. Subscribing again changes nothing."""
        if listener not in self._listeners:
            self._listeners = (*self._listeners, listener)

    def _tell(self, changes: Iterable[HealthChange]) -> None:
        """Call the listeners. Not under the lock: a listener may write to a file."""
        for change in changes:
            for listener in self._listeners:
                try:
                    listener(change)
                except Exception:
                    log.exception("a listener to health failed; the call goes on")

    def credit_retry_budget(self, retry_budget_key: str) -> None:
        """Record an answer, which adds a part of a retry to the retry budget ``retry_budget_key``.

        Each provider has a budget for the operator's keys, and a budget for users' keys.
        """
        with self._lock:
            self._budgets[retry_budget_key].credit_answers(self._clock())

    def has_recent_provider_answer(self, retry_budget_key: str) -> bool:
        """Whether the provider of this retry budget answered a call in the last `OPEN_SECONDS`."""
        with self._lock:
            return self._clock() - self._budgets[retry_budget_key].earned_at < OPEN_SECONDS

    def try_spend_retry(self, retry_budget_key: str, *, last_resort: bool = False) -> bool:
        """Spend one retry of the retry budget; False if none is left.

        With ``last_resort``, when no other endpoint is left, a retry may be borrowed from an empty budget.
        """
        with self._lock:
            budget, now = self._budgets[retry_budget_key], self._clock()
            return budget.try_spend_retry(now) or (last_resort and budget.try_borrow_retry(now))

    def _keep(self, circuit: Circuit, condition: CircuitHealth, now: float) -> Sequence[HealthChange]:
        """Store the condition of ``circuit``, and return the changes that listeners are told."""
        before = self._conditions.get(circuit, WELL)
        if condition.breaker.has_no_failures and condition.cools_for is None:
            self._conditions.pop(circuit, None)
        else:
            if condition.needs_probe and not before.needs_probe:
                condition = replace(condition, since=now)
            self._conditions[circuit] = condition
            self._conditions.move_to_end(circuit)
            if len(self._conditions) > MOST_CIRCUITS:
                self._conditions.popitem(last=False)
        is_news = before.breaker.openings != condition.breaker.openings or before.is_told or condition.is_told
        return tuple(_changes(circuit, before, condition, now)) if is_news else ()


def _changes(
    circuit: Circuit, before: CircuitHealth, after: CircuitHealth, now: float
) -> Iterator[HealthChange]:
    """The changes between two conditions that listeners are told."""
    openings, failures = after.breaker.openings, after.breaker.in_a_row
    until = after.breaker.opens_until
    if openings > before.breaker.openings and until is not None:
        yield HealthChange("opened", circuit, after.failed_with, until - now, failures)
    if until is None and before.breaker.opens_until is not None:
        yield HealthChange("closed", circuit, before.failed_with, 0.0, failures)
    if after.cools_for is not None and after.is_told and _tells_less(before, after):
        yield HealthChange("rests", circuit, after.cools_for, after.cools_until - now, failures)
    if after.cools_for is None and before.cools_for is not None and before.is_told:
        yield HealthChange("back", circuit, before.cools_for, 0.0, failures)


def _tells_less(before: CircuitHealth, after: CircuitHealth) -> bool:
    return not before.is_told or before.cools_for is not after.cools_for


def _resting(circuit: Circuit, condition: CircuitHealth, now: float) -> UnhealthyCircuit:
    why, cause = _unavailable(condition, now), condition.cools_for or condition.failed_with
    kind: RestKind = "half open"
    if why is not None and why.kind != "limited":
        kind = why.kind
    seconds = why.seconds if why is not None else 0.0
    return UnhealthyCircuit(circuit, kind, cause, now - condition.since, seconds, condition.breaker.in_a_row)


def _unavailable(condition: CircuitHealth, now: float) -> UnavailableReason | None:
    openings, is_probed = condition.openings, now < condition.probes_until
    cause = condition.cools_for or condition.failed_with
    if now < condition.cools_until and not (condition.is_guess and is_probed):
        left = condition.cools_until - now
        return UnavailableReason(left, cause, "cooling", openings, is_guess=condition.is_guess)
    if is_probed:
        return UnavailableReason(condition.probes_until - now, cause, "probing", openings)
    opens_until = condition.breaker.opens_until
    if opens_until is not None and now < opens_until:
        return UnavailableReason(opens_until - now, condition.failed_with, "open", openings)
    return None
