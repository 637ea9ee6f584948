"""The API's description is whole, is true of logins and errors, and is for whoever has a token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from backend.main import create_app
from backend.routers.openapi import list_operations
from backend.routers.statuses import OPEN
from backend.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Connect, MakeApp

ANN = {"authorization": "Bearer token-of-ann"}


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    return create_app(Settings(data_dir=tmp_path)).openapi()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from [inner] if name == "$ref" else references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_nobody_sees_it_without_a_token(path: str, connect: Connect) -> None:
    client = connect()

    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers=ANN)).status_code == 200


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
async def test_fastapis_own_pages_are_not_served(path: str, connect: Connect) -> None:
    assert (await connect().get(path, headers=ANN)).status_code == 404


async def test_it_is_the_same_for_programs(connect: Connect, make_app: MakeApp) -> None:
    app = make_app()

    assert (await connect(app).get("/openapi.json", headers=ANN)).json() == app.openapi()


def test_every_request_but_that_for_health_needs_a_token(document: dict[str, Any]) -> None:
    assert document["security"] == [{"token": []}, {"session": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert (operation.get("security") == []) == (path in OPEN)
            assert ("401" in operation["responses"]) == (path not in OPEN)


def test_errors_have_the_shape_that_they_have(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in str(document)
    told = document["paths"]["/v1/llm/explain/{feature}"]["get"]["responses"]["422"]["content"][
        "application/json"
    ]
    assert told == {"schema": {"$ref": "#/components/schemas/Error"}}


async def test_an_error_is_as_it_is_described(document: dict[str, Any], connect: Connect) -> None:
    answer = await connect().post("/v1/chat", headers=ANN, json={})
    shape = document["components"]["schemas"]["Error"]["properties"]["error"]

    assert answer.status_code == 422
    assert set(answer.json()["error"]) == set(shape["properties"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = {name.removeprefix("#/components/schemas/") for name in references(document)}

    assert names <= document["components"]["schemas"].keys()


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    found = list(list_operations(document))

    assert len(found) > 20
    assert [operation for operation in found if not operation.summary.rstrip("`").endswith(".")] == []


async def test_the_page_has_every_operation_and_loads_nothing_from_elsewhere(
    document: dict[str, Any], connect: Connect
) -> None:
    page = (await connect().get("/docs", headers={**ANN, "accept": "text/html"})).text

    assert all(
        f"<code>{operation.method} {operation.path}</code>" in page for operation in list_operations(document)
    )
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page) == []


async def test_the_page_is_json_for_programs(connect: Connect) -> None:
    answer = await connect().get("/docs", headers={**ANN, "accept": "application/json"})

    assert len(answer.json()["operations"]) > 20
