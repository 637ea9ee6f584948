"""Whether the service is ready, and what it lacks of what its table asks for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from backend.routers.readiness import FRESH_SECONDS, Readiness
from backend.tests.fakes.services import FakeFacade, services
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.diagnostics.qos import FeatureInfo

if TYPE_CHECKING:
    from backend.utils.llm.diagnostics.qos import QosInfo

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
    with closing(Patchbay(Table(text=text, environ=environ))) as facade:
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
    retired = FeatureInfo(
        about="", profile="premium", endpoint=None, chain=(), layer="", options={}, deadline_s=1, problem="retired"
    )  # fmt: skip
    facade = Facade(said={"features": {"chat": retired, "fold": retired}})

    response = await connect(replace(services(), facade=facade)).get("/readyz")

    assert (response.status_code, response.json()["error"]["reason"]) == (503, "no_feature")


async def test_the_table_is_read_once_a_second_however_often_somebody_asks(connect: Connect) -> None:
    facade, now = Facade(), 0.0
    client = connect(replace(services(), facade=facade, readiness=Readiness(lambda: now)))

    for _ in range(5):
        await client.get("/readyz")
    assert facade.asked == 1
    now = FRESH_SECONDS
    await client.get("/readyz")

    assert facade.asked == 2
