"""How endpoints on trial do, and when a trial is over."""

from __future__ import annotations

from decimal import Decimal

import pytest

from backend.utils.llm.state.experiments import (
    CONTROL,
    ExperimentTracker,
    TrialStopConditions,
    VariantResults,
)

NEW = "red:new"
STOP = TrialStopConditions(after=10, errors=0.1, latency=2.0, cost=3.0)


def arm(answers: int, failures: int = 0, seconds: float = 1.0, cost: str | None = "0.01") -> VariantResults:
    after = VariantResults()
    for _ in range(answers):
        after = after.with_request(is_ok=True, seconds=seconds, cost=None if cost is None else Decimal(cost))
    for _ in range(failures):
        after = after.with_request(is_ok=False, seconds=100.0, cost=Decimal(100))
    return after


def judged(
    control: VariantResults, trial: VariantResults, stop: TrialStopConditions | None = STOP
) -> str | None:
    experiments = ExperimentTracker()
    experiments.record_and_judge_trial("f", CONTROL, control, stop)
    return experiments.record_and_judge_trial("f", NEW, trial, stop)


def test_only_answers_count_for_latency_and_cost() -> None:
    told = arm(3, failures=1, seconds=2.0)

    assert (told.failure_rate, told.mean_seconds) == (0.25, 2.0)
    assert told.mean_cost == pytest.approx(0.01)


def test_of_what_never_answered_nothing_is_known() -> None:
    assert (VariantResults().failure_rate, VariantResults().mean_seconds, VariantResults().mean_cost) == (
        0.0,
        None,
        None,
    )
    assert arm(0, failures=3).mean_seconds is None


def test_an_unknown_price_is_not_nothing() -> None:
    told = arm(1, cost="0.02").with_request(is_ok=True, seconds=1.0, cost=None)

    assert told.mean_cost == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("control", "trial", "reason"),
    [
        (arm(10), arm(9, failures=1), None),
        (arm(10), arm(8, failures=2), "2 of 10 requests failed, of the control's 0 of 10"),
        (arm(8, failures=2), arm(7, failures=3), None),
        (arm(10), arm(10, seconds=2.0), None),
        (arm(10), arm(10, seconds=2.1), "it took 2.1 s on average, the control 1 s"),
        (arm(10), arm(10, cost="0.029"), None),
        (arm(10), arm(10, cost="0.031"), "it cost $0.031 on average, the control $0.01"),
        (arm(10, cost=None), arm(10, cost="9"), None),
        (arm(10), arm(1, failures=8), None),
        (arm(9), arm(0, failures=50), None),
        (arm(0, failures=10), arm(10, seconds=9.0), None),
    ],
    ids=[
        "as many failures as it may have",
        "more failures",
        "the control fails too",
        "as slow as it may be",
        "slower",
        "nearly as dear as it may be",
        "dearer",
        "what the control costs is unknown",
        "too few of the trial",
        "too few of the control",
        "the control never answers",
    ],
)
def test_a_trial_ends_when_it_does_worse_than_the_control_by_more_than_it_may(
    control: VariantResults, trial: VariantResults, reason: str | None
) -> None:
    assert judged(control, trial) == reason


@pytest.mark.parametrize("stop", [None, TrialStopConditions(after=10, errors=1, latency=100)])
def test_what_does_not_matter_ends_nothing(stop: TrialStopConditions | None) -> None:
    assert judged(arm(50), arm(20, failures=30, seconds=50, cost="9"), stop) is None


def test_it_ends_once_and_for_all_and_goes_on_being_counted() -> None:
    experiments = ExperimentTracker()
    experiments.record_and_judge_trial("f", CONTROL, arm(10), STOP)

    reasons = [
        experiments.record_and_judge_trial("f", NEW, trial, STOP)
        for trial in (arm(0, failures=10), arm(0, failures=11), arm(99))
    ]

    assert [reason is not None for reason in reasons] == [True, False, False]
    assert experiments.trial_stop_reason("f", NEW) == reasons[0]
    assert experiments.variant_results("f", NEW) == arm(99)


def test_the_control_and_other_features_go_on() -> None:
    experiments = ExperimentTracker()
    experiments.record_and_judge_trial("f", NEW, arm(10), STOP)
    experiments.record_and_judge_trial("f", CONTROL, arm(0, failures=50), STOP)

    assert experiments.trial_stop_reason("f", CONTROL) is None
    assert experiments.trial_stop_reason("g", NEW) is None
    assert set(experiments.all_results()) == {("f", NEW), ("f", CONTROL)}
