"""The attempt loop of one call: a state machine without I/O that decides what to send and when to stop.

Call `Dispatch.next_step`, do the step that it returns, and report the outcome; repeat until the call is
over. Four drivers (plain and streaming, synchronous and asynchronous) share the loop. It owns all
retries: no layer below sends a request twice.
"""

from __future__ import annotations

import random as chance
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from ..cached import cached_property
from ..failures import POLICY, ClassifiedFailure, FailureCategory
from ..receipt import Receipt
from ..routing.plan import find_unavailability
from ..routing.selection import make_selection_context, order_candidates, record_choice
from ..routing.waiting import max_request_tokens
from ..state.health import UnavailableReason
from ..strategies import OrderedStrategy
from . import outcome_errors
from .observers import ObserverRegistry
from .retry import RetryAllowance, RetryPolicy
from .steps import LEAST_SECONDS, AskSelector, PendingRequest, ReserveThenTry, Try, Wait
from .waiting import WaitPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..errors import LLMError
    from ..receipt import Attempt, BudgetRemark
    from ..routing.route import Candidate, CandidateRejection, Route
    from ..state.health import Admission, Circuit, HealthTracker
    from ..strategies import SelectionContext
    from .observers import ObserverList

SHARE_OF_THE_REST = 2 / 3
"""The share of the remaining deadline that an attempt may take while other endpoints are left to try."""
GRACE_SECONDS = 5.0
"""Seconds after its deadline at which a request whose end was not reported counts as lost."""
RANK = attrgetter("candidate.rank")
"""The rank of a pending request: all of one rank are a tier."""


class Dispatch:
    """The attempt loop of one call: decides which request is sent next. It does no I/O itself.

    Args:
        route: The call's route, with the candidate endpoints in order.
        health: The state of endpoints and rate limits, shared by all calls of the process.
        clock: The monotonic clock, in seconds.
        random: Returns a random number from 0 to below 1, for the jitter of waits.
        observers: The observers of the call's attempts; None for the default ones that update ``health``.

    Raises:
        LLMError: On construction: the route has no candidate, and nothing was sent.
    """

    def __init__(
        self,
        route: Route,
        health: HealthTracker,
        *,
        clock: Callable[[], float],
        random: Callable[[], float] = chance.random,
        observers: ObserverList | None = None,
    ) -> None:
        if not route.candidates:
            raise outcome_errors.no_endpoint_error(route)
        self.route = route
        self.attempts: list[Attempt] = []
        self.observers = observers or ObserverRegistry(health).select_observers(route)
        self._health = health
        self._traffic = health.traffic
        self._clock = clock
        self._random = random
        self._ends_at = clock() + route.feature.deadline
        self._number = next(self._traffic.numbers)
        self._left = list(map(PendingRequest, route.candidates))
        """The requests that may still be sent, tier by tier."""
        self._spare = list(map(PendingRequest, route.resting)) if route.resting else []
        """The requests tried once none of ``_left`` may be sent: those resting at the start, and retries on loan."""
        self._sent: list[Try] = []
        """Its requests so far; the retry policy looks at the same list."""
        self.order: list[int] = []
        """The numbers of its attempts, in the order in which they began."""
        self._open: dict[int, tuple[Try, Attempt | None]] = {}
        """The requests with reservations, by number; each with its record while the observers are called."""
        self.late: dict[int, Callable[[], Attempt | None]] = {}
        """By number, gives the record of a request in flight if the call is interrupted; None if it was not sent."""
        self._shares: dict[Circuit, float] = {}
        self._failed: tuple[Try, ClassifiedFailure] | None = None
        self._waits_for: str | None = None
        """The limit in whose queue the call waits; None if it waits in none."""
        self._marks: tuple[BudgetRemark, ...] = ()

    @property
    def seconds_left(self) -> float:
        """Seconds until the call's deadline."""
        return self._ends_at - self._clock()

    @cached_property
    def _retry(self) -> RetryPolicy:
        return RetryPolicy(self.route.feature, self._health, self._random, self._sent)

    @cached_property
    def _wait(self) -> WaitPolicy:
        return WaitPolicy(self.route.feature, self._health)

    @cached_property
    def _context(self) -> SelectionContext:
        return make_selection_context(self.route.needs, self.route.caller, self._traffic)

    # What to do next -----------------------------------------------------------------------------------------------

    def next_step(self) -> Try | ReserveThenTry | Wait | AskSelector:
        """Decide the call's next step: send a request, reserve limits for it, wait, or ask a selector.

        Call it first, after each wait and withdrawn request, and after `record_failure` returned None. An
        endpoint is chosen and its rate limit taken under one lock, so that no two calls take the same slot.

        Raises:
            LLMError: The call has ended: its deadline has passed, or no endpoint becomes available in time.
        """
        try:
            with self._traffic.lock:
                now = self._clock()
                if self._ends_at - now < LEAST_SECONDS:
                    raise self._too_late()  # noqa: TRY301 - like all that ends the call here
                return self._first_step(now) or self._last_resort(now)
        except BaseException:
            self.leave_rate_limit_queue()
            raise

    def leave_rate_limit_queue(self) -> None:
        """Leave the rate limit's queue if the call waits in one, because it sends a request or ends."""
        if self._waits_for is not None:
            with self._traffic.lock:
                self._traffic.rate_limiter.leave_queue(self._waits_for, self._number)
            self._waits_for = None

    def _first_step(self, now: float) -> Try | ReserveThenTry | Wait | AskSelector | None:
        """The next step, from the first tier that has one."""
        for _, tier in groupby(self._left, key=RANK):
            if (step := self._first_of(list(tier), now)) is not None:
                return step
        return None

    def _first_of(
        self, tier: Sequence[PendingRequest], now: float
    ) -> Try | ReserveThenTry | Wait | AskSelector | None:
        """The step for the first request of ``tier`` that may be sent; a wait, if that is a retry which is not due yet."""
        for pending in self._in_order(tier):
            if pending.not_before > now:
                return Wait(pending.not_before - now)
            if (step := self._admitted(pending, now)) is not None:
                return step
        return None

    def _in_order(self, tier: Sequence[PendingRequest]) -> Sequence[PendingRequest]:
        """The requests of ``tier``: untried endpoints in the order of its strategy, and retries at their places before and after these."""
        if isinstance(tier[0].candidate.select, OrderedStrategy):
            return tier
        fresh = {pending.candidate.endpoint_circuit: pending for pending in tier if not pending.is_retry}
        if len(fresh) < 2:  # noqa: PLR2004 - nothing to choose
            return tier
        order = order_candidates([pending.candidate for pending in fresh.values()], self._context)
        first = next(place for place, pending in enumerate(tier) if not pending.is_retry)
        retries = [pending for pending in tier if pending.is_retry]
        return [
            *retries[:first],
            *(fresh[candidate.endpoint_circuit] for candidate in order),
            *retries[first:],
        ]

    def _beside(self, candidate: Candidate) -> list[PendingRequest]:
        """The requests of the candidate's tier that were not tried yet."""
        return [
            pending
            for pending in self._left
            if not pending.is_retry and pending.candidate.rank == candidate.rank
        ]

    def _last_resort(self, now: float) -> Try | ReserveThenTry | Wait:
        """The step when nothing is available: probe an endpoint that may be probed, wait for one worth waiting for, or give up."""
        self._left, self._spare = self._left + self._spare, []
        for pending in self._left:
            if (probe := self._probe(pending, now)) is not None:
                return probe
        found = self._availabilities()
        waits = [
            (wait, pending.candidate, why)
            for pending, (_, why) in zip(self._left, found, strict=True)
            if (wait := self._wait.seconds_until_check(pending, why, now)) is not None
        ]
        seconds, candidate, why = min(waits, key=lambda wait: wait[0], default=(None, None, None))
        if seconds is None or candidate is None or now + seconds + LEAST_SECONDS > self._ends_at:
            self.route = outcome_errors.refresh_skip_reasons(self.route, found)
            if self._failed is not None:
                raise self._final_error(*self._failed, is_last=True)
            raise outcome_errors.no_endpoint_error(self.route)
        self._queue_up(candidate, why, seconds)
        return Wait(seconds)

    def _queue_up(self, candidate: Candidate, why: UnavailableReason | None, seconds: float) -> None:
        """Join the queue of the limit, so that later calls are served later."""
        scope = why.scope if why is not None and why.kind == "limited" else None
        if scope != self._waits_for:
            self.leave_rate_limit_queue()
        if scope is not None:
            self._waits_for = scope
            tokens = max_request_tokens(candidate, self.route.needs)
            self._traffic.rate_limiter.join_queue(scope, self._number, seconds, tokens)

    def _too_late(self) -> LLMError:
        """The error for a passed deadline. If the call only waited, the error says for what, and blames no provider."""
        found = self._availabilities()
        if not self.attempts and found and all(why is not None for _, why in found):
            return outcome_errors.no_endpoint_error(outcome_errors.refresh_skip_reasons(self.route, found))
        return outcome_errors.deadline_error(self.route, self.attempts)

    def _availabilities(self) -> list[tuple[Candidate, UnavailableReason | None]]:
        return [(pending.candidate, self._availability(pending.candidate)) for pending in self._left]

    def _availability(self, candidate: Candidate) -> UnavailableReason | None:
        return find_unavailability(candidate, self._health, self.route.needs, self._number)

    # Taking leave ----------------------------------------------------------------------------------------------------

    def _admitted(
        self, pending: PendingRequest, now: float, *, last_resort: bool = False, hedge: bool = False
    ) -> Try | ReserveThenTry | None:
        """The request, if it may be sent now; as a last resort also as a probe, but never as a hedge."""
        candidate = pending.candidate
        if pending.on_loan and not self._is_lent(pending, now, last_resort=last_resort):
            return None
        share = self._ends_at if len(self._left) == 1 else self._share_ends(candidate, now)
        seconds = min(candidate.options.timeout, share - now)
        circuit, key = candidate.endpoint_circuit, candidate.credential_circuit
        if candidate.meters and not self._has_room(candidate):
            leave: Admission | UnavailableReason | None = self._availability(candidate)
        else:
            leave = self._health.admit_request(circuit, seconds, last_resort=last_resort, key_circuit=key)
        if isinstance(leave, UnavailableReason):
            if leave.kind != "limited":  # a limit says nothing of the circuit
                self._wait.note_first_unavailable(circuit, leave, now)
            return None
        if leave is None:
            return None
        if hedge and leave == "probe":
            self._health.release_probes(circuit)
            return None
        self._shares[circuit] = share
        return self._begin(pending, seconds, now, probe=leave == "probe", hedge=hedge)

    def _probe(self, pending: PendingRequest, now: float) -> Try | ReserveThenTry | None:
        """The request as an early probe of a resting endpoint, unless another call has probed it meanwhile."""
        why = self._availability(pending.candidate)
        if pending.not_before > now or not (why is None or self._wait.should_probe_early(pending, why, now)):
            return None
        return self._admitted(pending, now, last_resort=why is not None)

    def _is_lent(self, pending: PendingRequest, now: float, *, last_resort: bool) -> bool:
        if pending.not_before > now:
            return False
        is_available = last_resort or self._availability(pending.candidate) is None
        return is_available and self._retry.borrow_retry(pending.candidate)

    def _has_room(self, candidate: Candidate) -> bool:
        tokens = max_request_tokens(candidate, self.route.needs)
        return self._traffic.rate_limiter.find_exceeded_limit(candidate.meters, tokens, self._number) is None

    def _begin(
        self, pending: PendingRequest, seconds: float, now: float, *, probe: bool, hedge: bool
    ) -> Try | ReserveThenTry:
        """Choose ``pending``: reserve what it needs, and notify the observers."""
        candidate, route, traffic = pending.candidate, self.route, self._traffic
        if not (pending.is_retry or isinstance(candidate.select, OrderedStrategy)):
            record_choice(candidate, self._among(pending), self._context)
        place = self._left.index(pending)
        del self._left[place]
        if self._waits_for is not None:
            self.leave_rate_limit_queue()
        most = min(candidate.options.timeout, self._ends_at - now)
        number, lost_at = next(traffic.numbers), now + most + GRACE_SECONDS
        step = Try(
            candidate,
            seconds,
            most,
            route,
            number,
            lost_at,
            repair=pending.repair,
            probe=probe,
            hedge=hedge,
        )
        self._open[number] = step, None
        if candidate.meters:
            tokens = max_request_tokens(candidate, route.needs)
            traffic.rate_limiter.count_request(candidate.meters, tokens, number, lost_at)
        self._sent.append(step)
        self.order.append(number)
        if self.observers.see_starts:
            self.observers.notify_started(step)
        is_limited = candidate.meters and traffic.rate_limiter.is_shared
        is_counted = is_limited or route.feature.budgets or route.caller.budgets
        return ReserveThenTry(step, pending, place) if is_counted else step

    def _among(self, pending: PendingRequest) -> list[Candidate]:
        """The candidates of the same tier that could have been chosen, this one included."""
        return [
            other.candidate
            for other in self._beside(pending.candidate)
            if other is pending or self._availability(other.candidate) is None
        ]

    def _share_ends(self, candidate: Candidate, now: float) -> float:
        """When the endpoint's share of the deadline ends, retries and waits included, if other endpoints follow."""
        ends_at = self._shares.get(candidate.endpoint_circuit, 0.0)
        is_left = ends_at - now > LEAST_SECONDS
        return ends_at if is_left else now + (self._ends_at - now) * SHARE_OF_THE_REST

    # What is set aside elsewhere -------------------------------------------------------------------------------------

    def confirm_reservation(self, step: Try, remarks: tuple[BudgetRemark, ...]) -> Try:
        """Return ``step``, now reserved, with the timeout that is left. ``remarks`` go into the call's receipt."""
        self._marks += remarks
        left = self.seconds_left
        if step.most_seconds <= left + LEAST_SECONDS:
            return step
        sooner = replace(step, seconds=min(step.seconds, left), most_seconds=left)
        self._sent[:] = [sooner if sent is step else sent for sent in self._sent]
        return sooner

    def drop_over_budget(self, step: Try, unsent: Attempt, rejection: CandidateRejection) -> bool:
        """Withdraw ``step``, because a budget has not enough left for it, or cannot be read.

        Args:
            step: The request.
            unsent: The record of the request, marked as withdrawn.
            rejection: Why the candidate is skipped, for the error's text. Ignored for a hedge.

        Returns:
            True if no other request can be sent without waiting, so that the call may switch to a cheaper
            profile.
        """
        self.withdraw_request(step, unsent)
        if step.hedge:
            self._left.insert(0, PendingRequest(step.candidate))
            return False
        self.route = self.route._replace(skipped=(*self.route.skipped, rejection))
        return not self._left

    def requeue_request(self, reserve_step: ReserveThenTry, unsent: Attempt) -> None:
        """Withdraw a request that a shared rate limit does not permit now, and queue it again at its old position."""
        self.withdraw_request(reserve_step.step, unsent)
        self._left.insert(reserve_step.place, reserve_step.pending._replace(on_loan=False))

    def withdraw_request(self, step: Try, unsent: Attempt) -> None:
        """Withdraw ``step``, which will not be sent, and release what observers reserved for it.

        ``unsent`` is the record of the request, marked as withdrawn.
        """
        self._note(step, unsent, ClassifiedFailure(FailureCategory.CANCELLED))
        self._sent[:] = [sent for sent in self._sent if sent is not step]

    def switch_to_cheaper_profile(
        self, cheaper_route: Route, observers: ObserverList, remarks: tuple[BudgetRemark, ...]
    ) -> None:
        """Continue the call with the candidates of ``cheaper_route``, its route in the next cheaper profile.

        ``observers`` observe the candidates of both routes. ``remarks`` are remarks about budgets for the
        receipt.
        """
        self.observers = observers
        self.route = self.route._replace(skipped=(*self.route.skipped, *cheaper_route.skipped))
        self._marks += remarks
        self._left, self._spare = (
            [PendingRequest(replace(candidate, is_lowered=True)) for candidate in found]
            for found in (cheaper_route.candidates, cheaper_route.resting)
        )

    # What came of it -----------------------------------------------------------------------------------------------

    def record_success(self, step: Try, attempt: Attempt) -> Receipt:
        """Record that ``step`` got a good answer, which ends the call. Returns the call's receipt."""
        self._note(step, attempt, None)
        candidate, route = step.candidate, self.route
        degraded = candidate is not route.preferred and route.is_degraded(candidate)
        return self._receipt(attempt, candidate.profile, degraded=degraded)

    def make_rejected_answer_receipt(self, attempt: Attempt) -> Receipt:
        """Build the receipt for the rejected answer of ``attempt``, returned because no answer passed its tests."""
        asked = (step.candidate for step in self._sent)
        served_by = next(candidate for candidate in asked if outcome_errors.is_attempt_on(attempt, candidate))
        return self._receipt(attempt, served_by.profile, degraded=True)

    def _receipt(self, answered: Attempt, profile: str, *, degraded: bool) -> Receipt:
        return Receipt(
            feature=self.route.feature.name,
            profile=profile,
            attempts=tuple(self.attempts),
            degraded=degraded,
            table_hash=self.route.table_hash,
            arm=self.route.arm,
            asked_for=self.route.needs.endpoint,
            answered=answered,
            budgets=self._marks,
            id=self.route.call_id,
        )

    def record_failure(
        self, step: Try, attempt: Attempt, failure: ClassifiedFailure, *, partial: str | None = None
    ) -> LLMError | None:
        """Record that ``step`` failed, and decide whether the call continues.

        Args:
            step: The request.
            attempt: The record of the request.
            failure: Why the request failed.
            partial: The text of a stream that the caller has received; None if there is none. Any such text ends
                the call, because a retry would repeat it.

        Returns:
            The error that ends the call; None if another request may be tried, or is in flight.
        """
        self._note(step, attempt, failure)
        self._failed = step, failure
        if failure.category is FailureCategory.CONTEXT:  # it is longer than we thought
            tokens = max(self._context.tokens, step.candidate.max_prompt_tokens + 1)
            vars(self)["_context"] = self._context._replace(tokens=tokens)
        self._retry.record_failure(step.candidate, failure)
        delay = None if partial is not None else self._retry.retry_delay(step, failure, self._left_for(step))
        is_granted = delay is not None and self._retry.spend_retry_budget(step, failure)
        self._retry.start_cooldown(step.candidate, failure, delay if is_granted else None)
        if delay is not None and not is_granted:
            self._put_off(step, delay)
            delay = None
        if partial is not None:
            return outcome_errors.stream_interrupted_error(self.route, self.attempts, step.candidate, partial)
        if delay is not None:
            self._try_again(step, failure, delay)
            return None
        may_move_on = self._retry.may_try_other_endpoints(step, failure, self.attempts)
        if may_move_on:
            has_room = self._requests_left > 0
            self._left = self._retry.drop_hopeless_requests(self._left, step, failure) if has_room else []
            self._spare = self._retry.drop_hopeless_requests(self._spare, step, failure) if has_room else []
        if self._open:
            return None
        if not may_move_on:
            self._left = self._spare = []
        return None if self._left or self._spare else self._final_error(step, failure, is_last=may_move_on)

    def is_final_failure(self, step: Try, failure: ClassifiedFailure) -> bool:
        """Whether ``failure`` of ``step`` ends the whole call, even if another request is in flight."""
        is_over = POLICY[failure.category].again == "no" and not step.hedge
        return is_over and not self._retry.may_try_other_endpoints(step, failure, self.attempts)

    def _try_again(self, step: Try, failure: ClassifiedFailure, delay: float) -> None:
        """Queue the candidate of ``step`` again, at the earliest after ``delay`` seconds: in front, or behind equally good endpoints."""
        candidate = step.candidate
        # A repair that failed for another reason is still one.
        is_repair = step.repair or POLICY[failure.category].again == "repair"
        again = PendingRequest(candidate, self._clock() + delay, is_repair, is_retry=True)
        self._left.insert(len(self._beside(candidate)) if candidate.is_interchangeable else 0, again)

    def _put_off(self, step: Try, delay: float) -> None:
        """Queue the candidate of ``step`` behind everything else, unless the probe of its circuit has just failed."""
        candidate, now = step.candidate, self._clock()
        not_before, why = now + delay, self._availability(candidate)
        if step.probe and why is not None and why.can_probe_early:
            return
        again = PendingRequest(candidate, not_before, step.repair, is_retry=True, on_loan=True)
        self._wait.record_borrowed_retry(again, why, now)
        self._spare = [*self._spare, again]

    def _note(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        """Insert ``attempt`` in the order in which attempts began, because a hedge may end before the first request."""
        self._open[step.number] = step, attempt
        if attempt.withdrawn:
            self.order.remove(step.number)
        else:
            self.attempts.insert(0 if step is self._sent[0] else len(self.attempts), attempt)
        self.observers.notify_ended(step, attempt, failure)
        del self._open[step.number]
        self.late.pop(step.number, None)

    def release_after_interruption(self) -> None:
        """Release the call's reservations and queue position, after an exception such as ``KeyboardInterrupt``."""
        self.leave_rate_limit_queue()
        for number, (step, attempt) in self._open.items():
            late = self.late.pop(number, None)
            self.observers.notify_abandoned(step, late() if attempt is None and late is not None else attempt)
        self._open.clear()

    @property
    def _requests_left(self) -> int:
        """The number of requests that the call may still send, besides those in flight."""
        return self.route.feature.max_attempts - len(self.attempts) - len(self._open)

    def _left_for(self, step: Try) -> RetryAllowance:
        candidate = step.candidate
        ends_at = self._shares[candidate.endpoint_circuit] if self._left else self._ends_at
        unasked = sum(not pending.is_retry for pending in self._spare)
        requests = self._requests_left - len(self._left) - unasked
        return RetryAllowance(requests, self._clock(), ends_at, len(self._beside(candidate)))

    def _final_error(self, step: Try, failure: ClassifiedFailure, *, is_last: bool) -> LLMError:
        """The error that ends the call after ``failure`` of ``step``.

        ``is_last``: nothing is left to try. If False, this failure forbids trying the remaining endpoints.
        """
        tried = {(attempt.endpoint, attempt.account, attempt.key_owner) for attempt in self.attempts}
        hint = self._retry.shortest_retry_after_s
        if is_last and len(tried) > 1:
            return outcome_errors.all_attempts_failed_error(self.route, self.attempts, hint)
        route = self.route if is_last else self.route._replace(skipped=())
        return outcome_errors.attempt_failed_error(route, self.attempts, step.candidate, failure, hint)
