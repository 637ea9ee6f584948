"""The attempt loop of a feature that hedges: a second request may be sent while a call's first one is in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..routing.hedging import hedge_of
from ..strategies import Custom
from .loop import Dispatch
from .steps import LEAST_SECONDS, Reserve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .steps import Pending, Try


class HedgedDispatch(Dispatch):
    """A `Dispatch` that may have two requests in flight; call `next` when both have ended."""

    def hedge_after(self, step: Try) -> float | None:
        """Seconds after which ``step`` may be hedged by a second request; None if it may not.

        Call this whenever a request is sent, before anything else, because it counts the calls.
        """
        if step is not self._sent[0]:
            return None
        feature, budget = self.route.feature, self._traffic.hedge_budget
        with self._traffic.lock:
            budget.earn(feature.name)
            if not budget.can_spend(feature.name):
                return None
            others = (one.candidate for one in self._left)
            seconds = hedge_of(step.candidate, others, feature, self.route.needs, self._traffic).after
            return seconds if seconds is not None and seconds < step.seconds else None

    def hedge(self, step: Try) -> Try | Reserve | None:
        """The second request that hedges ``step``, which has taken too long; None if none may be sent now.

        It goes to the endpoint that the call would have tried next, if that is available now and not under probe.
        """
        feature, budget = self.route.feature.name, self._traffic.hedge_budget
        with self._traffic.lock:
            now = self._clock()
            if not budget.can_spend(feature) or self._ends_at - now < LEAST_SECONDS:
                return None
            for pending in self._order_of_hedge(step):
                if (hedge := self._admitted(pending, now, hedge=True)) is not None:
                    budget.spend(feature)
                    self._racing = (step, hedge.step if isinstance(hedge, Reserve) else hedge)
                    return hedge
            return None

    def _order_of_hedge(self, step: Try) -> Iterator[Pending]:
        """Where it may go, in the order in which the call would try them. Where a selector would be asked, it ends."""
        for tier in self._tiers():
            if isinstance(tier[0].candidate.select, Custom):
                return
            yield from (one for one in tier if one.candidate.endpoint != step.candidate.endpoint)
