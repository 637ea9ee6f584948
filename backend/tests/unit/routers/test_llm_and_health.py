from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CONTENT_TYPE_LATEST

from backend.routers.headers import SECURITY_HEADERS
from backend.routers.metrics import render_feature_table_metrics
from backend.tests.fakes.records import record
from backend.tests.fakes.services import ANN, BOB, FakeDatabase, FakeFacade, FakeLocalModel, services
from backend.utils.llm.diagnostics.health import HealthInfo
from backend.utils.llm.diagnostics.qos import FeatureInfo, QosInfo, TrialInfo
from backend.utils.llm.diagnostics.retirements import RetirementImpact
from backend.utils.llm.failures import FailureCategory

if TYPE_CHECKING:
    from .conftest import Connect, MakeApp

ADMIN = {"authorization": "Bearer token-of-admin"}


async def test_qos_is_the_whole_table(connect: Connect) -> None:
    body = (await connect().get("/v1/llm/qos", headers=ADMIN)).json()

    assert (body["profile"], body["demo_active"]) == ("premium", True)


@pytest.mark.parametrize("path", ["/v1/llm/qos", "/metrics", "/playground"])
async def test_the_table_is_read_beside_the_event_loop(connect: Connect, path: str) -> None:
    read_in: list[int] = []

    class Noting(FakeFacade):
        def get_qos_info(self) -> QosInfo:
            read_in.append(threading.get_ident())
            return super().get_qos_info()

    response = await connect(replace(services(), facade=Noting())).get(path, headers=ADMIN)

    assert response.status_code == 200
    assert threading.get_ident() not in read_in
    assert len(read_in) == 1


async def test_explain_answers_for_the_caller(connect: Connect) -> None:
    response = await connect().get("/v1/llm/explain/conv_folder", headers=BOB)

    assert response.json() == {
        "feature": "conv_folder",
        "user": "bob",
        "tokens": 0,
        "policy": "house_only",
    }


async def test_explain_is_given_what_the_call_needs(connect: Connect) -> None:
    response = await connect().get("/v1/llm/explain/conv_folder?tokens=9000", headers=ANN)

    assert response.json()["tokens"] == 9000


@pytest.mark.parametrize("query", ["tokens=-1", "tokens=many", "tokns=9"])
async def test_explain_refuses_needs_that_it_does_not_know(connect: Connect, query: str) -> None:
    response = await connect().get(f"/v1/llm/explain/conv_folder?{query}", headers=ANN)

    assert response.status_code == 422


async def test_explain_of_an_unknown_feature_names_the_nearest(connect: Connect) -> None:
    response = await connect().get("/v1/llm/explain/conv_foldr", headers=ANN)

    assert (response.status_code, response.json()["error"]["nearest"]) == (404, ["conv_folder"])


async def test_metrics_are_for_those_who_sign_in(connect: Connect) -> None:
    assert (await connect().get("/metrics")).status_code == 401


async def test_metrics_show_the_table_the_days_to_each_shutdown_and_the_trials() -> None:
    leaves = RetirementImpact(
        endpoint="openai:gpt-5", day=date(2026, 12, 11), days=20, replacement=None, features=(), profiles=()
    )
    control = TrialInfo(
        feature="f", arm="control", requests=7, failed=2, mean_s=None, mean_cost_usd=None, stopped=None
    )
    qos = FakeFacade().get_qos_info().model_copy(update={"retirements": (leaves,), "trials": (control,)})

    text = render_feature_table_metrics(qos)

    assert set(text.splitlines()) >= {
        'patchbay_table_info{hash="abc",profile="premium"} 1.0',
        'patchbay_model_days_to_shutdown{endpoint="openai:gpt-5"} 20.0',
        'patchbay_trial_requests_total{arm="control",feature="f"} 7.0',
        'patchbay_trial_failures_total{arm="control",feature="f"} 2.0',
        'patchbay_trial_stopped{arm="control",feature="f"} 0.0',
    }


async def test_metrics_are_in_prometheus_s_format(connect: Connect) -> None:
    response = await connect().get("/metrics", headers=ANN)

    assert response.headers["content-type"] == CONTENT_TYPE_LATEST
    assert 'patchbay_table_info{hash="abc"' in response.text


async def test_metrics_show_what_was_counted(connect: Connect) -> None:
    held = services()
    held.metrics.append(record(feature="chat", outcome="failed", category="server"))

    text = (await connect(held).get("/metrics", headers=ANN)).text

    where = 'category="server",endpoint="openai:gpt-6-luna",feature="chat",key_owner="house",outcome="failed"'
    assert f"patchbay_attempts_total{{{where}}} 1.0" in text.splitlines()


async def test_metrics_show_what_rests_and_how_many_features_are_served_second_best() -> None:
    since = datetime(2026, 11, 21, tzinfo=UTC)
    rests = HealthInfo(
        endpoint="openai:gpt-5", key_owner="user", account=None, state="open", category=FailureCategory.SERVER, reason="",
        since=since, until=None, failures=5, keys=3,
    )  # fmt: skip
    well = FeatureInfo(
        about="", profile="premium", endpoint="e", chain=("e",), layer="file", options={}, deadline_s=1, problem=None
    )  # fmt: skip
    features = {
        "a": well,
        "b": well.model_copy(update={"degraded": True}),
        "c": well.model_copy(update={"problem": "all rests"}),
    }
    qos = FakeFacade().get_qos_info().model_copy(update={"health": (rests,), "features": features})

    assert set(render_feature_table_metrics(qos).splitlines()) >= {
        'patchbay_resting{account="",endpoint="openai:gpt-5",key_owner="user",state="open"} 3.0',
        'patchbay_features{state="well"} 1.0',
        'patchbay_features{state="degraded"} 1.0',
        'patchbay_features{state="failing"} 1.0',
    }


async def test_health_is_open(connect: Connect) -> None:
    assert (await connect().get("/healthz")).json() == {"status": "ok"}


async def test_readiness_shows_the_state_of_the_local_model_and_no_reason(connect: Connect) -> None:
    failed = FakeLocalModel(state="failed", reason="/home/ann/model.gguf is missing")

    response = await connect(services(local_model=failed)).get("/readyz")

    assert response.json()["status"] == "ready"
    assert response.json()["local_model"] == "failed"
    assert "/home/ann" not in response.text


async def test_readiness_names_background_work_that_fails(connect: Connect) -> None:
    failed, held = asyncio.Event(), services()

    async def work() -> None:
        failed.set()
        raise OSError("/home/ann/llm.toml is no file")

    async with held.background.run_until_success("table", work):
        await failed.wait()
        response = await connect(held).get("/readyz")

    body = response.json()
    assert (response.status_code, body["status"], body["background"]) == (200, "degraded", "failing: table")
    assert "/home/ann" not in response.text


async def test_without_its_database_it_is_not_ready_and_lives_on(connect: Connect) -> None:
    client = connect(replace(services(), database=FakeDatabase("database_locked")))

    response = await client.get("/readyz")

    error = response.json()["error"]
    assert response.status_code == 503
    assert (error["code"], error["reason"]) == ("storage_unavailable", "database_locked")
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/v1/llm/qos", "/nowhere"])
async def test_every_answer_carries_the_security_headers(path: str, connect: Connect) -> None:
    response = await connect().get(path)

    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "default-src 'none'; script-src 'self'" in response.headers["content-security-policy"]


async def test_who_is_about_to_stop_is_not_ready_and_serves_still(
    make_app: MakeApp, connect: Connect
) -> None:
    app = make_app()
    app.state.stop.is_leaving = True
    client = connect(app)

    ready, served = await client.get("/readyz"), await client.get("/v1/keys", headers=ANN)

    assert (ready.status_code, ready.json()["error"]["reason"]) == (503, "stopping")
    assert served.status_code == 200
