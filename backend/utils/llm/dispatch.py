"""The attempt loop of one call as a state machine without I/O: what to try next, how long to wait, when to stop.

Ask `next`, do what it says, tell the outcome; repeat until the call is over. Four drivers (plain and streaming,
synchronous and asynchronous) share it. It owns all retries: nothing below it sends a request twice.
"""

from __future__ import annotations

import random as chance
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import (
    AllAttemptsFailedError,
    CallTimeoutError,
    LLMError,
    NoEndpointError,
    RejectedCredentialError,
    StreamInterruptedError,
)
from .failures import LONGEST_WAIT, POLICY, Category, Failure, backoff
from .receipt import Attempt, Receipt
from .routing import rest_of, resting

if TYPE_CHECKING:
    from collections.abc import Callable

    from .failures import Policy
    from .health import Circuit, Health, Rest
    from .routing import Candidate, Route

LEAST_SECONDS = 0.05
"""With less than this left of the deadline, no attempt is started."""
SHARE_OF_THE_REST = 2 / 3
"""What an attempt may take of the deadline while other endpoints are left for which there must be time."""
PATIENCE_SECONDS = 5.0
"""A time-out after less than this, cut short by the call's deadline, says nothing about the endpoint."""
PROBE_POLL_SECONDS = 0.5
"""How often a call that has nothing but a circuit under probe looks again."""


@dataclass(frozen=True)
class Try:
    """Send a request now.

    Attributes:
        seconds: The most that it may take, so that there is time for the endpoints that are left.
        most_seconds: The most that it may take once they do not matter any more: part of its answer was handed on.
        repair: Feed the last answer's fault back.
        probe: Others wait for its outcome.
    """

    candidate: Candidate
    seconds: float
    most_seconds: float
    repair: bool = False
    probe: bool = False


@dataclass(frozen=True)
class Wait:
    """Let ``seconds`` pass, then ask again."""

    seconds: float


@dataclass(frozen=True)
class _Pending:
    candidate: Candidate
    not_before: float = 0.0
    repair: bool = False


class Dispatch:
    """The course of one call along its route.

    Args:
        health: What earlier calls taught, and this one will teach.
        clock: The monotonic clock, in seconds.
        random: From 0 up to, not including, 1; for the jitter of waits.

    Raises:
        LLMError: On construction, if the route has no candidate: nothing was sent.
    """

    def __init__(
        self,
        route: Route,
        health: Health,
        *,
        clock: Callable[[], float],
        random: Callable[[], float] = chance.random,
    ) -> None:
        if (refusal := route.refusal()) is not None:
            raise refusal
        self.route = route
        self.attempts: list[Attempt] = []
        self._health = health
        self._clock = clock
        self._random = random
        self._ends_at = clock() + route.deadline
        self._pending = [_Pending(candidate) for candidate in route.candidates]
        self._sent: Counter[Circuit] = Counter()
        self._ended: Counter[tuple[Circuit, Category]] = Counter()
        self._shares: dict[Circuit, float] = {}
        self._repaired: set[Circuit] = set()
        self._purses: set[str] = set()
        self._hints: dict[Circuit, float | None] = {}
        self._known: dict[Circuit, int] = {}
        """Openings of each breaker when this call first looked: what was found dead since is not worth a probe."""
        self._current: Try | None = None
        self._failure: Failure | None = None

    # What to do next -----------------------------------------------------------------------------------------------

    def next(self) -> Try | Wait:
        """What to do now. Ask at the start, after a wait, and after `failed` returned None.

        Raises:
            LLMError: The call is over: its time is up, or all that is left is resting.
        """
        now = self._clock()
        if self._ends_at - now < LEAST_SECONDS:
            raise self._out_of_time()
        early = self._pending[0].not_before - now
        if early > 0:
            return Wait(early)
        return self._first_admitted(now, last_resort=False) or self._without_admission(now)

    def _first_admitted(self, now: float, *, last_resort: bool) -> Try | None:
        for pending in self._pending:
            seconds = self._seconds_for(pending, now)
            if self._is_admitted(pending.candidate, seconds, last_resort=last_resort):
                return self._begin(pending, seconds)
        return None

    def _without_admission(self, now: float) -> Try | Wait:
        """All that is left is resting: probe the best breaker, wait for what is worth it, or give up."""
        probe = self._first_admitted(now, last_resort=True)
        if probe is not None:
            return probe
        rests = [rest_of(one.candidate, self._health) for one in self._pending]
        waits = [wait for rest in rests if (wait := _worth_waiting(rest)) is not None]
        seconds = min(waits, default=None)
        if seconds is None or not self._has_time_for(seconds, now):
            raise self._nothing_left()
        return Wait(seconds)

    def _is_admitted(self, candidate: Candidate, seconds: float, *, last_resort: bool) -> bool:
        if self._health.resting(candidate.key_circuit) is not None:
            return False
        rest = self._health.resting(candidate.circuit)
        known = self._known.setdefault(candidate.circuit, rest.openings if rest is not None else 0)
        may_probe = last_resort and rest is not None and rest.openings == known
        return self._health.admit(candidate.circuit, seconds, last_resort=may_probe) is None

    def _begin(self, pending: _Pending, seconds: float) -> Try:
        now = self._clock()
        self._shares[pending.candidate.circuit] = self._share_ends(
            pending.candidate, len(self._pending) - 1, now
        )
        self._pending = [one for one in self._pending if one is not pending]
        purse = _purse(pending.candidate)
        if purse not in self._purses:
            self._purses.add(purse)
            self._health.first_request(purse)
        self._sent[pending.candidate.circuit] += 1
        rest = self._health.resting(pending.candidate.circuit)
        is_probe = rest is not None and rest.kind == "probing"
        most = min(pending.candidate.options.timeout, self._ends_at - now)
        self._current = Try(pending.candidate, seconds, most, pending.repair, is_probe)
        return self._current

    def _seconds_for(self, pending: _Pending, now: float) -> float:
        others = len(self._pending) - 1
        return min(pending.candidate.options.timeout, self._share_ends(pending.candidate, others, now) - now)

    def _share_ends(self, candidate: Candidate, others: int, now: float) -> float:
        """When an endpoint has had its share of the deadline, retries and waits included. The last one takes all."""
        if others < 1:
            return self._ends_at
        ends_at = self._shares.get(candidate.circuit, 0.0)
        is_left = ends_at - now > LEAST_SECONDS
        return ends_at if is_left else now + (self._ends_at - now) * SHARE_OF_THE_REST

    def _has_time_for(self, wait: float, now: float) -> bool:
        return now + wait + LEAST_SECONDS <= self._ends_at

    # What came of it -----------------------------------------------------------------------------------------------

    def succeeded(self, attempt: Attempt) -> Receipt:
        """The call is over; this is its receipt."""
        self._health.answered(self._candidate.circuit)
        self.attempts.append(attempt)
        return Receipt(
            feature=self.route.feature.name,
            profile=self._candidate.profile,
            attempts=tuple(self.attempts),
            degraded=self.route.demo or self._candidate.endpoint != self.route.preferred,
            table_hash=self.route.table_hash,
        )

    def failed(self, attempt: Attempt, failure: Failure, *, partial: str | None = None) -> LLMError | None:
        """None if something else may be tried; else the error that ends the call.

        Args:
            attempt: What was tried.
            failure: How it went wrong.
            partial: The text that was already handed on, if any: then nothing else may be tried.
        """
        self.attempts.append(attempt)
        self._failure = failure
        self._ended[self._candidate.circuit, failure.category] += 1
        self._hints[self._candidate.circuit] = failure.retry_after
        self._teach(failure)
        delay = None if partial is not None else self._delay(failure)
        self._cool(failure, delay)
        if partial is not None:
            return self._interrupted(partial)
        if delay is not None:
            self._pending.insert(0, self._again(failure, delay))
            return None
        may_move_on = self._may_move_on(failure)
        self._pending = self._allowed_after(failure) if may_move_on else []
        return None if self._pending else self._final_error(failure, is_last=may_move_on)

    def _again(self, failure: Failure, delay: float) -> _Pending:
        """The same endpoint, later. A repair that failed for another reason is still one."""
        assert self._current is not None  # noqa: S101 - told only after `next`
        is_repair = self._current.repair or _policy(failure).again == "repair"
        return _Pending(self._candidate, self._clock() + delay, is_repair)

    # The same endpoint again ---------------------------------------------------------------------------------------

    def _delay(self, failure: Failure) -> float | None:
        """Seconds to wait before the same endpoint is asked again; None if it should not be."""
        policy, used = _policy(failure), self._candidate.circuit
        most = self._candidate.endpoint.attempts or self.route.feature.attempts
        room = self.route.feature.max_attempts - len(self.attempts) - len(self._pending)
        if policy.again == "no" or self._sent[used] >= most or room < 1:
            return None
        if policy.again == "repair":
            return self._repair_delay()
        if self._ended[used, failure.category] >= policy.tries:
            return None
        delay = self._backoff(failure)
        if delay > LONGEST_WAIT or not self._is_within_share(delay):
            return None
        return delay if self._may_retry(failure) else None

    def _is_within_share(self, delay: float) -> bool:
        """Whether a request after ``delay`` leaves the others their time."""
        ends_at = self._shares[self._candidate.circuit] if self._pending else self._ends_at
        return self._clock() + delay + LEAST_SECONDS <= ends_at

    def _repair_delay(self) -> float | None:
        """A repair does not wait. Each endpoint gets one."""
        if self._candidate.circuit in self._repaired or not self._is_within_share(0.0):
            return None
        self._repaired.add(self._candidate.circuit)
        return 0.0

    def _backoff(self, failure: Failure) -> float:
        retry = self._sent[self._candidate.circuit]
        if failure.category is Category.CONNECT and retry == 1 and failure.retry_after is None:
            return 0.0  # most likely a connection that had gone stale
        return backoff(retry, failure.retry_after, self._random)

    def _may_retry(self, failure: Failure) -> bool:
        """Asked last, because a retry that is granted is spent."""
        rest = self._health.resting(self._candidate.circuit)
        is_open = rest is not None and rest.kind == "open"
        return failure.may_retry and not is_open and self._health.may_retry(_purse(self._candidate))

    # The next endpoint ---------------------------------------------------------------------------------------------

    def _allowed_after(self, failure: Failure) -> list[_Pending]:
        if len(self.attempts) >= self.route.feature.max_attempts:
            return []
        used = self._candidate
        match _policy(failure).next_endpoint:
            case "larger window":
                return [one for one in self._pending if one.candidate.room > used.room]
            case "another key" | "another key, if this one is the house's":
                return [one for one in self._pending if one.candidate.key_circuit != used.key_circuit]
            case _:
                return self._pending

    def _may_move_on(self, failure: Failure) -> bool:
        feature = self.route.feature
        match _policy(failure).next_endpoint:
            case "no":
                return False
            case "another key, if this one is the house's":
                return self._candidate.owner == "house"
            case "once, if the feature allows":
                refusals = sum(attempt.category is failure.category for attempt in self.attempts)
                return feature.on_refusal == "next" and refusals == 1
            case "if the feature allows":
                return feature.on_invalid_output == "next"
            case _:
                return True

    # What others may learn -----------------------------------------------------------------------------------------

    def _teach(self, failure: Failure) -> None:
        policy, circuit, health = _policy(failure), self._candidate.circuit, self._health
        if policy.health == "counts" and self._was_patient(failure):
            health.failed(circuit, failure.category, was_probe=self._is_probe)
        elif policy.health not in {"counts", "nothing"}:
            health.answered(circuit)
        elif self._is_probe:
            health.release(circuit)

    def _cool(self, failure: Failure, delay: float | None) -> None:
        """Let everybody leave it alone: as long as the provider asks, or we wait ourselves, or its kind is worth."""
        policy = _policy(failure)
        if policy.health == "cool endpoint":
            pause = policy.cool_seconds if delay is None else delay
            self._health.cool(self._candidate.circuit, failure.retry_after or pause, failure.category)
        elif policy.health == "cool key" and self._is_anybodys_business(failure):
            pause = failure.retry_after or policy.cool_seconds
            self._health.cool(self._candidate.key_circuit, pause, failure.category)

    def _is_anybodys_business(self, failure: Failure) -> bool:
        """A user's refused key is told to the user, each time: they may have just mended it."""
        return failure.category is not Category.CREDENTIAL or self._candidate.owner == "house"

    def _was_patient(self, failure: Failure) -> bool:
        """Whether a time-out is the endpoint's fault, not that of a caller in a hurry."""
        assert self._current is not None  # noqa: S101 - told only after `next`
        had = self._current.seconds
        if failure.category is not Category.TIMEOUT or failure.status is not None:
            return True
        return had >= PATIENCE_SECONDS or had >= self._candidate.options.timeout

    # How a call ends -----------------------------------------------------------------------------------------------

    @property
    def _is_probe(self) -> bool:
        return self._current is not None and self._current.probe

    @property
    def _candidate(self) -> Candidate:
        assert self._current is not None  # noqa: S101 - told only after `next`
        return self._current.candidate

    def _out_of_time(self) -> LLMError:
        name, seconds = self.route.feature.name, self.route.deadline
        return CallTimeoutError(
            f"{name!r} was not answered within its deadline of {seconds:g} s.",
            feature=name,
            attempts=self.attempts,
        )

    def _nothing_left(self) -> LLMError:
        """All that is left is resting, for longer than it is worth waiting."""
        if self._failure is not None:
            return self._final_error(self._failure, is_last=True)
        rests = [(one.candidate, rest_of(one.candidate, self._health)) for one in self._pending]
        skips = tuple(resting(candidate, rest) for candidate, rest in rests if rest is not None)
        refusal = replace(self.route, candidates=(), skipped=(*self.route.skipped, *skips)).refusal()
        return refusal or NoEndpointError("Nothing is left to try.", feature=self.route.feature.name)

    def _interrupted(self, partial: str) -> LLMError:
        return StreamInterruptedError(
            f"{self._candidate.endpoint} broke off in the middle of its answer.",
            feature=self.route.feature.name,
            attempts=self.attempts,
            partial=partial,
        )

    def _final_error(self, failure: Failure, *, is_last: bool) -> LLMError:
        """The error of the call.

        Args:
            failure: How the last attempt went wrong.
            is_last: Nothing is left to try; else something is, but after this failure it may not be tried.
        """
        name = self.route.feature.name
        if is_last and len({attempt.endpoint for attempt in self.attempts}) > 1:
            return self._all_failed()
        if failure.error is not None:
            failure.error.feature, failure.error.attempts = name, tuple(self.attempts)
            return failure.error
        if failure.category is Category.CREDENTIAL:
            return self._rejected_key()
        policy = _policy(failure)
        return policy.error(
            f"{self._candidate.endpoint} {policy.sentence}{self._times()}.",
            feature=name,
            attempts=self.attempts,
            retry_after=self._retry_after(),
        )

    def _retry_after(self) -> float | None:
        """When the first endpoint wants to be asked again, by the last that each said."""
        return min((hint for hint in self._hints.values() if hint is not None), default=None)

    def _all_failed(self) -> LLMError:
        name = self.route.feature.name
        tried = "; ".join(f"{attempt.endpoint}: {_outcome(attempt)}" for attempt in self.attempts)
        error = AllAttemptsFailedError(
            f"Every endpoint of {name!r} failed. {tried}.",
            feature=name,
            attempts=self.attempts,
            retry_after=self._retry_after(),
        )
        error.retryable = error.is_retryable = any(
            POLICY[attempt.category].error.retryable for attempt in self.attempts if attempt.category
        )
        return error

    def _times(self) -> str:
        count = self._sent[self._candidate.circuit]
        return f" (asked {count} times)" if count > 1 else ""

    def _rejected_key(self) -> LLMError:
        provider, by_user = self._candidate.endpoint.provider.name, self._candidate.owner == "user"
        whose = f"that you brought for {provider}" if by_user else "of the house"
        error = RejectedCredentialError(
            f"{self._candidate.endpoint} refused the key {whose}.",
            feature=self.route.feature.name,
            attempts=self.attempts,
        )
        if by_user:
            error.http_status = 403
        return error


def _policy(failure: Failure) -> Policy:
    return POLICY[failure.category]


def _purse(candidate: Candidate) -> str:
    """Whose retries are spent: users with bad luck leave the house its own."""
    return f"{candidate.endpoint.provider.name} for the {candidate.owner}"


def _worth_waiting(rest: Rest | None) -> float | None:
    """Seconds to wait for it; None if there is no point."""
    if rest is None:
        return 0.0  # it came back between two looks
    if rest.kind == "probing":
        return min(rest.seconds, PROBE_POLL_SECONDS)
    is_soon = rest.seconds <= LONGEST_WAIT and POLICY[rest.category].again == "retry"
    return rest.seconds if rest.kind == "cooling" and is_soon else None


def _outcome(attempt: Attempt) -> str:
    category = attempt.category or Category.BUG
    status = f" ({attempt.status})" if attempt.status and attempt.status >= 300 else ""  # noqa: PLR2004
    return f"{POLICY[category].sentence}{status}"
