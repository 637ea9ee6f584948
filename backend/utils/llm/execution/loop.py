"""The attempt loop of one call as a state machine without I/O: what to try next, how long to wait, when to stop.

Consult `next`, do what it says, tell the outcome; repeat until the call is over. Four drivers (plain and streaming,
synchronous and asynchronous) share it. It owns all retries: nothing below it sends a request twice. A call has one
request under way, or two of a feature that hedges: then `next` is asked when both have ended.
"""

from __future__ import annotations

import random as chance
from itertools import groupby
from typing import TYPE_CHECKING

from ..failures import POLICY
from ..model_config import Custom, Ordered
from ..receipt import Receipt
from ..routing.plan import is_within_reach, rest_of, tokens_of
from ..routing.selection import SelectionContext, chosen, ordered
from ..routing.selector import Pause
from . import hedging, outcome_errors
from .custom_selection import CustomSelection
from .lessons import Lessons
from .retry import RetryAllowance, RetryPolicy
from .steps import LEAST_SECONDS, Consult, Pending, Try, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..errors import LLMError
    from ..failures import Failure
    from ..receipt import Attempt
    from ..routing.route import Candidate, Route
    from ..state.health import Circuit, Health, Unavailable

SHARE_OF_THE_REST = 2 / 3
"""What an attempt may take of the deadline while other endpoints are left for which there must be time."""
PROBE_POLL_SECONDS = 0.5
"""How often a call that has nothing but a circuit under probe looks again."""


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
        if not route.candidates:
            raise outcome_errors.refused(route)
        self.route = route
        self.attempts: list[Attempt] = []
        self._health = health
        self._traffic = health.traffic
        self._situation = SelectionContext(route.needs, route.caller, health.traffic)
        self._lessons = Lessons(route, health)
        self._following = RetryPolicy(route, health, random)
        self._clock = clock
        self._ends_at = clock() + route.deadline
        self._pending = [Pending(candidate) for candidate in route.candidates]
        self._shares: dict[Circuit, float] = {}
        self._known: dict[Circuit, int] = {}
        """Openings of each breaker when this call first looked: what was found dead since is not worth a probe."""
        self._first: Try | None = None
        self._racing: tuple[Try, ...] = ()
        """The first request and its hedge, those of them that are under way, once there is a hedge."""
        self._failed: tuple[Try, Failure] | None = None
        self._number = self._traffic.number()
        self._line: str | None = None
        self._consulting: CustomSelection | None = None
        self._promised: Pending | None = None
        """What a selector chose, and what is only waited for."""

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
        for _, run in groupby(self._pending, key=lambda one: one.candidate.rank):
            tier = list(run)
            yield tier if isinstance(tier[0].candidate.select, Ordered) else self._chosen_order(tier)

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

    def _rest_of(self, candidate: Candidate) -> Unavailable | None:
        return rest_of(candidate, self._health, self.route.needs, self._number)

    def _worth_waiting(self, rest: Unavailable | None) -> float | None:
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
            return outcome_errors.nothing_left(self.route, rests)
        return outcome_errors.out_of_time(self.route, self.attempts)

    def _nothing_left(self, rests: list[tuple[Candidate, Unavailable | None]]) -> LLMError:
        if self._failed is not None:
            return self._final_error(*self._failed, is_last=True)
        return outcome_errors.nothing_left(self.route, rests)

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
        return self._traffic.rate_limiter.full(candidate.meters, tokens, self._number) is None

    def _begin(self, pending: Pending, seconds: float, now: float, *, hedge: bool = False) -> Try:
        candidate = pending.candidate
        if not (pending.is_retry or isinstance(candidate.select, Ordered)):
            chosen(candidate, self._among(pending), self._situation)
        self._shares[candidate.circuit] = self._share_ends(candidate, len(self._pending) - 1, now)
        self._pending = [one for one in self._pending if one is not pending]
        self._following.began(candidate)
        most = min(candidate.options.timeout, self._ends_at - now)
        self._leave_line()
        step = Try(
            candidate,
            seconds,
            most,
            self._lessons.began(candidate, most),
            repair=pending.repair,
            probe=self._is_probed(candidate),
            hedge=hedge,
        )
        self._first = self._first or step
        return step

    def _is_probed(self, candidate: Candidate) -> bool:
        """Whether a probe of it is under way: the request that was admitted just now."""
        rest = self._health.availability(candidate.circuit)
        return rest is not None and rest.kind == "probing"

    def _among(self, pending: Pending) -> list[Candidate]:
        """Those of its tier that could have been chosen instead."""
        same = (
            one.candidate for one in self._pending if not one.is_retry and _is_beside(one, pending.candidate)
        )
        return [one for one in same if one is pending.candidate or self._rest_of(one) is None]

    def _stand_in_line(self, candidate: Candidate, rest: Unavailable | None, seconds: float) -> None:
        """Whoever waits for room is served before those who come later."""
        scope = rest.scope if rest is not None and rest.kind == "limited" else None
        if scope != self._line:
            self._leave_line()
        if scope is not None:
            self._line = scope
            tokens = tokens_of(candidate, self.route.needs)
            self._traffic.rate_limiter.join(scope, self._number, seconds, tokens)

    def _leave_line(self) -> None:
        if self._line is not None:
            with self._traffic.lock:
                self._traffic.rate_limiter.leave(self._line, self._number)
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
        if not free:
            return None
        resting = {name: rest for name, rest in self._rests() if rest is not None}
        if self._consulting is None:
            self._consulting = CustomSelection(self.route)
        return self._consulting.question(free, self.attempts, resting, self._ends_at - now)

    def _may_be_chosen(self, pending: Pending, now: float) -> bool:
        """Also a retry whose endpoint only rests until it is due."""
        rest = self._rest_of(pending.candidate)
        return rest is None or (rest.kind == "cooling" and now + rest.seconds <= pending.not_before)

    def _rests(self) -> Iterator[tuple[str, Unavailable | None]]:
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
        left = self._ends_at - self._clock()
        if left < LEAST_SECONDS:
            raise self._too_late()
        assert self._consulting is not None  # noqa: S101 - told only after `next` asked
        said = self._consulting.heard(choice, self._pending, self.attempts)
        if isinstance(said, Pause):
            return Wait(min(max(0.0, said.seconds), left))
        pending, settled = said
        self._pending = [settled if one is pending else one for one in self._pending]
        with self._traffic.lock:
            return self._when_due(settled, self._clock()) or Wait(0.0)

    def astray(self, selector: str, what: str) -> LLMError:
        """The error of a selector that did what it may not."""
        return outcome_errors.went_astray(self.route, self.attempts, selector, what)

    # A second request beside the first -------------------------------------------------------------------------------

    def hedge_after(self, step: Try) -> float | None:
        """In how many seconds a second request may go out beside ``step``; None if none may.

        To be asked whenever a request goes out, before anything else: it counts the calls.
        """
        if not self.route.feature.hedge or step is not self._first:
            return None
        with self._traffic.lock:
            return hedging.after(step, self._pending, self.route, self._traffic)

    def hedge(self, step: Try) -> Try | None:
        """The request that goes out beside ``step``, which has taken too long; None if none may now.

        It goes where the call would have gone next, if that may be asked at once, and not to probe it.
        """
        with self._traffic.lock:
            now, budget, feature = self._clock(), self._traffic.hedge_budget, self.route.feature.name
            if not budget.can_spend(feature) or self._ends_at - now < LEAST_SECONDS:
                return None
            following = (one for one in hedging.order(self._tiers(), step) if self._may_hedge_with(one, now))
            pending = next(following, None)
            if pending is None:
                return None
            budget.spend(feature)
            hedge = self._begin(pending, self._seconds_for(pending, now), now, hedge=True)
            self._racing = (step, hedge)
            return hedge

    def _may_hedge_with(self, pending: Pending, now: float) -> bool:
        """Take leave for it."""
        candidate, seconds = pending.candidate, self._seconds_for(pending, now)
        if self._rest_of(candidate) is not None:
            return False
        if self._health.admit(candidate.circuit, seconds, last_resort=False) is not None:
            return False
        if self._is_probed(candidate):
            self._health.release(candidate.circuit)
            return False
        return True

    def ends_with(self, step: Try, failure: Failure) -> bool:
        """Whether ``failure`` of ``step`` ends the call, even if another request is under way."""
        is_over = POLICY[failure.category].again == "no" and not step.hedge
        return is_over and not self._following.may_move_on(step, failure, self.attempts)

    # What came of it -----------------------------------------------------------------------------------------------

    def succeeded(self, step: Try, attempt: Attempt) -> Receipt:
        """The call is over; this is its receipt."""
        self._ends(step, attempt)
        self._lessons.succeeded(step, attempt)
        candidate = step.candidate
        return self._receipt(attempt, candidate.profile, degraded=self.route.is_degraded(candidate))

    def received(self, step: Try) -> None:
        """The endpoint is done with the request, though it is not known yet whether its answer will do."""
        self._lessons.received(step)

    def settled_for(self, attempt: Attempt) -> Receipt:
        """The call is over, and the rejected answer of ``attempt`` is handed on because there was no better one."""
        served_by = next(one for one in self.route.candidates if outcome_errors.is_of(attempt, one))
        return self._receipt(attempt, served_by.profile, degraded=True)

    def _receipt(self, answered: Attempt, profile: str, *, degraded: bool) -> Receipt:
        return Receipt(
            feature=self.route.feature.name,
            profile=profile,
            attempts=tuple(self.attempts),
            degraded=degraded,
            table_hash=self.route.table_hash,
            arm=self.route.arm,
            answered=answered,
        )

    def failed(
        self, step: Try, attempt: Attempt, failure: Failure, *, partial: str | None = None
    ) -> LLMError | None:
        """None if something else may be tried, or is under way; else the error that ends the call.

        Args:
            step: Which request it was.
            attempt: What was tried.
            failure: How it went wrong.
            partial: The text that was already handed on, if any: then nothing else may be tried.
        """
        self._ends(step, attempt)
        self._failed = step, failure
        self._following.failed(step.candidate, failure)
        self._lessons.taught(step, failure)
        delay = None if partial is not None else self._following.delay(step, failure, self._left_for(step))
        self._lessons.failed(step, attempt, failure, delay)
        if partial is not None:
            return outcome_errors.interrupted(self.route, self.attempts, step.candidate, partial)
        if delay is not None:
            self._pending.insert(self._place_of_retry(step), self._again(step, failure, delay))
            return None
        may_move_on = self._following.may_move_on(step, failure, self.attempts)
        if may_move_on:
            has_room = self._requests_left > 0
            self._pending = self._following.allowed(self._pending, step, failure) if has_room else []
        if self._racing:
            return None
        if not may_move_on:
            self._pending = []
        return None if self._pending else self._final_error(step, failure, is_last=may_move_on)

    def _ends(self, step: Try, attempt: Attempt) -> None:
        """Attempts stand in the order in which they began: a hedge may end before the first does."""
        self.attempts.insert(0 if step is self._first else len(self.attempts), attempt)
        if self._racing:
            self._racing = tuple(one for one in self._racing if one is not step)

    def _again(self, step: Try, failure: Failure, delay: float) -> Pending:
        """The same endpoint, later. A repair that failed for another reason is still one."""
        is_repair = step.repair or POLICY[failure.category].again == "repair"
        return Pending(step.candidate, self._clock() + delay, is_repair, is_retry=True)

    def _place_of_retry(self, step: Try) -> int:
        """At once; but where each is as good as the other, after those that were not asked yet."""
        return self._beside(step) if step.candidate.is_balanced else 0

    def _beside(self, step: Try) -> int:
        """How many of its tier were not asked yet."""
        return sum(not one.is_retry and _is_beside(one, step.candidate) for one in self._pending)

    @property
    def _requests_left(self) -> int:
        """How many more the call may send."""
        return self.route.feature.max_attempts - len(self.attempts) - len(self._racing)

    def _left_for(self, step: Try) -> RetryAllowance:
        ends_at = self._shares[step.candidate.circuit] if self._pending else self._ends_at
        requests = self._requests_left - len(self._pending)
        return RetryAllowance(requests, self._clock(), ends_at, self._beside(step))

    # How a call ends -----------------------------------------------------------------------------------------------

    def _final_error(self, step: Try, failure: Failure, *, is_last: bool) -> LLMError:
        """The error of the call.

        Args:
            step: The last request.
            failure: How it went wrong.
            is_last: Nothing is left to try; else something is, but after this failure it may not be tried.
        """
        tried = {(attempt.endpoint, attempt.account, attempt.key_owner) for attempt in self.attempts}
        hint = self._following.hint
        if is_last and len(tried) > 1:
            return outcome_errors.all_failed(self.route, self.attempts, hint)
        return outcome_errors.failed(self.route, self.attempts, step.candidate, failure, hint)


def _is_beside(one: Pending, other: Candidate) -> bool:
    """Whether it is of the same tier."""
    return one.candidate.rank == other.rank
