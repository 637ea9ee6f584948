"""One counter: what the provider says, the receipt and the ledger are the same figures, over every API, whole and streamed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm import AttemptRecord, MemorySink
from backend.utils.llm.testing import Json, LoopbackProvider, Text, Usage
from backend.utils.llm.testing.patchbays import loopback_patchbay

from ..drivers import DRIVERS
from ..samples import Person, receipt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backend.utils.llm.patchbay import Patchbay

    from ..drivers import Driver

APIS = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-terra",
    "gemini": "gemini:gemini-3.5-flash-lite",
    "anthropic": "anthropic:claude-sonnet-5-5",
}
ROWS = """
[models."openai:gpt-6.1-terra"]
api_mode = "responses"
[models."anthropic:claude-sonnet-5-5"]
price = { input = 2.123456789, output = 15, cache_read = 0.041666666666666664 }
"""
TOKENS = st.integers(1, 300_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Cached tokens are part of the prompt, thoughts of the answer. That it used nothing is no answer's usage."""
    inward, outward = draw(TOKENS), draw(TOKENS)
    return Usage(inward, outward, draw(st.integers(0, inward)), draw(st.integers(0, outward)))


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


@pytest.fixture(scope="module")
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture(scope="module")
def patchbay(server: LoopbackProvider, sink: MemorySink) -> Iterator[Patchbay]:
    made = loopback_patchbay(server, APIS, ROWS, ledger=sink)
    yield made
    made.close()


def usd(records: Sequence[AttemptRecord]) -> Decimal:
    """What they cost together; all of them are priced."""
    return sum(
        (Decimal(record.cost).scaleb(-12) for record in records if record.cost is not None), Decimal(0)
    )


def of(sink: MemorySink, call: str) -> list[AttemptRecord]:
    return [record for record in sink.records if record.call == call]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("driver", DRIVERS)
@given(usage=usages())
def test_the_ledger_has_what_the_provider_counted_and_the_receipt_costs(
    patchbay: Patchbay, server: LoopbackProvider, sink: MemorySink, driver: Driver, api: str, usage: Usage
) -> None:
    server.script(Text("one two three", usage=usage))

    told = receipt(driver(patchbay.get_llm(api), "hi"))

    (one,) = of(sink, told["id"])
    counted = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, 0, usage.reasoning_tokens)
    assert (one.input, one.output, one.cached, one.cache_write, one.reasoning) == counted
    assert tuple(told["attempts"][0]["usage"].values()) == counted
    assert not one.estimated
    assert usd([one]) == Decimal(told["cost_usd"]) == Decimal(told["attempts"][0]["cost_usd"])


@pytest.mark.parametrize("api", APIS)
@given(rejected=usages(), accepted=usages())
def test_the_attempts_of_a_call_add_up_to_it(
    patchbay: Patchbay, server: LoopbackProvider, sink: MemorySink, api: str, rejected: Usage, accepted: Usage
) -> None:
    server.script(Json({"name": ""}, usage=rejected), Json({"name": "Ada", "age": 36}, usage=accepted))
    model = patchbay.get_llm(api).with_structured_output(Person, include_raw=True)

    told = receipt(model.invoke("who?")["raw"])

    both = of(sink, told["id"])
    assert [record.input for record in both] == [rejected.input_tokens, accepted.input_tokens]
    assert usd(both) == Decimal(told["cost_usd"])
