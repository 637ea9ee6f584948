"""The attempt loop of a feature that hedges: a second request may be sent while a call's first one is in flight."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from ..routing.hedging import hedge_of
from .loop import RANK, Dispatch
from .steps import LEAST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .steps import Pending, Reserve, Try


class HedgedDispatch(Dispatch):
    """An attempt loop that may have a second request in flight, sent when the first one takes too long.

    Call `next` only when both requests have ended.
    """

    def hedge_after(self, step: Try) -> float | None:
        """Count the call, and return the seconds after which a second request may hedge ``step``; None if none may.

        Call this whenever a request is sent, before anything else, because each call earns its feature a part of a hedge.
        """
        if not self.route.feature.hedge or step is not self._sent[0]:
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
        """Choose a second request to hedge ``step``, which takes too long; None if none may be sent now.

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
                    return hedge
            return None

    def _order_of_hedge(self, step: Try) -> Iterable[Pending]:
        """The requests for a hedge, in the order in which the call would try them."""
        for _, tier in groupby(self._left, key=RANK):
            for pending in self._in_order(list(tier)):
                if pending.candidate.endpoint != step.candidate.endpoint:
                    yield pending
