from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from backend.conversations.sample import SAMPLE
from backend.routers import bodies
from backend.routers.access import CALL, OPEN
from backend.routers.bodies import SMALL, BodyLimits, find_body_limits
from backend.routers.conversations import LONGEST_TRANSCRIPT
from backend.routers.json_bodies import JsonRoute
from backend.tests.fakes.services import ANN, services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Connect, MakeApp

JSON = {"content-type": "application/json"}
WITH_BODY = [
    ("POST", "/v1/conversations"),
    ("POST", "/v1/chat"),
    ("PUT", "/v1/keys"),
    ("PUT", "/v1/keys/openai"),
]


class Wanted(BaseModel):
    number: int


class Sent:
    """A body that notes how much of it was read."""

    def __init__(self, pieces: int, piece: bytes = b" " * 1_024) -> None:
        self.read = 0
        self._pieces = pieces
        self._piece = piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._pieces):
            self.read += len(self._piece)
            yield self._piece


async def never() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


@pytest.mark.parametrize(("method", "path"), [*WITH_BODY, ("GET", "/metrics"), ("POST", "/nowhere")])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_of_a_body_without_a_token_nothing_is_read(
    method: str, path: str, headers: dict[str, str], connect: Connect
) -> None:
    body = Sent(100)
    response = await connect().request(method, path, content=body, headers=JSON | headers)

    assert response.status_code == (404 if path == "/nowhere" else 401)
    assert body.read == 0


async def test_a_body_of_fastapis_own_is_not_read_without_a_token_either(
    make_app: MakeApp, connect: Connect
) -> None:
    """Whoever adds a route need not think of it."""
    app = make_app()
    app.state.access = {"POST /numbers": CALL}

    @app.post("/numbers")
    async def numbers(wanted: Wanted) -> int:
        return wanted.number

    body = Sent(1)
    refused = await connect(app).post("/numbers", content=body, headers=JSON)
    taken = await connect(app).post("/numbers", json={"number": 1}, headers=ANN)

    assert (refused.status_code, body.read, taken.status_code) == (401, 0, 200)


class BrokenTokens:
    async def find_grant(self, plain: str) -> None:
        raise OperationalError("SELECT …", {}, Exception("database is locked"))


async def test_an_unavailable_token_store_is_not_the_bodys_fault(connect: Connect) -> None:
    broken = replace(services(), tokens=BrokenTokens())

    response = await connect(broken).post("/v1/chat", json={}, headers=ANN)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "storage_unavailable")


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize("told", ["its length", "nothing"])
async def test_every_route_with_a_body_has_a_bound(
    method: str, path: str, told: str, connect: Connect
) -> None:
    longest = LONGEST_TRANSCRIPT if path == "/v1/conversations" else SMALL
    body = Sent(longest // 1_024 + 100)
    length = {"content-length": str(longest + 1)} if told == "its length" else {}

    response = await connect().request(method, path, content=body, headers=JSON | ANN | length)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "content_too_large"
    assert response.headers["content-security-policy"]
    assert body.read <= (0 if length else longest + 1_024)


async def test_a_body_that_does_not_come_is_waited_for_until_its_time_is_over(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "FIRST_SECONDS", -1.0)

    response = await connect().post("/v1/chat", content=never(), headers=JSON | ANN)

    assert (response.status_code, response.json()["error"]["code"]) == (408, "request_timeout")


def test_a_longer_body_has_more_time_at_the_same_pace() -> None:
    small, long = BodyLimits(), BodyLimits(longest_body=SMALL + 60 * bodies.SLOWEST)

    assert long.max_receive_seconds - small.max_receive_seconds == 60


def test_a_route_without_terms_has_the_strictest() -> None:
    assert (
        find_body_limits(None)
        == find_body_limits(test_a_route_without_terms_has_the_strictest)
        == BodyLimits()
    )


def test_every_route_that_takes_json_bounds_it_before_it_is_built(make_app: MakeApp) -> None:
    taking = [
        context.route
        for context in iter_route_contexts(make_app().routes)
        if isinstance(context.route, APIRoute) and context.route.body_field
    ]

    assert len(taking) >= 5
    assert all(isinstance(route, JsonRoute) for route in taking)


@pytest.mark.parametrize("path", ["/v1/llm/qos", "/v1/keys", "/healthz", "/nowhere"])
async def test_no_answer_is_kept_by_a_cache(path: str, connect: Connect) -> None:
    assert (await connect().get(path, headers=ANN)).headers["cache-control"] == "no-store"


async def test_an_answer_to_a_fault_of_ours_has_the_headers_of_every_answer(
    make_app: MakeApp, connect: Connect
) -> None:
    app = make_app()
    app.state.access = {"GET /bug": OPEN}

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError

    response = await connect(app).get("/bug")

    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/v1/keys/", "/v1/chat/", "//evil.example/v1/keys"])
async def test_no_path_is_led_elsewhere(path: str, connect: Connect) -> None:
    response = await connect().get("http://test" + path, headers=ANN | {"host": "evil.example"})

    assert response.status_code == 404 or "location" not in response.headers


class TestJson:
    async def refused(self, connect: Connect, **sent: Any) -> str:
        response = await connect().post("/v1/conversations", headers=ANN | sent.pop("headers", JSON), **sent)
        assert response.status_code == 422
        error = response.json()["error"]
        assert error["code"] == "invalid_request"
        return str(error["message"])

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"content-type": "text/plain"},
            {"content-type": "multipart/form-data; boundary=x"},
            JSON | {"content-encoding": "gzip"},
        ],
    )
    async def test_what_is_not_called_plain_json_is_refused(
        self, headers: dict[str, str], connect: Connect
    ) -> None:
        message = await self.refused(connect, headers=headers, content=SAMPLE.model_dump_json())

        assert message.startswith("body: has to be JSON")

    async def test_of_many_faulty_segments_one_is_reported(self, connect: Connect) -> None:
        body = {"started_at": "2026-01-01T00:00:00Z", "segments": [{}] * 1_000}

        message = await self.refused(connect, json=body)

        assert message.startswith("body.segments.0.text: Field required")
        assert message.endswith("(2 more)")

    async def test_a_name_as_long_as_the_body_is_cut(self, connect: Connect) -> None:
        assert len(await self.refused(connect, json={"n" * 5_000: 1})) < 200

    @pytest.mark.parametrize("content", ["[" * 100_000, '{"segments":[' + "[]," * 5_000 + "[]]}"])
    async def test_what_is_too_much_is_refused_before_it_is_built(
        self, content: str, connect: Connect
    ) -> None:
        assert await self.refused(connect, content=content)

    async def test_input_that_is_not_json_is_not_repeated(self, connect: Connect) -> None:
        message = await self.refused(connect, content='{"segments": sk-secret')

        assert "not valid JSON" in message
        assert "sk-" not in message

    @pytest.mark.parametrize(
        "body", [{"key": "sk-a", "overlap_s": "1"}, {"key": "sk-a", "store": "yes"}, {"key": 5}]
    )
    async def test_nothing_is_coerced(self, body: dict[str, Any], connect: Connect) -> None:
        response = await connect().put("/v1/keys/openai", json=body, headers=ANN)

        assert response.status_code == 422
