"""A provider goes down, the next one serves: whoever is on call reads it off the log, the metrics, the table and the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from backend.metrics import AttemptMetrics
from backend.tests.fakes.services import ANN, services
from backend.utils.llm import get_llm, use
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Connect

DOWN, NEXT = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
CALLS = 6
ADMIN = {"authorization": "Bearer token-of-admin"}
JSON = {"accept": "application/json"}


@pytest.fixture
def client(provider: LoopbackProvider, connect: Connect) -> Iterator[httpx2.AsyncClient]:
    """A server whose first provider has been down for `CALLS` calls."""
    provider.always(Status(503), model=DOWN.partition(":")[2])
    provider.always(Text("hi"), model=NEXT.partition(":")[2])
    metrics = AttemptMetrics()
    facade = loopback_patchbay(provider, {"chat": [DOWN, NEXT]}, time=VirtualTime().time, ledger=metrics)
    facade.health.subscribe(metrics.record_health_change)
    with use(facade):
        for _ in range(CALLS):
            assert get_llm("chat").invoke("hi").response_metadata["receipt"]["degraded"]
        yield connect(replace(services(), facade=facade, metrics=metrics))
    facade.close()


@pytest.mark.usefixtures("client")
def test_the_log_has_a_line_for_the_breaker_and_one_for_the_feature(caplog: pytest.LogCaptureFixture) -> None:
    told = [vars(record)["event"] for record in caplog.get_records("setup") if hasattr(record, "event")]

    assert sorted(told) == ["breaker.opened", "feature.degraded"]


async def test_the_metrics_have_what_was_counted_and_what_rests(client: httpx2.AsyncClient) -> None:
    lines = (await client.get("/metrics", headers=ANN)).text.splitlines()

    where = 'feature="chat",key_owner="house"'
    assert f'patchbay_degraded_answers_total{{endpoint="{NEXT}",{where}}} {CALLS}.0' in lines
    failed = f'patchbay_attempts_total{{category="server",endpoint="{DOWN}",{where},outcome="failed"}} 5.0'
    assert failed in lines
    assert f'patchbay_breaker_openings_total{{account="",endpoint="{DOWN}",key_owner="house"}} 1.0' in lines
    assert f'patchbay_resting{{account="",endpoint="{DOWN}",key_owner="house",state="open"}} 1.0' in lines
    assert 'patchbay_features{state="degraded"} 1.0' in lines


async def test_the_table_names_what_rests_and_what_each_feature_runs_on(client: httpx2.AsyncClient) -> None:
    told = (await client.get("/v1/llm/qos", headers=ADMIN)).json()

    (rests,) = told["health"]
    assert {name: rests[name] for name in ("endpoint", "key_owner", "state", "category", "failures")} == {
        "endpoint": DOWN,
        "key_owner": "house",
        "state": "open",
        "category": "server",
        "failures": 5,
    }
    feature = told["features"]["chat"]
    assert (feature["endpoint"], feature["degraded"], feature["preferred"]) == (NEXT, True, DOWN)


async def test_the_page_says_so_too(client: httpx2.AsyncClient) -> None:
    now = (await client.get("/", headers=ADMIN | JSON)).json()
    features = (await client.get("/features", headers=ADMIN | JSON)).json()["features"]

    assert [(one["name"], one["owner"]) for one in now["resting"]] == [(DOWN, "house")]
    assert (NEXT, DOWN) in [(feature["endpoint"], feature["instead_of"]) for feature in features]


async def test_the_server_is_ready_all_the_same(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/readyz")).json()["status"] == "ready"
