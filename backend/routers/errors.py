"""Every error as JSON of one shape: ``{"error": {"code", "message", ...}}``. No stack, no secret, no input."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from backend.utils.llm.errors import LLMError, UnknownFeatureError

log = logging.getLogger(__name__)

PROBLEMS_SHOWN: Final = 20

BUSY: Final[dict[str, Any]] = {
    "code": "storage_unavailable",
    "message": "What is stored cannot be had now. Try again.",
}
INTERNAL: Final[Mapping[str, Any]] = {
    "code": "internal_error",
    "message": "Something went wrong here. The log of the server knows more.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it goes over the wire."""

    status: int
    error: Mapping[str, Any]
    headers: Mapping[str, str] | None = None


def install(app: FastAPI) -> None:
    """Let `answer` answer for everything that is raised."""
    for kind in (LLMError, RequestValidationError, HTTPException, OperationalError, Exception):
        app.add_exception_handler(kind, answer)


async def answer(_: Request, error: Exception) -> JSONResponse:
    """The response for ``error``."""
    problem = describe(error)
    return JSONResponse({"error": problem.error}, problem.status, problem.headers)


def describe(error: Exception) -> Problem:
    """What may be told about ``error``; of one that was not foreseen, nothing."""
    if isinstance(error, UnknownFeatureError):
        return Problem(error.http_status, error.as_dict() | {"nearest": list(error.nearest)})
    if isinstance(error, LLMError):
        return Problem(error.http_status, error.as_dict(), _retry_after(error))
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    if isinstance(error, HTTPException):
        code = HTTPStatus(error.status_code).name.lower()
        return Problem(error.status_code, {"code": code, "message": error.detail}, error.headers)
    if isinstance(error, OperationalError):
        log.error("http.storage_unavailable", exc_info=error)
        return Problem(503, BUSY, {"Retry-After": "1"})
    log.error("http.internal_error", exc_info=error)
    return Problem(500, INTERNAL)


def _retry_after(error: LLMError) -> Mapping[str, str] | None:
    return None if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}


def _invalid(found: Sequence[Mapping[str, Any]]) -> Problem:
    """Where and why, never what: pydantic's own list repeats the input, which may be a secret."""
    problems = [_place_and_reason(one) for one in found[:PROBLEMS_SHOWN]]
    first = f"{problems[0]['field']}: {problems[0]['message']}" if problems else "The request is not valid."
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(422, {"code": "invalid_request", "message": first + more, "problems": problems})


def _place_and_reason(one: Mapping[str, Any]) -> dict[str, str]:
    if one["type"] == "json_invalid":
        reason = f"is not valid JSON at character {one['loc'][-1]}: {one['ctx']['error']}"
        return {"field": "body", "message": reason}
    return {"field": ".".join(map(str, one["loc"])), "message": one["msg"].removeprefix("Value error, ")}
