"""Compares the endpoints on trial in a split with the control, and decides when a trial ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from decimal import Decimal

CONTROL = "control"
MEMORY = 2_000
"""Requests of a variant after which all its counts are halved."""


class TrialStopConditions(BaseModel):
    """The limits beyond which the trial of a variant is stopped automatically.

    Attributes:
        after: The number of requests that the variant and the control must each have had before they are
            compared.
        errors: The most by which the variant's failure rate may exceed the control's, from 0 to 1.
        latency: The highest ratio of the variant's mean answer time to the control's.
        cost: The highest ratio of the variant's mean cost to the control's; None to ignore the cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: int = Field(default=50, ge=1)
    errors: float = Field(default=0.05, ge=0, le=1)
    latency: float = Field(default=1.5, gt=0)
    cost: float | None = Field(default=None, gt=0)


STOP = TrialStopConditions()


@dataclass(frozen=True, slots=True)
class VariantResults:
    """The results of one variant of an experiment (a feature's ``split``).

    Attributes:
        judged: The number of requests with a known outcome.
        failed: The number of these requests that failed, or whose answer was rejected.
        seconds: The total time of the answers.
        cost: The total cost, in US dollars, of the answers with a known price.
        priced: The number of answers with a known price.
    """

    judged: int = 0
    failed: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    priced: int = 0

    def with_request(self, *, is_ok: bool, seconds: float, cost: Decimal | None) -> VariantResults:
        """Return the results with one more request. ``cost`` is in US dollars; None if the price is unknown."""
        if self.judged >= MEMORY:
            return self.with_halved_counts().with_request(is_ok=is_ok, seconds=seconds, cost=cost)
        if not is_ok:
            return replace(self, judged=self.judged + 1, failed=self.failed + 1)
        return replace(
            self,
            judged=self.judged + 1,
            seconds=self.seconds + seconds,
            cost=self.cost + float(cost or 0),
            priced=self.priced + (cost is not None),
        )

    def with_halved_counts(self) -> VariantResults:
        """Return the results with every count halved, so that old requests weigh less."""
        return VariantResults(
            self.judged // 2, self.failed // 2, self.seconds / 2, self.cost / 2, self.priced // 2
        )

    @property
    def failure_rate(self) -> float:
        """The share of requests that failed, from 0 to 1."""
        return self.failed / self.judged if self.judged else 0.0

    @property
    def mean_seconds(self) -> float | None:
        """The mean time of an answer, in seconds; None if there was no answer."""
        answers = self.judged - self.failed
        return self.seconds / answers if answers else None

    @property
    def mean_cost(self) -> float | None:
        """The mean cost of the answers with a known price, in US dollars; None if there was none."""
        return self.cost / self.priced if self.priced else None


class ExperimentTracker:
    """Tracks the results of each variant and the stopped trials. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._variants: dict[tuple[str, str], VariantResults] = {}
        self._over: dict[tuple[str, str], str] = {}

    def trial_stop_reason(self, feature: str, variant: str) -> str | None:
        """The reason why the trial of ``variant`` was stopped; None if it was not stopped."""
        return self._over.get((feature, variant))

    def variant_results(self, feature: str, variant: str) -> VariantResults:
        """The results of ``variant`` so far; all counts are 0 if it had no request."""
        return self._variants.get((feature, variant), VariantResults())

    def all_results(self) -> dict[tuple[str, str], VariantResults]:
        """The results of all variants, by the names of the feature and the variant."""
        return dict(self._variants)

    def record_and_judge_trial(
        self,
        feature: str,
        variant: str,
        new_results: VariantResults,
        stop_conditions: TrialStopConditions | None,
        *,
        control: str = CONTROL,
    ) -> str | None:
        """Store ``new_results`` of ``variant``, and stop its trial if they are too bad compared with ``control``.

        Returns:
            The reason if this call stops the trial; else None. Without ``stop_conditions`` no trial is stopped.
        """
        self._variants[feature, variant] = new_results
        if stop_conditions is None or variant == control or (feature, variant) in self._over:
            return None
        reason = _verdict(new_results, self.variant_results(feature, control), stop_conditions)
        if reason is not None:
            self._over[feature, variant] = reason
        return reason


def _verdict(trial: VariantResults, control: VariantResults, stop: TrialStopConditions) -> str | None:
    if min(trial.judged, control.judged) < stop.after:
        return None
    if trial.failure_rate > control.failure_rate + stop.errors:
        return f"{trial.failed} of {trial.judged} requests failed, of the control's {control.failed} of {control.judged}"
    if _is_beyond(trial.mean_seconds, control.mean_seconds, stop.latency):
        return f"it took {trial.mean_seconds:.3g} s on average, the control {control.mean_seconds:.3g} s"
    if _is_beyond(trial.mean_cost, control.mean_cost, stop.cost):
        return f"it cost ${trial.mean_cost:.3g} on average, the control ${control.mean_cost:.3g}"
    return None


def _is_beyond(trial: float | None, control: float | None, factor: float | None) -> bool:
    return None not in {trial, control, factor} and trial > control * factor  # type: ignore[operator]
