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

from ..failures import POLICY, Category
from ..forks import PerProcess
from .circuit_breaker import OPEN_SECONDS, Breaker
from .traffic import Traffic

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
    """One endpoint together with one credential: another user's bad key does not affect mine.

    Attributes:
        endpoint: ``provider:model``; only the provider for the state of the key with all models.
        key: The credential's fingerprint.
        owner: Whose key it is; ``account`` is the operator's named account that the key belongs to, or None. Both are for display
            only: circuits are equal if endpoint and key are.
    """

    owner: KeyOwner
    account: str | None

    def __new__(cls, endpoint: str, key: str, owner: KeyOwner = "house", account: str | None = None) -> Self:
        """Make a circuit; the arguments are the class's attributes."""
        self = super().__new__(cls, endpoint, key)
        self.owner, self.account = owner, account
        return self


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The reason why a circuit cannot be used now.

    Attributes:
        seconds: Seconds until the circuit may be used; ``look_in`` the seconds until the next check, if that is sooner.
        category: The kind of failure that led to this.
        kind: ``cooling``: a cooldown runs. ``open``: the breaker is open. ``probing``: another call's probe is in flight.
            ``limited``: our own limits have no room.
        reason: The limit, in words; ``scope`` names what the limit holds for.
        is_guess: Whether ``seconds`` is our estimate rather than the provider's; for a limit, only when to check again.
        openings: How often the breaker opened or an estimated cooldown began. If the number grows, the last probe failed.
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
        """Seconds until the endpoint may be usable again, at the earliest."""
        return self.seconds if self.look_in is None else self.look_in

    @property
    def is_probeable(self) -> bool:
        """Whether one probe may be sent early: the provider did not ask for the wait, and a retry may help."""
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
    """A change of a circuit's health, as it is passed to listeners.

    Attributes:
        kind: ``opened``: its breaker opened, also again after a probe. ``closed``: the breaker closed.
            ``rests``: a cooldown began. ``back``: the cooldown ended.
        category: The kind of failure that led to the change.
        seconds: For how many seconds no request is sent; 0 for ``closed`` and ``back``.
        failures: The breaker's failures in a row.
    """

    kind: Literal["opened", "closed", "rests", "back"]
    circuit: Circuit
    category: Category
    seconds: float
    failures: int


class Resting(NamedTuple):
    """A circuit that gets no requests now, or whose next request is a probe.

    Attributes:
        kind: The kind as in `Unavailable`; ``half open`` if the wait is over and no probe was sent yet.
        category: The kind of failure that led to this.
        since: For how many seconds the circuit has rested.
        seconds: For how many seconds more it rests.
        failures: The breaker's failures in a row.
    """

    circuit: Circuit
    kind: RestKind
    category: Category
    since: float
    seconds: float
    failures: int


def _in_words(seconds: float) -> str:
    """``seconds`` as text, rounded up, so that a call made then finds room."""
    return str(ceil(seconds)) if seconds > 1 else f"{seconds:.2g}"


class RetryBudget:
    """Allows at most ``RETRY_RESERVE + RETRY_SHARE * N`` retries for N answers, so that an outage causes no retry storm.

    The part above the reserve loses half every `EARNED_HALF_LIFE` seconds.

    An empty budget lends one retry to a call with no other endpoint left. It lends the next after an answer, or after an
    interval that doubles each time. Not thread-safe: the owner holds a lock.

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
    def is_low(self) -> bool:
        """Whether less than the reserve is left."""
        return self._left < RETRY_RESERVE

    def earn(self, now: float, answers: int = 1) -> None:
        """Add `RETRY_SHARE` for each of ``answers``."""
        if now - self._counted_at > COUNT_SECONDS:
            self._count(now)
        self.earned_at = now
        self._left += RETRY_SHARE * answers
        self._lends_at, self._pause = 0.0, FIRST_LOAN_SECONDS

    def spend(self, now: float) -> bool:
        """Spend one retry; False if none is left."""
        self._count(now)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def lose(self, retries: int, now: float) -> None:
        """Subtract the ``retries`` that other processes have spent of the same budget."""
        self._count(now)
        self._left = max(0.0, self._left - retries)

    def borrow(self, now: float) -> bool:
        """Take one retry although the budget is empty; False until the next loan is allowed."""
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
class Condition:
    """The state of one circuit, an endpoint with one key: its breaker, cooldown and probe, as a frozen value.

    Times are seconds of the monotonic clock.
    """

    breaker: Breaker = field(default_factory=Breaker)
    cools_until: float = 0.0
    cools_for: Category | None = None
    """The kind of failure behind the cooldown, until an answer ends it."""
    is_guess: bool = False
    is_told: bool = False
    """Whether the cooldown is at least `WORTH_TELLING` seconds long, so that listeners are told."""
    probes_until: float = 0.0
    failed_with: Category = Category.SERVER
    openings: int = 0
    since: float = 0.0
    """When `is_on_trial` became true; 0 if never."""

    @property
    def is_on_trial(self) -> bool:
        """Whether a probe must succeed before other requests may follow."""
        return self.cools_for is not None or self.breaker.opens_until is not None

    def answered(self, now: float, *, was_probe: bool, is_well: bool) -> Condition:
        """Update the condition with an answer; an answer to a request sent before the cooldown does not end the cooldown."""
        after = replace(self, breaker=self.breaker.succeeded(now), probes_until=0.0)
        is_over = now >= self.cools_until or (self.is_guess and was_probe)
        return (
            replace(after, cools_until=0.0, cools_for=None, is_told=False) if is_well and is_over else after
        )


WELL = Condition()


class Health(PerProcess):
    """The state of all circuits: plans ask which are usable, attempts report their outcome. No method blocks or does I/O.

    A forked child begins with a copy of its parent's; probes in flight stay the parent's.

    Args:
        clock: The monotonic clock, in seconds.
        traffic: The load and limits of the process; by default empty.
    """

    def __init__(self, clock: Callable[[], float], traffic: Traffic | None = None) -> None:
        self.traffic = Traffic(clock) if traffic is None else traffic
        self._clock = clock
        self._listeners: tuple[HealthListener, ...] = ()
        self._conditions: OrderedDict[Circuit, Condition] = OrderedDict()
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
        """Check ``circuits``: the reason why the first unusable one cannot be used now; None if all may be used."""
        for circuit in circuits:
            condition = self._conditions.get(circuit)
            if condition is not None and (why := _unavailable(condition, self._clock())) is not None:
                return why
        return None

    def admit(
        self, circuit: Circuit, seconds: float, *, last_resort: bool, key: Circuit | None = None
    ) -> Admission | Unavailable:
        """Get permission to send a request, or the reason why it must not be sent.

        Args:
            circuit: The circuit of the request.
            seconds: The most seconds that the request may take. A probe whose outcome is not reported is then forgotten.
            last_resort: Whether no other endpoint is left: then an open breaker, or a cooldown that no provider asked for,
                may be probed early, by one request at a time.
            key: The circuit of the request's key, which may be cooling, too.
        """
        if circuit not in self._conditions and key not in self._conditions:
            return "request"
        now = self._clock()
        with self._lock:
            known = self._known(key, circuit)
            for condition in known.values():
                why = _unavailable(condition, now)
                if why is not None and not (last_resort and why.is_probeable):
                    return why
            on_trial = [one for one, condition in known.items() if condition.is_on_trial]
            for one in on_trial:
                self._keep(one, replace(known[one], probes_until=now + seconds + PROBE_GRACE), now)
            return "probe" if on_trial else "request"

    def _known(self, *circuits: Circuit | None) -> dict[Circuit, Condition]:
        return {one: self._conditions[one] for one in circuits if one is not None and one in self._conditions}

    def answered(
        self, circuit: Circuit, *, key: Circuit | None = None, was_probe: bool = True, is_well: bool = True
    ) -> None:
        """Record that an admitted request was answered, so that the provider is reachable.

        Args:
            circuit: The circuit of the request.
            key: The circuit of the request's key.
            was_probe: Whether the request was the probe, if a probe is in flight.
            is_well: Whether the answer ends a cooldown; False for another rate limit.
        """
        if circuit not in self._conditions and key not in self._conditions:
            return
        now = self._clock()
        with self._lock:
            changes = [
                self._keep(one, condition.answered(now, was_probe=was_probe, is_well=is_well), now)
                for one, condition in self._known(key, circuit).items()
            ]
        self._tell(chain.from_iterable(changes))

    def failed(
        self, circuit: Circuit, category: Category, *, key: Circuit | None = None, was_probe: bool = True
    ) -> None:
        """Record that an admitted request failed by the provider's fault.

        Args:
            circuit: The circuit of the request.
            category: The kind of failure.
            key: The circuit of the request's key.
            was_probe: Whether the request was the probe; if not, a probe in flight goes on.
        """
        if was_probe and key is not None:
            self.release(key)
        now = self._clock()
        with self._lock:
            condition = self._conditions.get(circuit, WELL)
            is_straggler = not was_probe and condition.breaker.state(now) != "closed"
            if is_straggler:  # it was under way when the breaker opened, and says nothing new
                return
            breaker = condition.breaker.failed(now)
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

    def release(self, *circuits: Circuit) -> None:
        """Release the probes of ``circuits`` without an outcome, because each was cancelled or never sent."""
        now = self._clock()
        with self._lock:
            for one, condition in self._known(*circuits).items():
                if condition.probes_until:
                    self._keep(one, replace(condition, probes_until=0.0), now)

    def cool(self, circuit: Circuit, seconds: float, category: Category, *, is_guess: bool = False) -> None:
        """Put ``circuit`` on cooldown for ``seconds``; afterwards one probe is sent before other requests.

        Args:
            circuit: The circuit.
            seconds: The length of the cooldown.
            category: The kind of failure that led to it.
            is_guess: Whether ``seconds`` is our estimate rather than the provider's: then a probe may be sent early.
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

    def resting(self) -> tuple[Resting, ...]:
        """List the circuits that are cooling, open, or waiting for a probe."""
        if not self._conditions:
            return ()
        with self._lock:
            known, now = list(self._conditions.items()), self._clock()
        return tuple(_resting(circuit, one, now) for circuit, one in known if one.is_on_trial)

    def notice(self) -> str | None:
        """A sentence for people if this process does not receive the state of other processes as it should; else None."""
        return None

    def close(self) -> None:
        """Stop sharing with other processes, if this health is shared."""

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

    def earn_retry(self, budget_key: str) -> None:
        """Record an answer, which adds to the retry budget ``budget_key``. Each provider and key owner has a budget."""
        with self._lock:
            self._budgets[budget_key].earn(self._clock())

    def has_answered(self, budget_key: str) -> bool:
        """Whether the provider of the retry budget ``budget_key`` answered a call in the last `OPEN_SECONDS`."""
        with self._lock:
            return self._clock() - self._budgets[budget_key].earned_at < OPEN_SECONDS

    def may_retry(self, budget_key: str, *, last_resort: bool = False) -> bool:
        """Spend one retry of the budget ``budget_key``; False if none is left. For a ``last_resort``, an empty budget may lend one."""
        with self._lock:
            budget, now = self._budgets[budget_key], self._clock()
            return budget.spend(now) or (last_resort and budget.borrow(now))

    def _keep(self, circuit: Circuit, condition: Condition, now: float) -> Sequence[HealthChange]:
        """Store the condition of ``circuit``, and return the changes that listeners are told."""
        before = self._conditions.get(circuit, WELL)
        if condition.breaker.has_no_failures and condition.cools_for is None:
            self._conditions.pop(circuit, None)
        else:
            if condition.is_on_trial and not before.is_on_trial:
                condition = replace(condition, since=now)
            self._conditions[circuit] = condition
            self._conditions.move_to_end(circuit)
            if len(self._conditions) > MOST_CIRCUITS:
                self._conditions.popitem(last=False)
        is_news = before.breaker.openings != condition.breaker.openings or before.is_told or condition.is_told
        return tuple(_changes(circuit, before, condition, now)) if is_news else ()


def _changes(circuit: Circuit, before: Condition, after: Condition, now: float) -> Iterator[HealthChange]:
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


def _tells_less(before: Condition, after: Condition) -> bool:
    return not before.is_told or before.cools_for is not after.cools_for


def _resting(circuit: Circuit, condition: Condition, now: float) -> Resting:
    why, cause = _unavailable(condition, now), condition.cools_for or condition.failed_with
    kind: RestKind = "half open"
    if why is not None and why.kind != "limited":
        kind = why.kind
    seconds = why.seconds if why is not None else 0.0
    return Resting(circuit, kind, cause, now - condition.since, seconds, condition.breaker.in_a_row)


def _unavailable(condition: Condition, now: float) -> Unavailable | None:
    openings, is_probed = condition.openings, now < condition.probes_until
    cause = condition.cools_for or condition.failed_with
    if now < condition.cools_until and not (condition.is_guess and is_probed):
        left = condition.cools_until - now
        return Unavailable(left, cause, "cooling", openings, is_guess=condition.is_guess)
    if is_probed:
        return Unavailable(condition.probes_until - now, cause, "probing", openings)
    opens_until = condition.breaker.opens_until
    if opens_until is not None and now < opens_until:
        return Unavailable(opens_until - now, condition.failed_with, "open", openings)
    return None
