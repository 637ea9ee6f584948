"""Trials, scores and conversations' rungs that each process publishes to the others."""

from __future__ import annotations

from dataclasses import astuple
from operator import add
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...rate_limits import Rate
from ..experiments import CONTROL, MEMORY, Experiments, VariantResults
from ..quality_scores import MOST_SCORES, QualityScores
from ..session_affinity import Rung, SessionAffinity
from ..traffic import Traffic
from .limits import SharedRateLimiter
from .store import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..experiments import StopRow
    from .names import Names
    from .store import Store

JUDGED, OVER, SCORED, STANDS = "judged", "over", "scored", "stands"
"""The kinds of events that experiments, scores and conversations publish."""
STALE_SECONDS = 10.0
"""Seconds after which an event about a used quota is ignored: a process that starts later begins at 0."""


class SharedExperiments(Experiments):
    """Experiments that add up the results of all processes."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    @override
    def judge(
        self,
        feature: str,
        variant: str,
        after: VariantResults,
        stop: StopRow | None,
        *,
        against: str = CONTROL,
    ) -> str | None:
        before = self.variant(feature, variant)
        base = before.faded() if before.judged >= MEMORY else before
        more = [one - other for one, other in zip(astuple(after), astuple(base), strict=True)]
        self._store.publish(Event(JUDGED, (f"{feature}\n{variant}", feature, variant, more)), merge=_added)
        reason = super().judge(feature, variant, after, stop, against=against)
        if reason is not None:
            self._store.publish(Event(OVER, (feature, variant, reason)))
        return reason

    def heard(self, feature: str, variant: str, more: list[Any]) -> None:
        """Add the results ``more`` of another process to those of ``variant``."""
        before = self.variant(feature, variant)
        base = before.faded() if before.judged >= MEMORY else before
        self._variants[feature, variant] = VariantResults(*map(add, astuple(base), more))

    def heard_over(self, feature: str, variant: str, reason: str) -> None:
        """Record that another process has ended the trial of ``variant``."""
        self._over.setdefault((feature, variant), reason)


class SharedQualityScores(QualityScores):
    """Quality scores that include those of all other processes."""

    def __init__(self, clock: Callable[[], float], store: Store) -> None:
        super().__init__(clock)
        self._store = store

    @override
    def add(self, feature: str, endpoint: str, score: float) -> None:
        super().add(feature, endpoint, score)
        self._store.publish(
            Event(SCORED, (f"{feature}\n{endpoint}", feature, endpoint, [score])), merge=_joined
        )

    def heard(self, feature: str, endpoint: str, scores: list[float]) -> None:
        """Add the ``scores`` of another process."""
        for score in scores:
            super().add(feature, endpoint, score)


class SharedSessionAffinity(SessionAffinity):
    """The rung that serves each conversation, in whichever process. Conversations are known by keyed hashes only."""

    def __init__(self, store: Store, names: Names) -> None:
        super().__init__()
        self._store = store
        self._names = names

    @override
    def last(self, scope: str, conversation: str) -> Rung | None:
        return super().last(scope, self._names.of(scope, conversation))

    @override
    def served(self, scope: str, conversation: str, rung: Rung, tokens: int) -> None:
        name = self._names.of(scope, conversation)
        before = super().last(scope, name)
        super().served(scope, name, rung, tokens)
        if (now := super().last(scope, name)) is not None and now != before:
            self._store.publish(Event(STANDS, (scope, name, *now)))

    def heard(self, scope: str, name: str, endpoint: str, longest: int) -> None:
        """Record the rung on which another process has served the conversation ``name``."""
        super().served(scope, name, Rung(endpoint, longest), longest + 1)


class SharedTraffic(Traffic):
    """The state of strategies and limits: this process's copy, kept up to date by events of the others.

    Load, latency and round robin stay this process's own: they change with every request.

    Args:
        store: The store that counts for all and passes events on.
        names: The names used in the store.
        clock: The monotonic clock, in seconds.
        now: The wall clock.
        random: Returns a random number from 0 up to, not including, 1.
    """

    rate_limiter: SharedRateLimiter
    experiments: SharedExperiments
    quality_scores: SharedQualityScores
    session_affinity: SharedSessionAffinity

    def __init__(
        self,
        store: Store,
        names: Names,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._store = store
        self._names = names
        super().__init__(clock, now, random)

    @override
    def _begin(self) -> None:
        super()._begin()
        self.rate_limiter = SharedRateLimiter(
            self.clock, lambda: self._now().timestamp(), self.lock, self._store, self._names, self._random
        )
        self._store.reporter = self.rate_limiter
        self.experiments = SharedExperiments(self._store)
        self.quality_scores = SharedQualityScores(self.clock, self._store)
        self.session_affinity = SharedSessionAffinity(self._store, self._names)

    def heard(self, event: Event, age: float) -> None:
        """Apply an event of another process, published ``age`` seconds ago."""
        kind, values = event
        with self.lock:
            match kind:
                case "judged":
                    self.experiments.heard(*values[1:])
                case "over":
                    self.experiments.heard_over(*values)
                case "scored":
                    self.quality_scores.heard(*values[1:])
                case "stands":
                    self.session_affinity.heard(*values)
                case "used" if age < STALE_SECONDS:
                    _, name, rate, tokens = values
                    self.rate_limiter.heard_use(name, Rate.read(rate), tokens)


def _added(one: Event, other: Event) -> Event:
    """Two events of one variant as one, with the results added up."""
    sums = [first + second for first, second in zip(one.values[-1], other.values[-1], strict=True)]
    return Event(one.kind, (*one.values[:-1], sums))


def _joined(one: Event, other: Event) -> Event:
    """Two events of one endpoint as one, with the scores of both; if there are too many, the latest."""
    return Event(one.kind, (*one.values[:-1], [*one.values[-1], *other.values[-1]][-MOST_SCORES:]))
