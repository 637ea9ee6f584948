"""Health: circuit breakers, cooldowns and retry budgets. In memory here; another store may implement `Health`."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self

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
"""Beyond this many the least recently used one is forgotten: users bring any number of keys."""
PROBE_GRACE = 5.0
"""Seconds that a probe may be late before another one may be sent."""
LONGEST_COOLING = 3600.0
"""The longest cooldown in seconds, whatever the provider asks for."""
WORTH_TELLING = 5.0
"""Seconds. Nobody is told of a cooldown that is shorter: calls wait for it themselves, and it may follow every request."""
RETRY_SHARE = 0.3
RETRY_RESERVE = 10.0
EARNED_HALF_LIFE = 10.0
"""Half of what a retry budget holds beyond its reserve is lost in so many seconds."""
COUNT_SECONDS = 1.0
"""How often that is looked at while answers come."""
FIRST_LOAN_SECONDS = 0.5
"""After the first retry that an empty budget lends, the next follows in so many seconds, then in twice as many."""
LONGEST_LOAN_SECONDS = 300.0

UnavailableKind = Literal["cooling", "open", "probing", "limited"]
RestKind = Literal["cooling", "open", "probing", "half open"]
Admission = Literal["request", "probe"]
"""Permission to send a request, or a probe, for whose outcome other calls wait."""


class _Place(NamedTuple):
    endpoint: str
    key: str


class Circuit(_Place):
    """One endpoint as one credential sees it: another user's bad key says nothing about mine.

    Attributes:
        endpoint: ``provider:model``, or only the provider for what concerns the key whichever model it asks for.
        key: The credential's fingerprint.
        owner: Whose key it is, and ``account`` the house's account that it belongs to, if that has a name. They tell
            people which it is, and make no difference between two.
    """

    owner: KeyOwner
    account: str | None

    def __new__(cls, endpoint: str, key: str, owner: KeyOwner = "house", account: str | None = None) -> Self:
        """See the class."""
        self = super().__new__(cls, endpoint, key)
        self.owner, self.account = owner, account
        return self


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a circuit is not to be used now.

    Attributes:
        seconds: How much longer, and ``look_in`` how many until it is worth looking again, if that may be sooner.
        category: What led to it.
        kind: ``cooling`` was asked for, or follows from the failure; ``open`` is the breaker's; ``probing`` waits for
            somebody else's probe; ``limited`` has no room under our own limits.
        reason: The limit, in words, and ``scope`` whose it is.
        is_guess: Whether nobody told ``seconds``: for a limit, it is only when to look again.
        openings: How often it was decided to leave it alone, or a probe found that to be right: whoever sees it grow
            knows how the probe ended.
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
        """Whether one request may find out before its time: nobody asked for the rest, and a retry may help."""
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
    """A circuit's health has changed.

    Attributes:
        kind: Its breaker ``opened``, also again after a probe, or ``closed``; or it ``rests`` for a cooldown and is ``back``.
        category: What led to it.
        seconds: For how long it is left alone; 0 when that is over.
        failures: How many failures in a row its breaker has counted.
    """

    kind: Literal["opened", "closed", "rests", "back"]
    circuit: Circuit
    category: Category
    seconds: float
    failures: int


class Resting(NamedTuple):
    """A circuit that is left alone, or was, and whose next request is a probe.

    Attributes:
        kind: As of `Unavailable`; ``half open`` if its time is over and nobody has asked it since.
        category: What led to it.
        since: For how many seconds already.
        seconds: For how many more.
        failures: How many failures in a row its breaker has counted.
    """

    circuit: Circuit
    kind: RestKind
    category: Category
    since: float
    seconds: float
    failures: int


def _in_words(seconds: float) -> str:
    """Rounded up: whoever comes then finds room."""
    return str(ceil(seconds)) if seconds > 1 else f"{seconds:.2g}"


class Health(Protocol):
    """The state of all circuits: plans ask which are usable, attempts report how they ended. No method blocks or does I/O."""

    @property
    def traffic(self) -> Traffic:
        """Load, latency and limits of the endpoints."""
        ...

    def availability(self, *circuits: Circuit) -> Unavailable | None:
        """Why the first unusable one of ``circuits`` is so; None if all may be used."""
        ...

    def admit(
        self, circuit: Circuit, seconds: float, *, last_resort: bool, key: Circuit | None = None
    ) -> Admission | Unavailable:
        """Get permission to send a request, or the reason why not.

        Args:
            circuit: The circuit that it is for.
            seconds: How long the request may take; a probe whose outcome is never reported is forgotten after that.
            last_resort: Nothing else is left: an open breaker, and a cooldown that no provider asked for, may be
                probed before their time. Still one at a time.
            key: The circuit of the request's key, which may be cooling, too.
        """
        ...

    def answered(
        self, circuit: Circuit, *, key: Circuit | None = None, was_probe: bool = True, is_well: bool = True
    ) -> None:
        """Record that an admitted request was answered, well or not: the provider is alive.

        Args:
            circuit: The circuit that it was for.
            key: The circuit of the request's key.
            was_probe: Whether it was the probe, if there is one.
            is_well: Whether the answer shows that a cooldown is over. Another rate limit does not.
        """

    def failed(
        self, circuit: Circuit, category: Category, *, key: Circuit | None = None, was_probe: bool = True
    ) -> None:
        """Record that an admitted request failed, by the provider's fault.

        Args:
            circuit: The circuit that it was for.
            category: The kind of failure.
            key: The circuit of the request's key.
            was_probe: Whether it was the probe, if there is one; else that goes on.
        """

    def release(self, *circuits: Circuit) -> None:
        """Release a probe without an outcome: it was cancelled, or never sent."""

    def cool(self, circuit: Circuit, seconds: float, category: Category, *, is_guess: bool = False) -> None:
        """Put ``circuit`` on cooldown for ``seconds``; after that one request tries before the others.

        Args:
            circuit: Which.
            seconds: How long.
            category: The kind of failure that led to it.
            is_guess: Whether no provider told ``seconds``: then it may be probed before its time.
        """

    def resting(self) -> tuple[Resting, ...]:
        """The circuits that are cooling, open, or waiting for a probe."""

    def notice(self) -> str | None:
        """A sentence for people if this process sees less than it should of what others count; else None."""

    def close(self) -> None:
        """Stop sharing with other processes, if there are any."""

    def subscribe(self, listener: HealthListener) -> None:
        """Tell ``listener`` of every `HealthChange`, once it is there; twice is as good as once. What it raises is logged."""

    def earn_retry(self, budget_key: str) -> None:
        """Record an answer, which adds to the retry budget ``budget_key``: one for each provider and owner of keys."""

    def has_answered(self, budget_key: str) -> bool:
        """Whether an answer was added to the retry budget ``budget_key`` within the time for which a breaker opens."""

    def may_retry(self, budget_key: str, *, last_resort: bool = False) -> bool:
        """Spend one retry of the budget ``budget_key``; False if none is left. As a last resort one may be lent."""
        ...


class RetryBudget:
    """Allows at most ``RETRY_RESERVE + RETRY_SHARE * N`` retries for N answers, so that an outage causes no retry storm.

    What is earned beyond the reserve is for calls that failed beside those answers, and soon lost.

    An empty budget lends one retry to a call that has nothing else left, and the next one after an answer, or at
    intervals that double. Not thread-safe: the owner holds a lock.

    Attributes:
        earned_at: When the last answer came.
    """

    def __init__(self) -> None:
        self.earned_at = -inf
        self._left = RETRY_RESERVE
        self._counted_at = 0.0
        self._lends_at = 0.0
        self._pause = FIRST_LOAN_SECONDS

    @property
    def is_low(self) -> bool:
        """Whether retries were spent that answers have not earned back yet."""
        return self._left < RETRY_RESERVE

    def earn(self, now: float, answers: int = 1) -> None:
        """Add the share of one answer, or of several."""
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
        """Others have spent so many: the budget is theirs, too."""
        self._count(now)
        self._left = max(0.0, self._left - retries)

    def borrow(self, now: float) -> bool:
        """Take one retry that the budget does not have, if it is time for one."""
        if now < self._lends_at:
            return False
        self._lends_at = now + self._pause
        self._pause = min(LONGEST_LOAN_SECONDS, 2 * self._pause)
        return True

    def _count(self, now: float) -> None:
        """Forget what was earned too long ago."""
        if (extra := self._left - RETRY_RESERVE) > 0:
            self._left = RETRY_RESERVE + extra * 0.5 ** ((now - self._counted_at) / EARNED_HALF_LIFE)
        self._counted_at = now


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of one circuit, as a frozen value. Times are seconds of the monotonic clock."""

    breaker: Breaker = field(default_factory=Breaker)
    cools_until: float = 0.0
    cools_for: Category | None = None
    """Why it was left alone, until an answer shows that this is over."""
    is_guess: bool = False
    is_told: bool = False
    """Whether its cooldown is long enough to tell anybody."""
    probes_until: float = 0.0
    failed_with: Category = Category.SERVER
    openings: int = 0
    since: float = 0.0
    """When it went on trial, if it is."""

    @property
    def is_on_trial(self) -> bool:
        """Whether one request is to find out how it is before others follow."""
        return self.cools_for is not None or self.breaker.opens_until is not None

    def answered(self, now: float, *, was_probe: bool, is_well: bool) -> Condition:
        """After an answer. One to a request that went out before the cooldown does not end it."""
        after = replace(self, breaker=self.breaker.succeeded(now), probes_until=0.0)
        is_over = now >= self.cools_until or (self.is_guess and was_probe)
        return (
            replace(after, cools_until=0.0, cools_for=None, is_told=False) if is_well and is_over else after
        )


WELL = Condition()


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
        """See `Health`."""
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
        """See `Health`."""
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
        """See `Health`."""
        now = self._clock()
        with self._lock:
            for one, condition in self._known(*circuits).items():
                if condition.probes_until:
                    self._keep(one, replace(condition, probes_until=0.0), now)

    def cool(self, circuit: Circuit, seconds: float, category: Category, *, is_guess: bool = False) -> None:
        """See `Health`."""
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
        """See `Health`."""
        if not self._conditions:
            return ()
        with self._lock:
            known, now = list(self._conditions.items()), self._clock()
        return tuple(_resting(circuit, one, now) for circuit, one in known if one.is_on_trial)

    def notice(self) -> str | None:
        """See `Health`. It sees itself, and nobody expects more."""
        return None

    def close(self) -> None:
        """See `Health`."""

    def subscribe(self, listener: HealthListener) -> None:
        """See `Health`."""
        if listener not in self._listeners:
            self._listeners = (*self._listeners, listener)

    def _tell(self, changes: Iterable[HealthChange]) -> None:
        """Not under a lock: a listener may write to a file."""
        for change in changes:
            for listener in self._listeners:
                try:
                    listener(change)
                except Exception:
                    log.exception("a listener to health failed; the call goes on")

    def earn_retry(self, budget_key: str) -> None:
        """See `Health`."""
        with self._lock:
            self._budgets[budget_key].earn(self._clock())

    def has_answered(self, budget_key: str) -> bool:
        """See `Health`."""
        with self._lock:
            return self._clock() - self._budgets[budget_key].earned_at < OPEN_SECONDS

    def may_retry(self, budget_key: str, *, last_resort: bool = False) -> bool:
        """See `Health`."""
        with self._lock:
            budget, now = self._budgets[budget_key], self._clock()
            return budget.spend(now) or (last_resort and budget.borrow(now))

    def _keep(self, circuit: Circuit, condition: Condition, now: float) -> Sequence[HealthChange]:
        """Replace what is known of ``circuit``; what is to be told of that."""
        before = self._conditions.get(circuit, WELL)
        if condition.breaker.is_spotless and condition.cools_for is None:
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
    """What there is to tell."""
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
