"""One counter from end to end: what a provider counted is what the receipt, the ledger and the usage report say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.database.usage import SqlUsageStore
from backend.tests.fakes.records import spooled
from backend.tests.fakes.services import services as fake_services
from backend.utils.llm import MemorySink
from backend.utils.llm.testing import LoopbackProvider, Text, Usage
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Connect

ADMIN = {"authorization": "Bearer token-of-admin"}
APIS = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-terra",
    "gemini": "gemini:gemini-3.5-flash-lite",
    "anthropic": "anthropic:claude-sonnet-5-5",
}
RESPONSES = '[models."openai:gpt-6.1-terra"]\napi_mode = "responses"'
COUNTED = Usage(input_tokens=1200, output_tokens=340, cached_tokens=1000, reasoning_tokens=96)
TOKENS = {"input": 1200, "output": 340, "cached": 1000, "cache_write": 0, "reasoning": 96}


async def receipt_of_whole(model: Any) -> Any:
    return (await model.ainvoke("hi")).response_metadata["receipt"]


async def receipt_of_stream(model: Any) -> Any:
    return [chunk async for chunk in model.astream("hi")][-1].response_metadata["receipt"]


@pytest.mark.parametrize("api", APIS)
async def test_provider_receipt_ledger_and_usage_report_say_the_same_whole_and_streamed(
    api: str, provider: LoopbackProvider, connect: Connect, tmp_path: Path
) -> None:
    sink = MemorySink()
    patchbay = loopback_patchbay(provider, {"f": APIS[api]}, RESPONSES, ledger=sink)
    provider.always(Text("one two three", usage=COUNTED))
    async with open_and_migrate_sqlite(tmp_path / "ledger.sqlite3") as engine:
        client = connect(replace(fake_services(), usage=SqlUsageStore(engine)))

        told = [await call(patchbay.get_llm("f")) for call in (receipt_of_whole, receipt_of_stream)]
        await make_ledger_store(engine).add(spooled(sink.records))
        used = (await client.get("/v1/usage?by=model", headers=ADMIN)).json()
        kept = [
            (await client.get(f"/v1/usage/requests/{one['id']}", headers=ADMIN)).json()["attempts"]
            for one in told
        ]
    await patchbay.aclose()

    costs = {Decimal(one["cost_usd"]) for one in told}
    assert [one["attempts"][0]["usage"] for one in told] == [TOKENS, TOKENS]
    assert len(costs) == 1
    assert [len(attempts) for attempts in kept] == [1, 1]
    for (attempt,) in kept:
        assert {name: attempt[name] for name in TOKENS} == TOKENS
        assert {Decimal(attempt["cost_usd"])} == costs
    (of_model,) = used["usage"]
    assert {name: of_model[name] for name in TOKENS} == {name: 2 * count for name, count in TOKENS.items()}
    assert Decimal(of_model["cost_usd"]) == Decimal(used["total"]["cost_usd"]) == 2 * costs.pop()
