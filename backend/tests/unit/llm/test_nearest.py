"""Known words that are like one that is not known."""

from __future__ import annotations

import pytest

from backend.agents.errors import UnknownAgentError
from backend.utils.llm.errors import UnknownEndpointError, UnknownFeatureError
from backend.utils.llm.nearest import LONGEST, find_similar_words
from backend.utils.llm.problems import did_you_mean

LONG = "a" * (LONGEST + 1)
ENDLESS = "a" * 100_000


def test_the_most_alike_come_first() -> None:
    assert find_similar_words("caht", ["boat", "chat", "other"], limit=1) == ("chat",)


def test_a_name_without_end_is_compared_with_nothing() -> None:
    assert find_similar_words(LONG, [LONG]) == ()
    assert did_you_mean(LONG, [LONG, *map(str, range(20))]) == ""


@pytest.mark.parametrize(
    "error",
    [
        UnknownFeatureError(ENDLESS, [ENDLESS]),
        UnknownEndpointError(ENDLESS, "chat", [ENDLESS]),
        UnknownAgentError(ENDLESS, [ENDLESS]),
    ],
    ids=["feature", "endpoint", "agent"],
)
def test_a_name_without_end_is_not_told_back(error: Exception) -> None:
    assert len(str(error)) < 400
    assert len(getattr(error, "feature", None) or "") <= LONGEST
