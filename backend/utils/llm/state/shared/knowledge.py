"""Trials, scores and conversations' rungs that each process publishes to the others."""

from __future__ import annotations

from dataclasses import astuple
from operator import add
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...rate_limits import RateLimit
from ..experiments import CONTROL, MEMORY, ExperimentTracker, VariantResults
from ..quality_scores import MOST_SCORES, QualityScores
from ..session_affinity import ContextLadderRung, SessionAffinity
from ..traffic import TrafficState
from .limits import SharedRateLimiter
from .store import SharedEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..experiments import TrialStopConditions
    from .names import HashedNames
    from .store import StateStore

JUDGED, OVER, SCORED, STANDS = "judged", "over", "scored", "stands"
"""The kinds of events that experiments, scores and conversations publish."""
STALE_SECONDS = 10.0
"""Seconds after which an event about a used quota is ignored: a process that starts later begins at 0."""


class SharedExperimentTracker(ExperimentTracker):
    """Experiments whose results include those of all processes."""

    def __init__(self, store: StateStore) -> None:
        super().__init__()
        self._store = store

    @override
    def record_and_judge_trial(
        self,
        feature: str,
        variant: str,
        new_results: VariantResults,
        stop_conditions: TrialStopConditions | None,
        *,
        control: str = CONTROL,
    ) -> str | None:
        before = self.variant_results(feature, variant)
        base = before.with_halved_counts() if before.judged >= MEMORY else before
        more = [item - other for item, other in zip(astuple(new_results), astuple(base), strict=True)]
        self._store.publish(
            SharedEvent(JUDGED, (f"{feature}\n{variant}", feature, variant, more)), merge=_added
        )
        reason = super().record_and_judge_trial(
            feature, variant, new_results, stop_conditions, control=control
        )
        if reason is not None:
            self._store.publish(SharedEvent(OVER, (feature, variant, reason)))
        return reason

    def add_remote_results(self, feature: str, variant: str, added_results: list[Any]) -> None:
        """Add the results of another process to those of ``variant``.

        ``added_results`` has the values of a `VariantResults`, in the order of its fields.
        """
        before = self.variant_results(feature, variant)
        base = before.with_halved_counts() if before.judged >= MEMORY else before
        self._variants[feature, variant] = VariantResults(*map(add, astuple(base), added_results))

    def record_remote_trial_stop(self, feature: str, variant: str, reason: str) -> None:
        """Record that another process has stopped the trial of ``variant``, for ``reason``."""
        self._over.setdefault((feature, variant), reason)


class SharedQualityScores(QualityScores):
    """Quality scores that include those of all other processes."""

    def __init__(self, clock: Callable[[], float], store: StateStore) -> None:
        super().__init__(clock)
        self._store = store

    @override
    def record_score(self, feature: str, endpoint: str, score: float) -> None:
        super().record_score(feature, endpoint, score)
        self._store.publish(
            SharedEvent(SCORED, (f"{feature}\n{endpoint}", feature, endpoint, [score])), merge=_joined
        )

    def add_remote_scores(self, feature: str, endpoint: str, scores: list[float]) -> None:
        """Add ``scores`` that another process has recorded."""
        for score in scores:
            super().record_score(feature, endpoint, score)


class SharedSessionAffinity(SessionAffinity):
    """A `SessionAffinity` that all processes share. Conversations are identified by keyed hashes only."""

    def __init__(self, store: StateStore, names: HashedNames) -> None:
        super().__init__()
        self._store = store
        self._names = names

    @override
    def find_last_rung(self, scope: str, conversation: str) -> ContextLadderRung | None:
        return super().find_last_rung(scope, self._names.of(scope, conversation))

    @override
    def record_rung(self, scope: str, conversation: str, rung: ContextLadderRung, tokens: int) -> None:
        name = self._names.of(scope, conversation)
        before = super().find_last_rung(scope, name)
        super().record_rung(scope, name, rung, tokens)
        if (now := super().find_last_rung(scope, name)) is not None and now != before:
            self._store.publish(SharedEvent(STANDS, (scope, name, *now)))

    def record_remote_rung(
        self, scope: str, conversation_hash: str, endpoint: str, max_prompt_tokens: int
    ) -> None:
        """Record that another process served a conversation by ``endpoint``, which serves ``max_prompt_tokens``."""
        super().record_rung(
            scope, conversation_hash, ContextLadderRung(endpoint, max_prompt_tokens), max_prompt_tokens + 1
        )


class SharedTrafficState(TrafficState):
    """A `TrafficState` that shares rate limits, experiments, scores and conversations with other processes.

    Load, latency and round robin are not shared, because they change with every request.

    Args:
        store: The store that counts for all processes and carries their events.
        names: Hashes the names that are used in the store.
        clock: The monotonic clock, in seconds.
        now: The wall clock.
        random: Returns a random number from 0 up to, not including, 1.
    """

    rate_limiter: SharedRateLimiter
    experiments: SharedExperimentTracker
    quality_scores: SharedQualityScores
    session_affinity: SharedSessionAffinity

    def __init__(
        self,
        store: StateStore,
        names: HashedNames,
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
        self.experiments = SharedExperimentTracker(self._store)
        self.quality_scores = SharedQualityScores(self.clock, self._store)
        self.session_affinity = SharedSessionAffinity(self._store, self._names)

    def apply_remote_event(self, event: SharedEvent, age: float) -> None:
        """Apply an event of another process, published ``age`` seconds ago."""
        kind, values = event
        with self.lock:
            match kind:
                case "judged":
                    self.experiments.add_remote_results(*values[1:])
                case "over":
                    self.experiments.record_remote_trial_stop(*values)
                case "scored":
                    self.quality_scores.add_remote_scores(*values[1:])
                case "stands":
                    self.session_affinity.record_remote_rung(*values)
                case "used" if age < STALE_SECONDS:
                    _, name, rate, tokens = values
                    self.rate_limiter.add_remote_used_tokens(name, RateLimit.parse(rate), tokens)


def _added(one: SharedEvent, other: SharedEvent) -> SharedEvent:
    """Two events of one variant as one, with the results added up."""
    sums = [first + second for first, second in zip(one.values[-1], other.values[-1], strict=True)]
    return SharedEvent(one.kind, (*one.values[:-1], sums))


def _joined(one: SharedEvent, other: SharedEvent) -> SharedEvent:
    """Two events of one endpoint as one, with the scores of both; if there are too many, the latest."""
    return SharedEvent(one.kind, (*one.values[:-1], [*one.values[-1], *other.values[-1]][-MOST_SCORES:]))
