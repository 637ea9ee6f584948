"""Every route has a row in `access.ROUTES`, and lets nobody do what their token's scopes and tenant do not allow."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from backend.access import SCOPES, Grant, Scope
from backend.main import create_app
from backend.routers.access import OPEN, ROUTES
from backend.settings import Settings
from backend.tests.fakes.services import InMemoryTokens, services
from backend.utils.llm.rate_limits import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

    from .conftest import Connect, MakeApp


OWN_PAGE = {"sec-fetch-site": "same-origin"}
"""How a browser says that a page of ours asks."""


def routes(app: FastAPI) -> Iterator[str]:
    """Each route with each of its methods, as `ROUTES` names them."""
    for found in iter_route_contexts(app.routes):
        if isinstance(found.route, APIRoute):
            yield from (f"{method} {found.path}" for method in found.methods or ())
        elif isinstance(found.route, APIWebSocketRoute):
            yield f"WEBSOCKET {found.path}"


def holder(*scopes: Scope, tenant: str = "") -> Grant:
    return Grant("ann", tenant, frozenset(scopes), token_id="t")


Statuses = Callable[[str, "Mapping[str, Grant]"], Awaitable["Mapping[str, int]"]]


@pytest.fixture
def statuses(connect: Connect) -> Statuses:
    """What a route answers to holders of grants, by their names, and to ``nobody``. A body is no JSON: nothing is done."""

    async def found(route: str, grants: Mapping[str, Grant]) -> Mapping[str, int]:
        client = connect(replace(services(), tokens=InMemoryTokens(**grants)))
        method, path = route.split(" ")
        path = re.sub(r"\{[^}]*\}", "x", path)

        async def status(name: str) -> int:
            headers = {"authorization": f"Bearer {name}", "content-type": "application/json"} | OWN_PAGE
            return (await client.request(method, path, headers=headers, content=b"{")).status_code

        return {name: await status(name) for name in (*grants, "nobody")}

    return found


def test_every_route_has_a_row_and_every_row_a_route(make_app: MakeApp) -> None:
    """A new route needs a row in `backend/routers/access.py`: until it has one, nobody may use it."""
    found = set(routes(make_app()))

    assert found - set(ROUTES) == set(), "without a row"
    assert set(ROUTES) - found == set(), "without a route"


@pytest.mark.parametrize("route", [route for route, row in sorted(ROUTES.items()) if row != OPEN])
async def test_a_route_lets_in_whose_token_has_a_scope_of_its_row(route: str, statuses: Statuses) -> None:
    found = await statuses(route, {scope: holder(scope) for scope in SCOPES} | {"none": holder()})

    let_in = {name for name, status in found.items() if status not in {401, 403}}
    assert let_in == {"admin", *(ROUTES[route].scopes or ())}
    assert (found["none"], found["nobody"]) == (403, 401)


@pytest.mark.parametrize("route", [route for route, row in sorted(ROUTES.items()) if row.is_of_the_house])
async def test_what_is_the_houses_is_for_no_tenant(route: str, statuses: Statuses) -> None:
    found = await statuses(route, {"tenants": holder(*SCOPES, tenant="acme"), "houses": holder(*SCOPES)})

    assert found["tenants"] == 403
    assert found["houses"] != 403


async def test_a_route_without_a_row_is_for_nobody(make_app: MakeApp, connect: Connect) -> None:
    app = make_app(replace(services(), tokens=InMemoryTokens(given=holder(*SCOPES))))

    @app.get("/forgotten")
    async def forgotten() -> None:
        pytest.fail("it was let in")

    response = await connect(app).get("/forgotten", headers={"authorization": "Bearer given"})

    assert response.status_code == 403


async def test_who_may_not_is_told_which_scope_it_takes(connect: Connect) -> None:
    client = connect(replace(services(), tokens=InMemoryTokens(given=holder("call"))))

    response = await client.get("/v1/usage", headers={"authorization": "Bearer given"})

    error = response.json()["error"]
    assert (error["code"], "`debug` or `admin`" in error["message"]) == ("forbidden", True)


async def test_nothing_of_a_body_is_read_of_who_may_not(make_app: MakeApp) -> None:
    app = make_app(replace(services(), tokens=InMemoryTokens(given=holder("debug"))))
    headers = [(b"authorization", b"Bearer given"), (b"content-type", b"application/json"), (b"host", b"x")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat", "query_string": b"", "headers": headers}
    answers: list[Any] = []

    async def receive() -> Any:
        pytest.fail("the body was read")

    async def send(message: Any) -> None:
        answers.append(message)

    await app(scope, receive, send)

    assert answers[0]["status"] == 403


class TestRates:
    """How often a token may ask."""

    async def test_beyond_it_a_request_is_refused_and_told_when_to_come_again(self, connect: Connect) -> None:
        often = replace(holder("call"), rate=RateLimit(2, "hour"))
        client = connect(replace(services(), tokens=InMemoryTokens(given=often)))

        answers = [await client.get("/v1/keys", headers={"authorization": "Bearer given"}) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 1800


def test_the_table_is_the_one_that_is_in_force(tmp_path: Any) -> None:
    assert create_app(Settings(_env_file=None, data_dir=tmp_path)).state.access is ROUTES
