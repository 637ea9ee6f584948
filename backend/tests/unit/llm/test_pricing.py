"""Our reckoning of tokens against the price list's own, over every model that it knows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.pricing import cost, looked_up
from backend.utils.llm.receipt import Usage

WHEN = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODELS = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
TOKENS = st.one_of(st.integers(0, 2_000), st.integers(0, 2_000_000), st.just(200_000), st.just(200_001))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Cached and written tokens are part of the prompt's."""
    prompt = draw(TOKENS)
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    return Usage(input=prompt, output=draw(TOKENS), cached=cached, cache_write=written)


@given(model=st.sampled_from(MODELS), usage=usages(), hour=st.integers(0, 23))
def test_every_model_costs_what_the_price_list_says(model: tuple[str, str], usage: Usage, hour: int) -> None:
    when = WHEN.replace(hour=hour)

    assert cost(*model, usage, when) == looked_up(*model, usage, when)


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.1-sol"])
def test_cached_tokens_cost_less(model: str) -> None:
    fresh = cost("openai", model, Usage(input=1_000_000, output=0), WHEN)
    cached = cost("openai", model, Usage(input=1_000_000, output=0, cached=1_000_000), WHEN)

    assert fresh is not None
    assert cached is not None
    assert Decimal(0) < cached < fresh


def test_the_table_s_name_of_a_provider_is_known() -> None:
    usage = Usage(input=1_000, output=10)

    assert cost("gemini", "gemini-3.5-flash-lite", usage, WHEN) == cost(
        "google", "gemini-3.5-flash-lite", usage, WHEN
    )


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "gpt-none", Usage(input=1, output=1)),
        ("nobody", "gpt-6-luna", Usage(input=1, output=1)),
        ("openai", "gpt-6-luna", None),
        ("openai", "gpt-6-luna", Usage(input=1, output=1, cached=2)),
    ],
    ids=["no such model", "no such provider", "usage unknown", "counts that contradict"],
)
def test_what_is_not_known_costs_none(provider: str, model: str, usage: Usage | None) -> None:
    assert cost(provider, model, usage, WHEN) is None
