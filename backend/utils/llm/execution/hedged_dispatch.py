"""The attempt loop of features with hedging: a second request may be sent while the first is in flight."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from ..routing.hedging import compute_hedge_delay
from .loop import RANK, Dispatch
from .steps import LEAST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .steps import PendingRequest, ReserveThenTry, Try


class HedgedDispatch(Dispatch):
    """An attempt loop that may send a second request when the first takes too long.

    While one of the two requests is in flight, do not call `next_step`.
    """

    def hedge_delay(self, step: Try) -> float | None:
        """Return after how many seconds a second request may be sent while ``step`` is in flight; None for never.

        Call it once for each chosen request, because it also counts the call for the feature's hedge budget.
        """
        if not self.route.feature.hedge or step is not self._sent[0]:
            return None
        feature, budget = self.route.feature, self._traffic.hedge_budget
        with self._traffic.lock:
            budget.record_call(feature.name)
            if not budget.can_hedge(feature.name):
                return None
            others = (pending.candidate for pending in self._left)
            seconds = compute_hedge_delay(
                step.candidate, others, feature, self.route.needs, self._traffic
            ).after
            return seconds if seconds is not None and seconds < step.seconds else None

    def choose_hedge(self, step: Try) -> Try | ReserveThenTry | None:
        """Choose the second request to send because ``step`` takes too long; None if none may be sent now.

        It is sent to the call's next available endpoint other than that of ``step``, never as the probe of a
        circuit breaker. It is taken from the feature's hedge budget.
        """
        feature, budget = self.route.feature.name, self._traffic.hedge_budget
        with self._traffic.lock:
            now = self._clock()
            if not budget.can_hedge(feature) or self._ends_at - now < LEAST_SECONDS:
                return None
            for pending in self._order_of_hedge(step):
                if (hedge := self._admitted(pending, now, hedge=True)) is not None:
                    budget.spend_hedge(feature)
                    return hedge
            return None

    def _order_of_hedge(self, step: Try) -> Iterable[PendingRequest]:
        """The requests for a hedge, in the order in which the call would try them."""
        for _, tier in groupby(self._left, key=RANK):
            for pending in self._in_order(list(tier)):
                if pending.candidate.endpoint != step.candidate.endpoint:
                    yield pending
