"""Our reckoning of tokens against the price list's own, over every model that it knows."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from backend.tools.lint import lint_table
from backend.utils.llm import pricing
from backend.utils.llm.clients import explain, get_llm, use
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import Endpoint, Provider, Table, TokenPrices, parse_table
from backend.utils.llm.models import UNKNOWN
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.pricing import compute_cost, compute_cost_with_genai_prices, describe_price_source
from backend.utils.llm.receipt import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.testing import LoopbackProvider

WHEN = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODELS = [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
TOKENS = st.one_of(st.integers(0, 2_000), st.integers(0, 2_000_000), st.just(200_000), st.just(200_001))


def endpoint(provider: str, model: str) -> Endpoint:
    return Endpoint(Provider(provider, "openai", "key", "https://api.example.com/v1"), model, UNKNOWN)


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    """Cached and written tokens are part of the prompt's."""
    prompt = draw(TOKENS)
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    return TokenUsage(input=prompt, output=draw(TOKENS), cached=cached, cache_write=written)


@given(model=st.sampled_from(MODELS), usage=usages(), hour=st.integers(0, 23))
def test_every_model_costs_what_the_price_list_says(
    model: tuple[str, str], usage: TokenUsage, hour: int
) -> None:
    when = WHEN.replace(hour=hour)

    listed = compute_cost_with_genai_prices(*model, usage, when)

    assert compute_cost(endpoint(*model), usage, when) == (None if listed is None else round(listed, 12))


def test_a_price_of_many_digits_costs_whole_pico_dollars() -> None:
    one = replace(
        endpoint("openai", "m"), price=TokenPrices(input=Decimal("0.0000004"), output=Decimal("0.1234567"))
    )

    assert compute_cost(one, TokenUsage(input=1, output=1), WHEN) == Decimal("0.000000123457")
    assert str(compute_cost(one, TokenUsage(output=10), WHEN)) == "0.000001234567"


def test_a_cost_tells_with_what_it_was_reckoned() -> None:
    listed = endpoint("openai", "gpt-6-luna")
    version = f"genai-prices {genai_prices.__version__}"

    assert describe_price_source(listed, "0123456789ab") == version
    assert (
        describe_price_source(replace(listed, billed_as="openai:gpt-6-sol"), "")
        == f"{version} as openai:gpt-6-sol"
    )
    own = replace(listed, price=TokenPrices(input=Decimal(1), output=Decimal(1)))
    assert describe_price_source(own, "0123456789ab") == "table 0123456789ab"


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.1-sol"])
def test_cached_tokens_cost_less(model: str) -> None:
    fresh = compute_cost(endpoint("openai", model), TokenUsage(input=1_000_000, output=0), WHEN)
    cached = compute_cost(
        endpoint("openai", model), TokenUsage(input=1_000_000, output=0, cached=1_000_000), WHEN
    )

    assert fresh is not None
    assert cached is not None
    assert Decimal(0) < cached < fresh


def test_the_table_s_name_of_a_provider_is_known() -> None:
    usage = TokenUsage(input=1_000, output=10)

    assert compute_cost(endpoint("gemini", "gemini-3.5-flash-lite"), usage, WHEN) == compute_cost(
        endpoint("google", "gemini-3.5-flash-lite"), usage, WHEN
    )


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "gpt-none", TokenUsage(input=1, output=1)),
        ("nobody", "gpt-6-luna", TokenUsage(input=1, output=1)),
        ("openai", "gpt-6-luna", None),
        ("openai", "gpt-6-luna", TokenUsage(input=1, output=1, cached=2)),
    ],
    ids=["no such model", "no such provider", "usage unknown", "counts that contradict"],
)
def test_what_is_not_known_costs_none(provider: str, model: str, usage: TokenUsage | None) -> None:
    assert compute_cost(endpoint(provider, model), usage, WHEN) is None


GATEWAY = """
profile = "p"
byok_profile = "p"
[providers.gateway]
api = "openai"
base_url = "{url}"
api_key_env = "KEY"
[profiles.p]
chat = "gateway:house-large"
[features.chat]
max_cost_usd = 1
options = {{ max_output_tokens = 100 }}
"""
USED = TokenUsage(input=1_000_000, output=1_000_000, cached=500_000)


def gateway(more: str, url: str = "https://gateway.example.com/v1") -> str:
    return GATEWAY.format(url=url) + more


def endpoint_of(more: str) -> Endpoint:
    (found,) = parse_table(gateway(more), environ={}).chain("chat", "p")
    return found


class TestOwnPrices:
    """A model that no list knows under its name costs what the table says, so caps and costs hold behind a gateway."""

    def test_its_price_is_dollars_for_a_million_tokens(self) -> None:
        own = endpoint_of(
            '[models."gateway:house-large"]\nprice = { input = 2, output = 10, cache_read = 0.5 }'
        )

        assert compute_cost(own, USED, WHEN) == Decimal("11.25")

    def test_unpriced_kinds_of_tokens_cost_what_the_rest_of_the_prompt_does(self) -> None:
        own = endpoint_of('[models."gateway:house-large"]\nprice = { input = 2, output = 10 }')

        assert compute_cost(own, USED, WHEN) == Decimal(12)

    def test_it_may_be_billed_as_another_model(self) -> None:
        own = endpoint_of('[models."gateway:house-large"]\npriced_as = "openai:gpt-6-luna"')

        assert (
            compute_cost(own, USED, WHEN)
            == compute_cost(endpoint("openai", "gpt-6-luna"), USED, WHEN)
            is not None
        )

    def test_a_provider_may_bill_as_another_one(self) -> None:
        text = (
            gateway("")
            .replace("house-large", "gpt-6-luna")
            .replace("[profiles.p]", 'priced_as = "openai"\n[profiles.p]')
        )
        (own,) = parse_table(text, environ={}).chain("chat", "p")

        assert (
            compute_cost(own, USED, WHEN)
            == compute_cost(endpoint("openai", "gpt-6-luna"), USED, WHEN)
            is not None
        )

    def test_a_capped_feature_is_served_and_the_receipt_has_the_cost(
        self, provider: LoopbackProvider
    ) -> None:
        text = gateway(
            '[models."gateway:house-large"]\nprice = { input = 2, output = 10 }', provider.openai_url
        )
        with use(made := Patchbay(Table(text=text, environ={"KEY": "sk-of-the-gateway"}))):
            receipt = get_llm("chat").invoke("hi").response_metadata["receipt"]
            explained = explain("chat").as_dict()
            made.close()

        assert Decimal(receipt["cost_usd"]) > 0
        assert explained["candidates"][0]["estimate"]["at_most_usd"] is not None

    def test_without_one_it_is_said_where_to_write_it(self) -> None:
        found = lint_table(parse_table(gateway(""), environ={}), {}, WHEN.date())

        assert any('priced_as in [models."gateway:house-large"]' in finding.says for finding in found)

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ("price = { input = 2 }", "price.output (text): is missing"),
            ("price = { input = -1, output = 1 }", "price.input = -1"),
            ("price = { input = 1, output = 1, outputs = 1 }", "Did you mean 'output'"),
            ('priced_as = "gpt-6-luna"', "priced_as = 'gpt-6-luna'"),
            ('price = { input = 1, output = 1 }\npriced_as = "openai:gpt-6-luna"', "it has a price already"),
        ],
    )
    def test_a_bad_price_is_reported_with_its_place(self, row: str, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            endpoint_of(f'[models."gateway:house-large"]\n{row}')

        assert says in str(caught.value)
        assert "models.gateway:house-large.pric" in str(caught.value)


class TestWithoutAPriceList:
    """What is wrong with the price list costs no answer: it is told once, and costs are unknown."""

    @pytest.fixture(autouse=True)
    def nothing_known(self) -> Iterator[None]:
        caches = (pricing._known, pricing._warn_once)
        for cache in caches:
            cache.cache_clear()
        yield
        for cache in caches:
            cache.cache_clear()

    def test_a_missing_package(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("genai_prices", "genai_prices.data_snapshot"):
            monkeypatch.setitem(sys.modules, name, None)

        assert compute_cost(endpoint("openai", "gpt-6-luna"), USED, WHEN) is None
        assert compute_cost(endpoint("openai", "gpt-6.1-sol"), USED, WHEN) is None
        assert len(caplog.records) == 1

    def test_a_broken_one(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        class Broken:
            def find_provider_model(self, *_: object) -> None:
                raise AttributeError("another version")

        monkeypatch.setattr("genai_prices.data_snapshot.get_snapshot", Broken)

        assert compute_cost(endpoint("openai", "gpt-6-luna"), USED, WHEN) is None
        assert compute_cost(endpoint("openai", "gpt-6-luna"), USED, WHEN) is None
        assert len(caplog.records) == 1
