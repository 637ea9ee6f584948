"""Who learns from the requests of calls: one observer for each concern, told in one order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...strategies import ByTier, CostLadder
from .base import AttemptObserver
from .every_call import ApplicationObserver, HealthObserver, SubstituteObserver
from .load import LatencyObserver, LoadObserver, TailLatencyObserver
from .quality import ExperimentObserver, QualityObserver
from .rate_limits import RateLimitObserver, TierObserver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...failures import Failure
    from ...receipt import Attempt
    from ...routing.route import Route
    from ...state.health import Health
    from ..steps import Try
    from .every_call import Observer

log = logging.getLogger(__name__)

_FAILED = "%s failed; the call goes on"


class Observers:
    """Several as one, told one after the other."""

    def __init__(self, observers: Iterable[AttemptObserver]) -> None:
        self._all = tuple(observers)
        self.see_starts = [one for one in self._all if type(one).started is not AttemptObserver.started]
        self.see_receipts = [one for one in self._all if type(one).received is not AttemptObserver.received]

    def __iter__(self) -> Iterator[AttemptObserver]:
        return iter(self._all)

    def and_then(self, other: AttemptObserver) -> Observers:
        """These, and ``other`` after them."""
        return Observers((*self._all, other))

    def started(self, step: Try) -> None:
        """See `AttemptObserver`."""
        for one in self.see_starts:
            try:
                one.started(step)
            except Exception:
                log.exception(_FAILED, type(one).__name__)

    def received(self, step: Try) -> None:
        """See `AttemptObserver`."""
        for one in self.see_receipts:
            try:
                one.received(step)
            except Exception:
                log.exception(_FAILED, type(one).__name__)

    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        """See `AttemptObserver`."""
        for one in self._all:
            try:
                one.ended(step, attempt, failure)
            except Exception:
                log.exception(_FAILED, type(one).__name__)


class ObserverRegistry:
    """All observers of a process, and which of them a call concerns.

    Args:
        health: Where they keep what they see.
        application: The application's own observer.
    """

    def __init__(self, health: Health, application: Observer | None = None) -> None:
        traffic = health.traffic
        self._order: tuple[tuple[str | type, AttemptObserver], ...] = (
            ("every call", SubstituteObserver()),
            ("every call", HealthObserver(health)),
            ("balanced", LoadObserver(traffic)),
            ("balanced", LatencyObserver(traffic)),
            ("limited", RateLimitObserver(traffic)),
            (ByTier, TierObserver(traffic)),
            ("hedged", TailLatencyObserver(traffic)),
            (CostLadder, QualityObserver(traffic)),
            ("compared", ExperimentObserver(traffic)),
            *(() if application is None else (("every call", ApplicationObserver(application)),)),
        )
        self._known: dict[frozenset[str | type], Observers] = {}

    def of(self, route: Route, *, is_balanced: bool = True) -> Observers:
        """Those whom calls on ``route`` concern.

        Args:
            route: Which.
            is_balanced: Whether any choice of the table may depend on how busy or how quick an endpoint is.
        """
        concerns: set[str | type] = {"every call"}
        if is_balanced:
            concerns.add("balanced")
        if route.feature.hedge:
            concerns.add("hedged")
        if route.feature.split or route.is_shadow:
            concerns.add("compared")
        for one in route.candidates + route.resting:
            concerns.add(type(one.select))
            if one.meters:
                concerns.add("limited")
        key = frozenset(concerns)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Observers(one for concern, one in self._order if concern in key)
        return known
