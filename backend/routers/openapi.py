"""The OpenAPI document of the HTTP API, and a page that shows it to users of the API."""

import asyncio
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from typing_extensions import override

from .dependencies import OwnerDep
from .logins import COOKIE
from .rendering import PRIVATE, PageRoute, render_page_or_json
from .statuses import OPEN, document_response_statuses

_ERROR: Final = "Error"
_OF_FASTAPI: Final = ("HTTPValidationError", "ValidationError")
"""The shapes of errors that FastAPI assumes; ours is another."""
_SCHEMES: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, as `python -m backend tokens make NAME` prints one.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Of a browser that is logged in.",
    },
}
_SHAPE: Final = {
    "type": "object",
    "description": "Every error of the server.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "code": {"type": "string", "description": "For programs, such as `invalid_request`."},
                "message": {"type": "string", "description": "For people. It holds no secret."},
                "problems": {
                    "type": "array",
                    "description": "Of a request that is not valid: each place, and what is wrong there; or a sentence that says both.",
                    "items": {
                        "type": ["object", "string"],
                        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
            },
        }
    },
}
_ERRORS: Final = {"$ref": f"#/components/schemas/{_ERROR}"}

router: Final = APIRouter(include_in_schema=False)


class ApiOperation(NamedTuple):
    """An operation of the HTTP API (a method of a path), as the page about the API shows it.

    Attributes:
        method: The HTTP method, in capitals.
        path: The path template.
        summary: The first paragraph of its description.
        details: The rest of its description; may be empty.
        parameters: The names of its parameters; optional ones end with ``?``.
        body: The name of the schema of its request body, ``JSON`` if the schema has no name; None without a
            body.
        statuses: The HTTP statuses of its responses.
    """

    method: str
    path: str
    summary: str
    details: str
    parameters: tuple[str, ...]
    body: str | None
    statuses: tuple[str, ...]


class DocumentedFastAPI(FastAPI):
    """A `FastAPI` application whose OpenAPI document also describes authentication and error responses."""

    _completed: dict[str, Any] | None = None

    @override
    def openapi(self) -> dict[str, Any]:
        if self._completed is None:
            # A copy: what FastAPI keeps is seen by other threads while it is completed.
            self._completed = _completed(deepcopy(super().openapi()))
        return self._completed


@router.get("/openapi.json")
async def read_openapi_document(request: Request, _: OwnerDep) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(await asyncio.to_thread(request.app.openapi), headers=PRIVATE)


pages: Final = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)


@pages.get("/docs")
async def show_api_docs_page(request: Request, owner: OwnerDep) -> Response:
    """Show the OpenAPI document as a page. The page loads nothing from other sites."""
    document = await asyncio.to_thread(request.app.openapi)
    return await render_page_or_json(
        request, "docs", {"operations": list(list_operations(document))}, user=owner.user_id
    )


router.include_router(pages)


def list_operations(document: Mapping[str, Any]) -> Iterator[ApiOperation]:
    """List the operations of an OpenAPI document, in the document's order."""
    for path, method, operation in _each(document):
        parameters = tuple(
            f"{item['name']}{'' if item['required'] else '?'}" for item in operation.get("parameters", ())
        )
        yield ApiOperation(
            method.upper(),
            path,
            operation["summary"],
            operation.get("description", "").partition("\n\n")[2],
            parameters,
            _schema_of(operation.get("requestBody", {})),
            tuple(operation["responses"]),
        )


def _schema_of(body: Mapping[str, Any]) -> str | None:
    for content in body.get("content", {}).values():
        named = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        return named or "JSON"
    return None


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SCHEMES
    schemas = components.setdefault("schemas", {})
    for name in _OF_FASTAPI:
        schemas.pop(name, None)
    schemas[_ERROR] = _SHAPE
    document["security"] = [{name: []} for name in _SCHEMES]
    for path, method, operation in _each(document):
        _complete(path, operation)
        document_response_statuses(path, method, operation, _ERRORS)
    return document


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Set the summary of ``operation`` to the first paragraph of its description, and mark the operation as open if it needs no token."""
    described = operation.get("description", "")
    operation["summary"] = described.partition("\n\n")[0].replace("\n", " ") or operation["summary"]
    if path in OPEN:
        operation["security"] = []


def _each(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation
