from __future__ import annotations

import sqlite3
from inspect import signature
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy.exc import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    TimeoutError,  # noqa: A004 - SQLAlchemy's: no connection is free
)

from backend.conversations.errors import CreationInProgressError
from backend.keys.errors import TooManyKeyChecksError
from backend.routers import errors
from backend.utils.llm.errors import LLMError, RateLimitedError, UnknownFeatureError

if TYPE_CHECKING:
    from .conftest import Connect


class Wanted(BaseModel):
    number: int


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    errors.install_error_handlers(app)

    @app.post("/numbers")
    async def numbers(wanted: list[Wanted]) -> int:
        return len(wanted)

    @app.get("/llm")
    async def llm() -> None:
        raise RateLimitedError("Slow down.", feature="conv_folder")

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("the secret")

    @app.get("/locked")
    async def locked() -> None:
        raise OperationalError("UPDATE …", {}, Exception("database is locked"), hide_parameters=True)

    return app


def all_kinds(kind: type[LLMError] = LLMError) -> list[type[LLMError]]:
    below = (kind for child in kind.__subclasses__() for kind in all_kinds(child))
    return list(dict.fromkeys([kind, *below]))


async def test_an_llm_error_keeps_its_status_and_its_facts(app: FastAPI, connect: Connect) -> None:
    response = await connect(app).get("/llm")

    assert response.status_code == 429
    assert response.json() == {"error": RateLimitedError("Slow down.", feature="conv_folder").as_dict()}


async def test_a_database_that_is_busy_is_worth_another_try(app: FastAPI, connect: Connect) -> None:
    answer = await connect(app).get("/locked")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "storage_unavailable"
    assert "locked" not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DatabaseError(None, None, sqlite3.DatabaseError("database disk image is malformed")), 503),
        (TimeoutError("QueuePool limit"), 503),
        (IntegrityError(None, None, sqlite3.IntegrityError("UNIQUE")), 500),
        (ProgrammingError(None, None, sqlite3.ProgrammingError("no such column")), 500),
    ],
)
def test_a_database_that_cannot_be_used_is_no_fault_of_what_was_asked(
    error: SQLAlchemyError, status: int
) -> None:
    assert errors.describe_error(error).status == status


def _wanted(kind: type[LLMError]) -> list[Any]:
    """Something for each argument that it has to be given."""
    parameters = signature(kind).parameters.values()
    return [
        "x"
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


@pytest.mark.parametrize("kind", all_kinds())
def test_every_llm_error_has_a_status_of_its_own_choice(kind: type[LLMError]) -> None:
    error = (
        kind(retry_after=1)
        if kind in {TooManyKeyChecksError, CreationInProgressError}
        else kind(*_wanted(kind))
    )

    assert errors.describe_error(error).status == kind.http_status


def test_an_unknown_feature_names_the_nearest() -> None:
    problem = errors.describe_error(UnknownFeatureError("conv_folde", ["conv_folder", "fair_use"]))

    assert (problem.status, problem.error["nearest"]) == (404, ["conv_folder"])


async def test_a_bug_reveals_nothing(app: FastAPI, connect: Connect) -> None:
    response = await connect(app).get("/bug")

    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "the secret" not in response.text


async def test_invalid_input_is_located_and_not_repeated(app: FastAPI, connect: Connect) -> None:
    response = await connect(app).post("/numbers", json=[{"number": 1}, {"number": "sk-secret"}])

    assert response.status_code == 422
    assert response.json()["error"]["problems"][0]["field"] == "body.1.number"
    assert "sk-secret" not in response.text


async def test_of_many_problems_some_are_listed_and_all_are_counted(app: FastAPI, connect: Connect) -> None:
    error = (await connect(app).post("/numbers", json=[{}] * 5_000)).json()["error"]

    assert len(error["problems"]) == errors.PROBLEMS_SHOWN
    assert error["message"].endswith("(4999 more)")


async def test_invalid_json_is_called_that(app: FastAPI, connect: Connect) -> None:
    response = await connect(app).post(
        "/numbers", content='[{"number": sk-secret', headers={"content-type": "application/json"}
    )

    assert response.status_code == 422
    assert "not valid JSON at character 12" in response.json()["error"]["message"]
    assert "sk-secret" not in response.text


async def test_a_path_that_does_not_exist_is_answered_in_the_same_shape(
    app: FastAPI, connect: Connect
) -> None:
    response = await connect(app).get("/nowhere")

    assert response.json() == {"error": {"code": "not_found", "message": "Not Found"}}
