"""Error responses: JSON of one shape, ``{"error": {"code", "message", ...}}``, without stack trace, secret or input."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from backend.conversations.text import collapse_to_one_line
from backend.database.faults import is_database_unavailable
from backend.ledger.store import StoreUnreachableError
from backend.utils.llm.errors import LLMError, UnknownFeatureError

from .bodies import AuthenticationUnavailableError
from .json_model import InvalidBodyError

log = logging.getLogger(__name__)

PROBLEMS_SHOWN: Final = 20
LONGEST_NAME: Final = 64
"""The most characters of a field's name that are shown."""
_CODES: Final = {413: "content_too_large", 422: "invalid_request"}
"""Where Python's name for a status is another in each version."""
_MESSAGES_OF_FAULTS: Final = {"unexpected_keyword_argument": "Extra inputs are not permitted"}
"""Where pydantic speaks of Python and not of JSON."""

BUSY: Final[dict[str, Any]] = {
    "code": "storage_unavailable",
    "message": "What is stored cannot be had now. Try again.",
}
INTERNAL: Final[Mapping[str, Any]] = {
    "code": "internal_error",
    "message": "Something went wrong here. The log of the server knows more.",
}


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """What a client is told about an error: the HTTP status, the JSON object and further headers."""

    status: int
    error: Mapping[str, Any]
    headers: Mapping[str, str] | None = None


def install_error_handlers(app: FastAPI) -> None:
    """Make `respond_to_error` the handler of every exception in ``app``."""
    for kind in (LLMError, RequestValidationError, HTTPException, SQLAlchemyError, Exception):
        app.add_exception_handler(kind, respond_to_error)


async def respond_to_error(_: Request, error: Exception) -> JSONResponse:
    """Turn any exception into the JSON error response for the client. An exception handler of FastAPI."""
    problem = describe_error(error)
    return JSONResponse({"error": problem.error}, problem.status, problem.headers)


def _what_was_raised(error: Exception) -> Exception:
    cause = error.__cause__ if isinstance(error, AuthenticationUnavailableError) else None
    return cause if isinstance(cause, Exception) else error


def describe_error(error: Exception) -> ErrorDescription:
    """Describe ``error`` for the client.

    An unexpected exception is described only as an internal error, because its text may hold secrets; it is
    logged.
    """
    error = _what_was_raised(error)
    if isinstance(error, UnknownFeatureError):
        return ErrorDescription(error.http_status, error.as_dict() | {"nearest": list(error.nearest)})
    if isinstance(error, LLMError):
        return ErrorDescription(error.http_status, error.as_dict(), _retry_after(error))
    if isinstance(error, RequestValidationError | InvalidBodyError):
        return _invalid(error.errors())
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
        return ErrorDescription(error.status_code, {"code": code, "message": error.detail}, error.headers)
    if isinstance(error, StoreUnreachableError) or is_database_unavailable(error):
        log.error("http.storage_unavailable", exc_info=error)
        return ErrorDescription(503, BUSY, {"Retry-After": "1"})
    log.error("http.internal_error", exc_info=error)
    return ErrorDescription(500, INTERNAL)


def _retry_after(error: LLMError) -> Mapping[str, str] | None:
    return None if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}


def _invalid(found: Sequence[Mapping[str, Any]]) -> ErrorDescription:
    """The place and reason of each fault, without the input, which may be a secret and which pydantic's own list repeats."""
    problems = [_place_and_reason(problem) for problem in found[:PROBLEMS_SHOWN]]
    first = f"{problems[0]['field']}: {problems[0]['message']}" if problems else "The request is not valid."
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return ErrorDescription(422, {"code": "invalid_request", "message": first + more, "problems": problems})


def _place_and_reason(problem: Mapping[str, Any]) -> dict[str, str]:
    if problem["type"] == "json_invalid":
        return {
            "field": "body",
            "message": f"is not valid JSON{_where(problem['loc'])}: {problem['ctx']['error']}",
        }
    message = _MESSAGES_OF_FAULTS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    return {"field": _field(problem["loc"]), "message": message}


def _where(loc: Sequence[str | int]) -> str:
    """The character at which JSON is invalid, in words; empty for other faults."""
    return f" at character {loc[-1]}" if isinstance(loc[-1], int) else ""


def _field(loc: Sequence[str | int]) -> str:
    """The path of the field, each name cut, because an unknown name may be as long as the body."""
    return ".".join(collapse_to_one_line(str(name)[:LONGEST_NAME]) for name in loc)
