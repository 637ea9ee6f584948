"""Reserves what a request may use of budgets and of limits that processes share, before it is sent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..caller import without_caller
from ..receipt import BudgetMark
from ..routing.plan import plan
from ..routing.route import Rejection
from .observers.reservations import withdrawn
from .steps import LEAST_SECONDS

if TYPE_CHECKING:
    from ..model_config import Snapshot
    from .loop import Dispatch
    from .runtime import Runtime
    from .steps import Reserve, Try


class Reserver:
    """Reserves budgets and shared limits for the requests of one call.

    If a budget has no room, the call steps down to the next cheaper profile where the budget permits it.

    Args:
        profile: The snapshot with the profile in which the call continues.
    """

    def __init__(self, runtime: Runtime, dispatch: Dispatch, profile: Snapshot) -> None:
        self._runtime = runtime
        self._dispatch = dispatch
        self._profile = profile

    async def reserve(self, reserve: Reserve, *, blocks: bool) -> Try | None:
        """Reserve what the request may use, and return it as it may be sent; None if it may not be sent now.

        ``blocks`` is true in a synchronous call. After None, `Dispatch.next` says what follows.
        """
        reservations, dispatch, step = self._runtime.reservations, self._dispatch, reserve.step
        unsent = partial(withdrawn, step, self._runtime.time)
        outcome: Rejection | tuple[BudgetMark, ...] = ()
        try:
            has_place = await self._has_place(step, blocks=blocks)
            if has_place and (blocks or not reservations.waits):
                outcome = reservations.reserve(step)
            elif has_place:
                outcome = await without_caller(reservations.areserve(step))
        except BaseException:
            dispatch.withdraw(step, unsent())
            raise
        if not has_place:
            dispatch.put_back(reserve, unsent())
            return None
        if not isinstance(outcome, Rejection):
            if dispatch.seconds_left >= LEAST_SECONDS:
                return dispatch.grant(step, outcome)
            dispatch.withdraw(step, unsent())
            return None
        if dispatch.decline(step, unsent(), outcome):
            self._step_down()
        return None

    async def _has_place(self, step: Try, *, blocks: bool) -> bool:
        """Whether the request fits the limits shared with other processes."""
        limits = self._runtime.health.traffic.rate_limiter
        if not step.candidate.meters:
            return True
        return limits.reserve(step.number) if blocks else await without_caller(limits.areserve(step.number))

    def _step_down(self) -> None:
        """Continue in the next cheaper profile, if a budget without room permits it."""
        route, lower, runtime = self._dispatch.route, self._profile.lower, self._runtime
        overruns = (skip.over for skip in route.skipped if skip.over is not None)
        marks = [BudgetMark(one.budget, one.per, "stepped_down") for one in overruns if one.steps_down]
        if lower is None or not marks:
            return
        self._profile, feature = lower, route.feature.name
        below = plan(lower, feature, route.caller, route.needs, today=route.today, health=runtime.health)
        both = route._replace(resting=route.candidates + route.resting + below.candidates + below.resting)
        observers = runtime.observers.of(both, is_balanced=lower.is_balanced)
        self._dispatch.step_down(below, observers, tuple(dict.fromkeys(marks)))
