"""How good the answers of late were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.utils.llm.state.quality_scores import MOST_SCORES, QualityScores

SMALL, LARGE = "red:small", "red:large"
HOUR = 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scores(clock: Clock) -> QualityScores:
    return QualityScores(clock)


def test_with_too_few_nothing_is_known(scores: QualityScores) -> None:
    for _ in range(4):
        scores.record_score("f", SMALL, 1.0)

    assert scores.mean_score("f", SMALL, min_count=4, max_age_seconds=HOUR) == 1.0
    assert scores.mean_score("f", SMALL, min_count=5, max_age_seconds=HOUR) is None
    assert scores.mean_score("g", SMALL, min_count=1, max_age_seconds=HOUR) is None


def test_what_is_too_old_is_forgotten(scores: QualityScores, clock: Clock) -> None:
    for now, score in [(0.0, 0.0), (10.0, 1.0), (20.0, 0.5)]:
        clock.now = now
        scores.record_score("f", SMALL, score)
    clock.now = 100.0

    assert scores.mean_score("f", SMALL, min_count=1, max_age_seconds=95.0) == 0.75
    assert scores.mean_score("f", SMALL, min_count=1, max_age_seconds=10.0) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=3 * MOST_SCORES))
def test_it_is_the_mean_of_the_last_hundred(given_scores: list[float]) -> None:
    scores = QualityScores(Clock())
    for score in given_scores:
        scores.record_score("f", SMALL, score)

    last = given_scores[-MOST_SCORES:]
    assert scores.mean_score("f", SMALL, min_count=1, max_age_seconds=HOUR) == pytest.approx(
        sum(last) / len(last)
    )


@pytest.mark.parametrize(("good", "quality"), [(0, 0.0), (15, 0.75), (16, 0.8), (20, 1.0)])
def test_what_has_recovered_need_not_make_up_for_what_it_was(
    scores: QualityScores, good: int, quality: float
) -> None:
    for score in [0.0] * 100 + [1.0] * good:
        scores.record_score("f", SMALL, score)

    assert scores.best_recent_mean("f", SMALL, min_count=20, max_age_seconds=HOUR) == pytest.approx(quality)


def test_what_was_good_does_not_fall_by_a_few_poor_ones(scores: QualityScores) -> None:
    for score in [1.0] * 90 + [0.0] * 10:
        scores.record_score("f", SMALL, score)

    assert scores.best_recent_mean("f", SMALL, min_count=20, max_age_seconds=HOUR) == pytest.approx(0.9)
    assert scores.best_recent_mean("f", LARGE, min_count=20, max_age_seconds=HOUR) is None
