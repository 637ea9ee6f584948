"""Which measurements fail a gate, and how a verdict reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from benchmarks.gates import GATES, Found, Gate, Verdict, judged, printed

if TYPE_CHECKING:
    from benchmarks.conductor import Conductor

NOBODY = cast("Conductor", None)


def judge(*ratios: float, gate: float = 0.70, goal: float = 0.45, held: float | None = None) -> Verdict:
    """The verdict on measurements that say ``ratios``, one after another."""
    left = iter(ratios)
    return judged(Gate("call", gate, goal, lambda _conductor: Found(next(left), "told"), held), NOBODY)


def test_one_good_measurement_is_enough() -> None:
    verdict = judge(0.60)

    assert (verdict.word, verdict.measurements) == ("ok", 1)


def test_the_goal_is_shown_separately() -> None:
    assert judge(0.45).word == "ok, goal"


def test_a_gate_is_held_at_its_very_ratio() -> None:
    assert not judge(0.70).is_missed


def test_noise_is_forgiven() -> None:
    verdict = judge(0.75, 0.72, 0.69)

    assert (verdict.word, verdict.found.ratio, verdict.measurements) == ("ok", 0.69, 3)


def test_what_is_too_slow_three_times_is_missed_at_its_best() -> None:
    verdict = judge(0.75, 0.71, 0.73)

    assert (verdict.is_missed, verdict.found.ratio, verdict.measurements) == (True, 0.71, 3)


def test_what_is_far_too_slow_is_not_measured_again() -> None:
    verdict = judge(1.20)

    assert (verdict.is_missed, verdict.measurements) == (True, 1)


def test_a_gate_that_is_not_kept_yet_ends_the_build_only_where_it_is_worse_than_what_is_held() -> None:
    verdicts = [judge(0.60, gate=0.32, held=0.80), judge(1.20, gate=0.32, held=0.80)]

    assert [verdict.is_worse_than_ever for verdict in verdicts] == [False, True]
    assert [verdict.word for verdict in verdicts] == ["missed, 0.80 held", "**missed**"]


def test_the_table_shows_ratio_gate_goal_and_verdict() -> None:
    text = printed([judge(0.60), judge(1.20)])

    assert text.splitlines()[2:] == [
        "| call | 0.60 | <= 0.70 | <= 0.45 | ok | told |",
        "| call | 1.20 | <= 0.70 | <= 0.45 | **missed** | told |",
    ]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.what)
def test_every_goal_is_beyond_its_gate(gate: Gate) -> None:
    assert 0 < gate.goal < gate.gate <= gate.limit


def test_no_gate_is_there_twice() -> None:
    assert len({gate.what for gate in GATES}) == len(GATES)
