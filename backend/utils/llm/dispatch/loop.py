"""The attempt loop of one call as a state machine without I/O: what to try next, how long to wait, when to stop.

Consult `next`, do what it says, tell the outcome; repeat until the call is over. Four drivers (plain and streaming,
synchronous and asynchronous) share it. It owns all retries: nothing below it sends a request twice.
"""

from __future__ import annotations

import random as chance
from collections import Counter
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from ..failures import LONGEST_WAIT, POLICY, Category, Failure, backoff
from ..filters import SELECTOR_RULES, skip
from ..model_config import ORDERED, CostLadder, Custom
from ..options import Options
from ..receipt import Receipt
from ..route import Candidate
from ..routing import is_within_reach, rest_of, tokens_of
from ..selection import Situation, chosen, ordered
from ..selector import Choosing, Pause, Stop, Use
from . import endings
from .lessons import Lessons
from .steps import LEAST_SECONDS, Consult, Pending, Try, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..errors import LLMError
    from ..failures import Policy
    from ..health import Circuit, Health, Rest
    from ..receipt import Attempt
    from ..route import Route

SHARE_OF_THE_REST = 2 / 3
"""What an attempt may take of the deadline while other endpoints are left for which there must be time."""
PROBE_POLL_SECONDS = 0.5
"""How often a call that has nothing but a circuit under probe looks again."""
MOST_QUESTIONS = 100
"""A selector that was asked so often for one call goes round in circles."""


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
        self._traffic = health.traffic
        self._situation = Situation(route.needs, route.caller, health.traffic)
        self._lessons = Lessons(route, health)
        self._clock = clock
        self._random = random
        self._ends_at = clock() + route.deadline
        self._pending = [Pending(candidate) for candidate in route.candidates]
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
        self._number = self._traffic.number()
        self._line: str | None = None
        self._asked: Consult | None = None
        self._promised: Pending | None = None
        """What a selector chose, and what is only waited for."""
        self._questions = 0

    # What to do next -----------------------------------------------------------------------------------------------

    def next(self) -> Try | Wait | Consult:
        """What to do now. To be asked at the start, after a wait, and after `failed` returned None.

        Choosing an endpoint and beginning to use it are one step: no two calls see the same free place.

        Raises:
            LLMError: The call is over: its time is up, or all that is left is resting.
        """
        try:
            with self._traffic.lock:
                return self._next()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """The call ends without another step: nobody waits behind it any longer."""
        self._leave_line()

    def _next(self) -> Try | Wait | Consult:
        now = self._clock()
        if self._ends_at - now < LEAST_SECONDS:
            raise self._too_late()
        return self._kept_promise(now) or self._first_step(now) or self._without_admission(now)

    def _first_step(self, now: float) -> Try | Wait | Consult | None:
        """The first of what is left that may go out; a retry that is not due yet is waited for."""
        for tier in self._tiers():
            if isinstance(tier[0].candidate.select, Custom):
                question = self._question(tier, now)
                if question is not None:
                    return question
                continue
            for pending in tier:
                if pending.not_before > now:
                    return Wait(pending.not_before - now)
                if (step := self._admitted(pending, now)) is not None:
                    return step
        return None

    def _tiers(self) -> Iterator[list[Pending]]:
        """What is left, tier by tier, in the order in which it would be tried now."""
        for _, run in groupby(self._pending, key=lambda one: (one.candidate.owner, one.candidate.tier)):
            tier = list(run)
            yield self._chosen_order(tier) if tier[0].candidate.select != ORDERED else tier

    def _chosen_order(self, tier: list[Pending]) -> list[Pending]:
        """Those not asked yet as their strategy says; retries keep their places before or after them."""
        fresh = {one.candidate.circuit: one for one in tier if not one.is_retry}
        if len(fresh) < 2:  # noqa: PLR2004 - nothing to choose
            return tier
        order = ordered([one.candidate for one in fresh.values()], self._situation)
        first = next(place for place, one in enumerate(tier) if not one.is_retry)
        retries = [one for one in tier if one.is_retry]
        return [*retries[:first], *(fresh[one.circuit] for one in order), *retries[first:]]

    def _without_admission(self, now: float) -> Try | Wait:
        """All that is left is resting: probe the best breaker, wait for what is worth it, or give up."""
        for pending in self._pending:
            if (probe := self._admitted(pending, now, last_resort=True)) is not None:
                return probe
        rests = [(one.candidate, self._rest_of(one.candidate)) for one in self._pending]
        waits = [(wait, one, rest) for one, rest in rests if (wait := self._worth_waiting(rest)) is not None]
        if not waits:
            raise self._nothing_left(rests)
        seconds, candidate, rest = min(waits, key=lambda wait: wait[0])
        if not self._has_time_for(seconds, now):
            raise self._nothing_left(rests)
        self._stand_in_line(candidate, rest, seconds)
        return Wait(seconds)

    def _rest_of(self, candidate: Candidate) -> Rest | None:
        return rest_of(candidate, self._health, self.route.needs, self._number)

    def _worth_waiting(self, rest: Rest | None) -> float | None:
        """Seconds to wait for it; None if there is no point."""
        if rest is None:
            return 0.0  # it came back between two looks
        if rest.kind == "probing":
            return min(rest.seconds, PROBE_POLL_SECONDS)
        return rest.seconds if rest.kind != "open" and is_within_reach(rest, self.route.feature) else None

    def _too_late(self) -> LLMError:
        """Its deadline is over; whoever only waited is told what for, not that a provider was slow."""
        rests = [(one.candidate, self._rest_of(one.candidate)) for one in self._pending]
        if not self.attempts and rests and all(rest is not None for _, rest in rests):
            return endings.nothing_left(self.route, rests)
        return endings.out_of_time(self.route, self.attempts)

    def _nothing_left(self, rests: list[tuple[Candidate, Rest | None]]) -> LLMError:
        if self._failure is not None:
            return self._final_error(self._failure, is_last=True)
        return endings.nothing_left(self.route, rests)

    # Taking leave ----------------------------------------------------------------------------------------------------

    def _admitted(self, pending: Pending, now: float, *, last_resort: bool = False) -> Try | None:
        candidate = pending.candidate
        rest = self._rest_of(candidate)
        known = self._known.setdefault(candidate.circuit, rest.openings if rest is not None else 0)
        may_probe = last_resort and rest is not None and rest.kind == "open" and rest.openings == known
        if rest is not None and not (may_probe and self._has_room(candidate)):
            return None
        seconds = self._seconds_for(pending, now)
        if self._health.admit(candidate.circuit, seconds, last_resort=may_probe) is not None:
            return None
        return self._begin(pending, seconds, now)

    def _has_room(self, candidate: Candidate) -> bool:
        tokens = tokens_of(candidate, self.route.needs)
        return self._traffic.meters.full(candidate.meters, tokens, self._number) is None

    def _begin(self, pending: Pending, seconds: float, now: float) -> Try:
        candidate = pending.candidate
        if not pending.is_retry:
            chosen(candidate, self._among(pending), self._situation)
        self._shares[candidate.circuit] = self._share_ends(candidate, len(self._pending) - 1, now)
        self._pending = [one for one in self._pending if one is not pending]
        self._earn(candidate)
        self._sent[candidate.circuit] += 1
        rest = self._health.resting(candidate.circuit)
        is_probe = rest is not None and rest.kind == "probing"
        most = min(candidate.options.timeout, self._ends_at - now)
        self._current = Try(candidate, seconds, most, pending.repair, is_probe)
        self._leave_line()
        self._lessons.began(self._current)
        return self._current

    def _among(self, pending: Pending) -> list[Candidate]:
        """Those of its tier that could have been chosen instead."""
        same = (
            one.candidate for one in self._pending if not one.is_retry and _is_beside(one, pending.candidate)
        )
        return [one for one in same if one is pending.candidate or self._rest_of(one) is None]

    def _earn(self, candidate: Candidate) -> None:
        purse = _purse(candidate)
        if purse not in self._purses:
            self._purses.add(purse)
            self._health.first_request(purse)

    def _stand_in_line(self, candidate: Candidate, rest: Rest | None, seconds: float) -> None:
        """Whoever waits for room is served before those who come later."""
        scope = rest.scope if rest is not None and rest.kind == "limited" else None
        if scope != self._line:
            self._leave_line()
        if scope is not None:
            self._line = scope
            tokens = tokens_of(candidate, self.route.needs)
            self._traffic.meters.stand(scope, self._number, seconds, tokens)

    def _leave_line(self) -> None:
        if self._line is not None:
            with self._traffic.lock:
                self._traffic.meters.leave(self._line, self._number)
            self._line = None

    # Time ------------------------------------------------------------------------------------------------------------

    def _seconds_for(self, pending: Pending, now: float) -> float:
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

    # A selector's say --------------------------------------------------------------------------------------------------

    def _question(self, tier: list[Pending], now: float) -> Consult | None:
        """What to ask the selector of ``tier``; None if nothing of it may be asked now."""
        free = tuple(one.candidate for one in tier if self._may_be_chosen(one, now))
        select = tier[0].candidate.select
        if not free or not isinstance(select, Custom):
            return None
        self._questions += 1
        if self._questions > MOST_QUESTIONS:
            raise self.astray(select.name, f"was asked {MOST_QUESTIONS} times and came to no end")
        caller = self.route.caller
        choosing = Choosing(
            feature=self.route.feature.name,
            caller=caller.model_copy(update={"keys": {}, "key_policy": caller.policy}),
            needs=self.route.needs,
            candidates=free,
            attempts=tuple(self.attempts),
            seconds_left=self._ends_at - now,
            attempts_left=self.route.feature.max_attempts - len(self.attempts),
            resting={name: rest for name, rest in self._rests() if rest is not None},
        )
        self._asked = Consult(select.name, choosing)
        return self._asked

    def _may_be_chosen(self, pending: Pending, now: float) -> bool:
        """Also a retry whose endpoint only rests until it is due."""
        rest = self._rest_of(pending.candidate)
        return rest is None or (rest.kind == "cooling" and now + rest.seconds <= pending.not_before)

    def _rests(self) -> Iterator[tuple[str, Rest | None]]:
        yield from ((skip.name, skip.rest) for skip in self.route.skipped)
        yield from ((one.candidate.name, self._rest_of(one.candidate)) for one in self._pending)

    def _kept_promise(self, now: float) -> Try | Wait | None:
        """What the selector chose, once it is due; then it is not asked again."""
        promised, self._promised = self._promised, None
        if promised is None or promised not in self._pending:
            return None
        return self._when_due(promised, now)

    def _when_due(self, pending: Pending, now: float) -> Try | Wait | None:
        if pending.not_before > now:
            self._promised = pending
            return Wait(pending.not_before - now)
        return self._admitted(pending, now)

    def choose(self, choice: object) -> Try | Wait:
        """What to do after the selector said ``choice``.

        Raises:
            SelectionStoppedError: It wants the call to end.
            SelectorError: It said what it may not.
        """
        assert self._asked is not None  # noqa: S101 - told only after `next` asked
        name, choosing = self._asked.selector, self._asked.choosing
        if self._ends_at - self._clock() < LEAST_SECONDS:
            raise self._too_late()
        match choice:
            case Stop(reason):
                raise endings.stopped(self.route, self.attempts, name, reason)
            case Pause(float() | int() as seconds):
                return Wait(min(max(0.0, seconds), max(0.0, self._ends_at - self._clock())))
            case Use(Candidate() as candidate, Options() as options):
                used = replace(candidate, options=options.over(candidate.options))
            case Candidate() as candidate:
                used = candidate
            case _:
                raise self.astray(name, f"said {_told(choice)}, which is no choice")
        pending = next((one for one in self._pending if one.candidate is candidate), None)
        if pending is None or not any(one is candidate for one in choosing.candidates):
            raise self.astray(name, f"chose {_told(choice)}, which is none of the candidates")
        fault = skip(used, self.route, SELECTOR_RULES)
        if fault is not None:
            raise self.astray(name, f"set options that {candidate.name} cannot be asked with: {fault.reason}")
        return self._take(pending, used)

    def _take(self, pending: Pending, used: Candidate) -> Try | Wait:
        settled = replace(pending, candidate=used)
        self._pending = [settled if one is pending else one for one in self._pending]
        with self._traffic.lock:
            return self._when_due(settled, self._clock()) or Wait(0.0)

    def astray(self, selector: str, what: str) -> LLMError:
        """The error of a selector that did what it may not."""
        return endings.went_astray(self.route, self.attempts, selector, what)

    # What came of it -----------------------------------------------------------------------------------------------

    def succeeded(self, attempt: Attempt) -> Receipt:
        """The call is over; this is its receipt."""
        self.attempts.append(attempt)
        self._lessons.succeeded(self._candidate, attempt)
        return self._receipt(attempt, degraded=self.route.is_degraded(self._candidate))

    def received(self) -> None:
        """The endpoint is done with the request, though it is not known yet whether its answer will do."""
        self._lessons.received()

    def settled_for(self, attempt: Attempt) -> Receipt:
        """The call is over, and the rejected answer of ``attempt`` is handed on because there was no better one."""
        return self._receipt(attempt, degraded=True)

    def _receipt(self, answered: Attempt, *, degraded: bool) -> Receipt:
        return Receipt(
            feature=self.route.feature.name,
            profile=self._candidate.profile,
            attempts=tuple(self.attempts),
            degraded=degraded,
            table_hash=self.route.table_hash,
            arm=self.route.arm,
            answered=answered,
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
        self._lessons.taught(self._step, failure)
        delay = None if partial is not None else self._delay(failure)
        self._lessons.failed(self._step, attempt, failure, delay)
        if partial is not None:
            return endings.interrupted(self.route, self.attempts, self._candidate, partial)
        if delay is not None:
            self._pending.insert(self._place_of_retry(), self._again(failure, delay))
            return None
        may_move_on = self._may_move_on(failure)
        self._pending = self._allowed_after(failure) if may_move_on else []
        return None if self._pending else self._final_error(failure, is_last=may_move_on)

    def _again(self, failure: Failure, delay: float) -> Pending:
        """The same endpoint, later. A repair that failed for another reason is still one."""
        is_repair = self._step.repair or _policy(failure).again == "repair"
        return Pending(self._candidate, self._clock() + delay, is_repair, is_retry=True)

    def _place_of_retry(self) -> int:
        """At once; but where each is as good as the other, after those that were not asked yet."""
        return self._place_after_tier() if self._candidate.is_balanced else 0

    def _place_after_tier(self) -> int:
        """After those of its tier that were not asked yet."""
        return sum(not one.is_retry and _is_beside(one, self._candidate) for one in self._pending)

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
        longest = LONGEST_WAIT if failure.retry_after is None else self.route.feature.wait
        if delay > longest or not self._is_within_share(delay):
            return None
        return delay if self._may_retry(failure) else None

    def _is_within_share(self, delay: float) -> bool:
        """Whether a request after ``delay`` leaves the others their time."""
        ends_at = self._shares[self._candidate.circuit] if self._pending else self._ends_at
        return self._clock() + delay + LEAST_SECONDS <= ends_at

    def _repair_delay(self) -> float | None:
        """A repair does not wait. Each endpoint gets one; of a cost ladder only the last, as the next rung is the repair."""
        if self._candidate.circuit in self._repaired or not self._is_within_share(0.0):
            return None
        if isinstance(self._candidate.select, CostLadder) and self._place_after_tier():
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

    def _allowed_after(self, failure: Failure) -> list[Pending]:
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
                return feature.on_invalid_output != "raise"
            case _:
                return True

    # How a call ends -----------------------------------------------------------------------------------------------

    @property
    def _step(self) -> Try:
        assert self._current is not None  # noqa: S101 - told only after `next`
        return self._current

    @property
    def _candidate(self) -> Candidate:
        return self._step.candidate

    def _final_error(self, failure: Failure, *, is_last: bool) -> LLMError:
        """The error of the call.

        Args:
            failure: How the last attempt went wrong.
            is_last: Nothing is left to try; else something is, but after this failure it may not be tried.
        """
        tried = {(attempt.endpoint, attempt.account, attempt.key_owner) for attempt in self.attempts}
        # When the first endpoint wants to be asked again, by the last that each said.
        hint = min((told for told in self._hints.values() if told is not None), default=None)
        if is_last and len(tried) > 1:
            return endings.all_failed(self.route, self.attempts, hint)
        return endings.failed(self.route, self.attempts, self._candidate, failure, hint)


def _policy(failure: Failure) -> Policy:
    return POLICY[failure.category]


def _purse(candidate: Candidate) -> str:
    """Whose retries are spent: users with bad luck leave the house its own."""
    return f"{candidate.endpoint.provider.name} for the {candidate.owner}"


def _is_beside(one: Pending, other: Candidate) -> bool:
    """Whether it is of the same tier."""
    return (one.candidate.owner, one.candidate.tier) == (other.owner, other.tier)


def _told(choice: object) -> str:
    """What a selector said, without anything that could be secret."""
    return str(getattr(choice, "endpoint", type(choice).__name__))
