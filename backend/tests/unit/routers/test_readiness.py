"""Whether the service is ready, and what it lacks of what its table asks for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from backend.routers.readiness import FRESH_SECONDS, ReadinessChecker, ReadinessReport
from backend.tests.fakes.services import FakeFacade, services
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import Status
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from backend.utils.llm.diagnostics.qos import QosInfo
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Connect

CANARY = "sk-canary-of-the-house-0123456789"
TABLE = """
[providers.openai]
api = "openai"
base_url = "https://one.test/v1"
api_key_env = "ONE_API_KEY"
[providers.other]
api = "openai"
base_url = "https://two.test/v1"
api_key_env = "TWO_API_KEY"
[profiles.premium]
chat = ["openai:gpt-6-luna", "other:gpt-6-luna"]
fold = "other:gpt-6-luna"
"""


async def told(connect: Connect, *, text: str = TABLE, **environ: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the readiness of a service with such a table and environment."""
    with closing(Patchbay(Table(text=text, environ=environ), time=VirtualTime().time)) as facade:
        response = await connect(replace(services(), facade=facade)).get("/readyz")
    assert CANARY not in response.text
    return response.status_code, response.json()


async def test_with_all_its_keys_nothing_is_missing(connect: Connect) -> None:
    status, body = await told(connect, ONE_API_KEY=CANARY, TWO_API_KEY=CANARY)

    assert (status, body["status"], body["missing"]) == (200, "ready", [])
    assert body["features"] == {"served": 2, "all": 2, "by_demo": False}


async def test_a_missing_house_key_is_named_with_its_provider_and_the_service_stays_ready(
    connect: Connect,
) -> None:
    status, body = await told(connect, ONE_API_KEY=CANARY)

    assert (status, body["status"]) == (200, "degraded")
    assert body["missing"] == [{"what": "house_key", "provider": "other", "variables": ["TWO_API_KEY"]}]
    assert body["features"] == {"served": 1, "all": 2, "by_demo": False}


async def test_without_any_house_key_users_keys_may_still_serve(connect: Connect) -> None:
    status, body = await told(connect)

    assert (status, body["status"]) == (200, "degraded")
    assert [one["provider"] for one in body["missing"]] == ["openai", "other"]
    assert body["features"]["served"] == 0


@dataclass
class Facade(FakeFacade):
    """Says of its table what it is given, and counts how often it is asked."""

    said: dict[str, Any] = field(default_factory=dict)
    asked: int = 0

    def get_qos_info(self) -> QosInfo:
        self.asked += 1
        return super().get_qos_info().model_copy(update=self.said)


async def test_a_state_server_that_is_away_is_told_without_its_address(connect: Connect) -> None:
    facade = Facade(said={"notice": f"the state server redis://:{CANARY}@valkey has been away for 3 s"})

    response = await connect(replace(services(), facade=facade)).get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["missing"] == [{"what": "state_server"}]
    assert CANARY not in response.text


async def test_it_is_not_ready_if_no_key_could_make_any_feature_work(connect: Connect) -> None:
    retired = TABLE.replace("gpt-6-luna", "gpt-4")

    status, body = await told(connect, text=retired, ONE_API_KEY=CANARY, TWO_API_KEY=CANARY)

    assert (status, body["error"]["reason"]) == (503, "no_feature")


@pytest.mark.parametrize("answer", [Status(401), Status(429, error_code="insufficient_quota")])
async def test_a_house_key_that_rests_degrades_the_service_and_takes_nobody_out(
    connect: Connect, provider: LoopbackProvider, answer: Status
) -> None:
    provider.always(answer)
    with closing(loopback_patchbay(provider, {"chat": "openai:gpt-6-luna"})) as facade:
        with pytest.raises(LLMError):
            facade.get_llm("chat").invoke("hi")
        response = await connect(replace(services(), facade=facade)).get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["features"]["served"] == 0


async def test_the_table_is_read_once_a_second_however_often_somebody_asks(connect: Connect) -> None:
    facade, now = Facade(), 0.0
    client = connect(replace(services(), facade=facade, readiness=ReadinessChecker(lambda: now)))

    for _ in range(5):
        await client.get("/readyz")
    assert facade.asked == 1
    now = FRESH_SECONDS
    await client.get("/readyz")

    assert facade.asked == 2


async def test_while_no_thread_is_free_the_last_answer_is_told(connect: Connect) -> None:
    facade, now = Facade(said={"notice": "away"}), 0.0
    asked = replace(services(), facade=facade, readiness=ReadinessChecker(lambda: now, wait=0.01))
    client, threads = connect(asked), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    free = Event()
    try:
        before = (await client.get("/readyz")).json()
        threads.submit(free.wait)
        now = FRESH_SECONDS
        meanwhile = [(await client.get("/readyz")).json() for _ in range(2)]
    finally:
        free.set()

    assert before["missing"] == [{"what": "state_server"}]
    assert meanwhile == [before, before]
    assert facade.asked == 1


async def test_a_question_that_is_open_is_not_asked_again() -> None:
    asked, told_at_last = 0, asyncio.Event()

    async def ask() -> QosInfo:
        nonlocal asked
        asked += 1
        await told_at_last.wait()
        return FakeFacade().get_qos_info()

    readiness = ReadinessChecker(wait=0.01)
    first = [await readiness.get_report(ask) for _ in range(3)]
    told_at_last.set()

    assert first == [ReadinessReport()] * 3
    assert (await readiness.get_report(ask)).is_demo
    assert asked == 1
