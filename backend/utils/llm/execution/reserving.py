"""Reserves budgets and shared rate limits for a request before it is sent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..caller import await_without_caller
from ..receipt import BudgetRemark
from ..routing.plan import plan_route
from ..routing.route import CandidateRejection
from .observers.reservations import make_withdrawn_attempt
from .steps import LEAST_SECONDS

if TYPE_CHECKING:
    from ..model_config import TableSnapshot
    from .loop import Dispatch
    from .runtime import Runtime
    from .steps import ReserveThenTry, Try


class LimitReserver:
    """Reserves budgets and shared rate limits for the requests of one call.

    If a budget has not enough left and its settings permit it, the call continues in the next cheaper
    profile.

    Args:
        runtime: The state that all calls share.
        dispatch: The attempt loop of the call.
        profile: The snapshot of the table in the call's profile.
    """

    def __init__(self, runtime: Runtime, dispatch: Dispatch, profile: TableSnapshot) -> None:
        self._runtime = runtime
        self._dispatch = dispatch
        self._profile = profile

    async def reserve(self, reserve_step: ReserveThenTry, *, is_sync: bool) -> Try | None:
        """Reserve the most that a request could use, and return the request ready to be sent.

        Args:
            reserve_step: The step with the request.
            is_sync: Whether the call is synchronous, so that waits block the thread.

        Returns:
            The request. None if it may not be sent now: then call `Dispatch.next_step`.
        """
        reservations, dispatch, step = self._runtime.reservations, self._dispatch, reserve_step.step
        unsent = partial(make_withdrawn_attempt, step, self._runtime.time)
        outcome: CandidateRejection | tuple[BudgetRemark, ...] = ()
        try:
            has_place = await self._has_place(step, is_sync=is_sync)
            if has_place and (is_sync or not reservations.may_block):
                outcome = reservations.reserve(step)
            elif has_place:
                outcome = await await_without_caller(reservations.areserve(step))
        except BaseException:
            dispatch.withdraw_request(step, unsent())
            raise
        if not has_place:
            dispatch.requeue_request(reserve_step, unsent())
            return None
        if not isinstance(outcome, CandidateRejection):
            if dispatch.seconds_left >= LEAST_SECONDS:
                return dispatch.confirm_reservation(step, outcome)
            dispatch.withdraw_request(step, unsent())
            return None
        if dispatch.drop_over_budget(step, unsent(), outcome):
            self._step_down()
        return None

    async def _has_place(self, step: Try, *, is_sync: bool) -> bool:
        """Whether the request fits the limits shared with other processes."""
        limits = self._runtime.health.traffic.rate_limiter
        if not step.candidate.meters:
            return True
        return (
            limits.reserve_shared_limits(step.number)
            if is_sync
            else await await_without_caller(limits.areserve_shared_limits(step.number))
        )

    def _step_down(self) -> None:
        """Continue in the next cheaper profile, if a budget without room permits it."""
        route, lower, runtime = self._dispatch.route, self._profile.step_down_snapshot, self._runtime
        overruns = (skip.over for skip in route.skipped if skip.over is not None)
        marks = [
            BudgetRemark(overrun.budget, overrun.per, "stepped_down")
            for overrun in overruns
            if overrun.steps_down
        ]
        if lower is None or not marks:
            return
        self._profile, feature = lower, route.feature.name
        below = plan_route(
            lower, feature, route.caller, route.needs, today=route.today, health=runtime.health
        )
        both = route._replace(resting=route.candidates + route.resting + below.candidates + below.resting)
        observers = runtime.observers.select_observers(both, measures_load=lower.has_unordered_strategy)
        self._dispatch.switch_to_cheaper_profile(below, observers, tuple(dict.fromkeys(marks)))
