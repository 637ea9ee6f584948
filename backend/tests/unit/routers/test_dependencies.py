from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator  # noqa: TC003 - FastAPI reads it
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, WebSocket  # noqa: TC002 - FastAPI reads it
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.testclient import TestClient, WebSocketDenialResponse

from backend.routers.access import CALL, ROUTES
from backend.routers.dependencies import IdentityDep  # noqa: TC001 - FastAPI reads it
from backend.routers.headers import UserKeyRemovalMiddleware
from backend.tests.fakes.keys import keychain
from backend.tests.fakes.services import ANN, BOB, services
from backend.utils.llm.caller import HOUSE, current_caller

if TYPE_CHECKING:
    from .conftest import Connect, MakeApp

COOKIE = "patchbay_session_80"
OPEN = {
    "/healthz",
    "/readyz",
    "/login",
    "/logout",
    "/static/{name}",
}  # what the login page loads
KEY = {"x-byok-openai": "sk-of-ann"}
PROBES = (
    *("GET /probe", "GET /probe/thread", "GET /probe/stream", "WEBSOCKET /probe/socket"),
    *(f"{method} /probe/any" for method in ("GET", "POST", "PUT", "DELETE")),
)


def seen() -> dict[str, Any]:
    """The caller in context, as JSON."""
    caller = current_caller()
    keys = {provider: key.get_secret_value() for provider, key in caller.keys.items()}
    return {"user": caller.user_id, "keys": keys, "policy": caller.effective_key_policy, "tier": caller.tier}


@pytest.fixture
def probe(make_app: MakeApp) -> FastAPI:
    """The application with endpoints of every kind that tell which caller they see."""
    app = make_app()
    app.state.access = {**ROUTES, **dict.fromkeys(PROBES, CALL)}

    @app.get("/probe")
    async def in_handler(_: IdentityDep) -> dict[str, Any]:
        await asyncio.sleep(0)
        return seen()

    @app.api_route("/probe/any", methods=["GET", "POST", "PUT", "DELETE"])
    async def in_any(_: IdentityDep) -> dict[str, Any]:
        return seen()

    @app.get("/probe/thread")
    def in_thread(_: IdentityDep) -> dict[str, Any]:
        return seen()

    @app.get("/probe/stream", response_class=EventSourceResponse)
    async def in_stream(_: IdentityDep) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(data=seen())
        await asyncio.sleep(0)
        yield ServerSentEvent(data=seen())

    @app.websocket("/probe/socket")
    async def in_socket(socket: WebSocket, _: IdentityDep) -> None:
        await socket.accept()
        await socket.send_json(seen())
        await socket.close()

    return app


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"authorization": "Bearer wrong"}, id="wrong"),
        pytest.param({"authorization": "Bearer "}, id="blank"),
        pytest.param({"authorization": "Basic token-of-ann"}, id="another scheme"),
        pytest.param({"cookie": f"{COOKIE}=wrong"}, id="wrong cookie"),
        pytest.param({"cookie": f"{COOKIE}=token-of-ann"}, id="a token in the cookie"),
        pytest.param({"authorization": "Bearer session-of-ann"}, id="a session in the header"),
        pytest.param({"cookie": "patchbay_session_8000=session-of-ann"}, id="the cookie of another port"),
        pytest.param(
            {"authorization": "Bearer wrong", "cookie": f"{COOKIE}=session-of-ann"},
            id="wrong header, good cookie",
        ),
    ],
)
async def test_without_a_valid_token_nothing_is_answered(headers: dict[str, str], connect: Connect) -> None:
    response = await connect().get("/v1/llm/qos", headers=headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["error"]["code"] == "unauthorized"


async def test_every_endpoint_but_health_and_login_wants_a_token(make_app: MakeApp, connect: Connect) -> None:
    app = make_app()
    client = connect(app)
    closed = 0

    for route in iter_route_contexts(app.routes):
        if isinstance(route.route, APIRoute) and route.path not in OPEN:
            for method in route.methods or ():
                closed += 1
                assert (await client.request(method, route.path or "")).status_code == 401, route.path

    assert closed >= 6


@pytest.mark.parametrize(
    "headers", [BOB, {"authorization": "bearer token-of-bob"}, {"cookie": f"{COOKIE}=session-of-bob"}]
)
async def test_the_token_comes_in_a_header_or_in_the_login_cookie(
    headers: dict[str, str], probe: FastAPI, connect: Connect
) -> None:
    response = await connect(probe).get("/probe", headers=headers)

    assert response.json() == {"user": "bob", "keys": {}, "policy": "house_only", "tier": None}


@pytest.mark.parametrize("path", ["/probe", "/probe/thread"])
async def test_a_supplied_key_reaches_the_caller_in_the_handler(
    path: str, probe: FastAPI, connect: Connect
) -> None:
    response = await connect(probe).get(path, headers=ANN | KEY)

    told = response.json()
    assert (told["user"], told["keys"], told["policy"]) == ("ann", {"openai": "sk-of-ann"}, "byok_only")


async def test_a_supplied_key_reaches_the_caller_in_a_stream(probe: FastAPI, connect: Connect) -> None:
    response = await connect(probe).get("/probe/stream", headers=ANN | KEY)

    assert response.text.count('"openai":"sk-of-ann"') + response.text.count('"openai": "sk-of-ann"') == 2


def test_a_supplied_key_reaches_the_caller_in_a_websocket(probe: FastAPI) -> None:
    with TestClient(probe).websocket_connect("/probe/socket", headers=ANN | KEY) as socket:
        assert socket.receive_json()["keys"] == {"openai": "sk-of-ann"}


def test_a_websocket_without_a_token_is_denied(probe: FastAPI) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        TestClient(probe).websocket_connect("/probe/socket"),
    ):
        pass

    assert denied.value.status_code == 401


async def test_the_caller_is_gone_after_the_request(probe: FastAPI, connect: Connect) -> None:
    client = connect(probe)

    for path in ("/probe", "/probe/stream"):
        await client.get(path, headers=ANN | KEY)

    assert current_caller() is HOUSE


async def test_callers_of_requests_at_the_same_time_do_not_mix(probe: FastAPI, connect: Connect) -> None:
    client = connect(probe)
    ways = [(ANN | KEY, "ann"), (BOB, "bob")] * 20

    answers = await asyncio.gather(*(client.get("/probe", headers=headers) for headers, _ in ways))

    assert [answer.json()["user"] for answer in answers] == [user for _, user in ways]


@pytest.mark.parametrize("blank", ["", "   "])
async def test_a_blank_key_is_no_key(blank: str, probe: FastAPI, connect: Connect) -> None:
    response = await connect(probe).get("/probe", headers=BOB | {"x-byok-openai": blank})

    assert response.json()["policy"] == "house_only"


async def test_the_house_does_not_pay_for_who_enrolled_a_key_and_did_not_send_it(
    probe: FastAPI, connect: Connect
) -> None:
    told = (await connect(probe).get("/probe", headers=ANN)).json()

    assert (told["keys"], told["policy"]) == ({}, "byok_only")


@pytest.mark.parametrize("name", ["my_own-provider2", "gemini"])
async def test_any_provider_may_be_named(name: str, probe: FastAPI, connect: Connect) -> None:
    probe.state.services = replace(services(), keychain=keychain({("ann", name): "a-key"}))

    response = await connect(probe).get("/probe", headers=ANN | {f"X-BYOK-{name.upper()}": "a-key"})

    assert response.json()["keys"] == {name: "a-key"}


@pytest.mark.parametrize(
    ("user", "header", "key"),
    [
        pytest.param(ANN, "x-byok-openai", "sk-of-anno", id="longer"),
        pytest.param(ANN, "x-byok-openai", "sk-of-an", id="shorter"),
        pytest.param(ANN, "x-byok-openai", "SK-OF-ANN", id="in capitals"),
        pytest.param(ANN, "x-byok-gemini", "sk-of-ann", id="of another provider"),
        pytest.param(BOB, "x-byok-openai", "sk-of-ann", id="of another user"),
    ],
)
async def test_a_key_that_its_user_did_not_enrol_is_refused_and_its_provider_named(
    user: dict[str, str], header: str, key: str, probe: FastAPI, connect: Connect
) -> None:
    response = await connect(probe).get("/probe", headers=user | {header: key})

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (403, "key_not_enrolled")
    assert header.removeprefix("x-byok-") in error["message"]
    assert key not in response.text


async def test_one_enrolled_key_does_not_vouch_for_another(probe: FastAPI, connect: Connect) -> None:
    strange = {"x-byok-gemini": "sk-of-ann", "x-byok-acme": "sk-of-ann"}

    response = await connect(probe).get("/probe", headers=ANN | KEY | strange)

    assert "the key that came for acme, gemini." in response.json()["error"]["message"]


def test_a_key_that_was_not_enrolled_denies_a_websocket(probe: FastAPI) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        TestClient(probe).websocket_connect("/probe/socket", headers=BOB | KEY),
    ):
        pass

    assert denied.value.status_code == 403


async def test_a_key_without_a_token_is_not_looked_at(probe: FastAPI, connect: Connect) -> None:
    response = await connect(probe).get("/probe", headers=KEY)

    assert response.status_code == 401


async def test_a_key_gives_no_plan(probe: FastAPI, connect: Connect) -> None:
    with_key = (await connect(probe).get("/probe", headers=ANN | KEY)).json()
    without = (await connect(probe).get("/probe", headers=ANN)).json()

    assert with_key["keys"]
    assert with_key["tier"] == without["tier"] is None


@pytest.mark.parametrize("name", ["x-byok-", "x-byok-open.ai"])
async def test_a_key_for_no_provider_is_refused_and_not_repeated(
    name: str, probe: FastAPI, connect: Connect
) -> None:
    response = await connect(probe).get("/probe", headers=ANN | {name: "sk-secret"})

    assert response.status_code == 400
    assert "sk-secret" not in response.text


@pytest.mark.parametrize("second", ["sk-of-ann", "sk-of-bob", ""])
async def test_a_key_that_comes_twice_is_refused(second: str, probe: FastAPI, connect: Connect) -> None:
    """Else the last one would count, and a blank one would let the house pay."""
    headers = [*ANN.items(), ("x-byok-openai", "sk-of-ann"), ("x-byok-openai", second)]
    response = await connect(probe).get("/probe", headers=headers)

    assert response.status_code == 400
    assert response.json()["error"]["message"] == "x-byok-openai: it came more than once."


class TestOrigin:
    """A browser sends the cookie to every port of its host, whichever page asks it to."""

    COOKIE = {"cookie": f"{COOKIE}=session-of-ann"}  # noqa: RUF012 - a constant

    @pytest.mark.parametrize(
        ("method", "origin", "status"),
        [
            ("POST", "http://test", 200),
            ("POST", None, 200),
            ("GET", "http://elsewhere:3000", 200),
            ("POST", "http://test:3000", 401),
            ("POST", "https://elsewhere", 401),
            ("POST", "null", 401),
            ("PUT", "http://test:3000", 401),
            ("DELETE", "http://test:3000", 401),
        ],
    )
    async def test_anothers_page_may_only_read(
        self, method: str, origin: str | None, status: int, probe: FastAPI, connect: Connect
    ) -> None:
        headers = self.COOKIE | ({"origin": origin} if origin else {})
        response = await connect(probe).request(method, "/probe/any", headers=headers)

        assert response.status_code == status

    async def test_who_sends_a_token_may_be_anywhere(self, probe: FastAPI, connect: Connect) -> None:
        response = await connect(probe).post("/probe/any", headers=ANN | {"origin": "https://elsewhere"})

        assert response.status_code == 200

    def test_it_may_not_open_a_websocket(self, probe: FastAPI) -> None:
        headers = self.COOKIE | {"origin": "http://elsewhere:3000"}
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            TestClient(probe).websocket_connect("/probe/socket", headers=headers),
        ):
            pass

        assert denied.value.status_code == 401


async def test_a_server_is_not_left_with_a_key_in_its_headers(probe: FastAPI) -> None:
    """It holds them for as long as the connection stays open."""
    held = [(b"authorization", b"Bearer token-of-ann"), (b"x-byok-openai", b"sk-of-ann"), (b"host", b"test")]
    scope = {"type": "http", "method": "GET", "path": "/probe", "query_string": b"", "headers": held}
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    await UserKeyRemovalMiddleware(probe)(scope, receive, send)

    assert b"sk-of-ann" in told[1]["body"]
    assert b"x-byok-openai" not in dict(held)
