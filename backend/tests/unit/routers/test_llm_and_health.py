from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.routers.headers import SECURITY_HEADERS
from backend.tests.fakes.services import ANN, FakeLocalModel, services

if TYPE_CHECKING:
    from .conftest import Connect


async def test_qos_is_the_whole_table(connect: Connect) -> None:
    body = (await connect().get("/v1/llm/qos", headers=ANN)).json()

    assert (body["profile"], body["demo_active"]) == ("premium", True)


async def test_explain_answers_for_the_caller(connect: Connect) -> None:
    response = await connect().get("/v1/llm/explain/conv_folder", headers=ANN)

    assert response.json() == {"feature": "conv_folder", "user": "ann", "tokens": 0}


async def test_explain_is_told_what_the_call_needs(connect: Connect) -> None:
    response = await connect().get("/v1/llm/explain/conv_folder?tokens=9000", headers=ANN)

    assert response.json()["tokens"] == 9000


@pytest.mark.parametrize("query", ["tokens=-1", "tokens=many", "tokns=9"])
async def test_explain_refuses_needs_that_it_does_not_know(connect: Connect, query: str) -> None:
    response = await connect().get(f"/v1/llm/explain/conv_folder?{query}", headers=ANN)

    assert response.status_code == 422


async def test_explain_of_an_unknown_feature_names_the_nearest(connect: Connect) -> None:
    response = await connect().get("/v1/llm/explain/conv_foldr", headers=ANN)

    assert (response.status_code, response.json()["error"]["nearest"]) == (404, ["conv_folder"])


async def test_health_is_open(connect: Connect) -> None:
    assert (await connect().get("/healthz")).json() == {"status": "ok"}


async def test_readiness_tells_what_the_local_model_does_and_no_reason(connect: Connect) -> None:
    failed = FakeLocalModel(state="failed", reason="/home/ann/model.gguf is missing")

    response = await connect(services(local_model=failed)).get("/readyz")

    assert response.json() == {"status": "ready", "local_model": "failed"}


@pytest.mark.parametrize("path", ["/healthz", "/v1/llm/qos", "/nowhere"])
async def test_every_answer_carries_the_security_headers(path: str, connect: Connect) -> None:
    response = await connect().get(path)

    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "default-src 'self'" in response.headers["content-security-policy"]
