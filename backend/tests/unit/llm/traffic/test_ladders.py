"""Where conversations stand, and how good answers were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.utils.llm.state.ladders import MOST_CONVERSATIONS, MOST_SCORES, QualityScores, SessionAffinity

SMALL, LARGE = "red:small", "red:large"
HOUR = 3600.0


class TestRungs:
    """The endpoint that served a conversation last."""

    def test_it_is_the_last_one_and_each_scope_has_its_own(self) -> None:
        rungs = SessionAffinity()
        for scope, endpoint in [("f", SMALL), ("g", SMALL), ("f", LARGE)]:
            rungs.served(scope, "talk", endpoint)

        assert [rungs.last(scope, "talk") for scope in "fgh"] == [LARGE, SMALL, None]

    def test_beyond_ten_thousand_the_one_that_was_heard_of_longest_ago_is_forgotten(self) -> None:
        rungs = SessionAffinity()
        for number in range(MOST_CONVERSATIONS):
            rungs.served("f", str(number), SMALL)
        rungs.served("f", "0", LARGE)
        rungs.served("f", "one more", SMALL)

        assert [rungs.last("f", talk) for talk in ("0", "1", "2")] == [LARGE, None, SMALL]


class TestScores:
    """How good the answers of late were."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def scores(self, clock: Clock) -> QualityScores:
        return QualityScores(clock)

    def test_with_too_few_nothing_is_known(self, scores: QualityScores) -> None:
        for _ in range(4):
            scores.add("f", SMALL, 1.0)

        assert scores.mean("f", SMALL, least=4, remember=HOUR) == 1.0
        assert scores.mean("f", SMALL, least=5, remember=HOUR) is None
        assert scores.mean("g", SMALL, least=1, remember=HOUR) is None

    def test_what_is_too_old_is_forgotten(self, scores: QualityScores, clock: Clock) -> None:
        for now, score in [(0.0, 0.0), (10.0, 1.0), (20.0, 0.5)]:
            clock.now = now
            scores.add("f", SMALL, score)
        clock.now = 100.0

        assert scores.mean("f", SMALL, least=1, remember=95.0) == 0.75
        assert scores.mean("f", SMALL, least=1, remember=10.0) is None

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=3 * MOST_SCORES))
    def test_it_is_the_mean_of_the_last_hundred(self, given_scores: list[float]) -> None:
        scores = QualityScores(Clock())
        for score in given_scores:
            scores.add("f", SMALL, score)

        last = given_scores[-MOST_SCORES:]
        assert scores.mean("f", SMALL, least=1, remember=HOUR) == pytest.approx(sum(last) / len(last))
