"""What an explanation says of failures is what happens."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from backend.tests.fakes.simulation import World, fails, users_own
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.diagnostics.estimates import ENDS, estimate_price
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.model_config import Endpoint, Provider
from backend.utils.llm.models import find_capabilities

TODAY = date(2026, 11, 21)
ROWS = [
    "",
    "attempts = 1",
    "attempts = 2",
    'on_refusal = "next"',
    'on_invalid_output = "raise"',
    'on_refusal = "next"\non_invalid_output = "raise"',
]


@pytest.mark.parametrize("caller", [HOUSE, users_own("red", "blue")], ids=["house", "user"])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("category", [one for one in FailureCategory if one is not FailureCategory.CANCELLED])
def test_a_failing_endpoint_gets_as_many_requests_as_estimated_and_the_estimated_outcome(
    category: FailureCategory, row: str, caller: Any
) -> None:
    world = World({"f": ["red:m", "blue:m"]}, f"[features.f]\n{row}", behaves={"red:m": fails(category)})

    called = world.call(caller=caller)
    told = called.route.as_dict()["candidates"][0]["on_failure"][category.value]

    assert called.tried.count("red:m") == told["requests"]
    assert ("blue:m" in called.tried) == (told["then"] != ENDS and "larger window" not in told["then"])


def endpoint(model: str) -> Endpoint:
    provider = Provider("openai", "openai", "key", "https://api.openai.com/v1")
    return Endpoint(provider, model, find_capabilities(model))


def test_a_known_model_has_an_estimate() -> None:
    told = estimate_price(endpoint("gpt-6-luna"), 1000, 500, TODAY)

    assert 0 < float(told["prompt_usd"]) < float(told["at_most_usd"])


def test_without_a_limit_the_longest_answer_is_the_models() -> None:
    limited, unlimited = (estimate_price(endpoint("gpt-6-luna"), 10, most, TODAY) for most in (10, None))

    assert float(limited["at_most_usd"]) < float(unlimited["at_most_usd"])


def test_a_model_of_unknown_price_has_no_estimate() -> None:
    assert estimate_price(endpoint("a-model-nobody-knows"), 1000, 500, TODAY) == {
        "prompt_usd": None,
        "at_most_usd": None,
    }
