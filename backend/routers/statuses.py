"""Adds to the OpenAPI document which HTTP statuses each operation may respond with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MEANINGS: Final[Mapping[int, str]] = {
    400: "Something in the request is wrong.",
    401: "There is no token, or it is none that holds.",
    403: "It is not allowed to whom the token is of.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It does not go with what is there.",
    410: "It is over.",
    413: "There is too much in the body.",
    415: "The body is not JSON, or packed in an unknown way.",
    422: "The request is not valid, or nothing can serve it.",
    429: "It is too much for now.",
    502: "A provider failed.",
    503: "Something that this needs is away, or the server stops.",
    504: "A provider was too slow.",
}
_GUARDED: Final = (400, 401, 403, 503)
_NAMED: Final = (404, 422)
"""Of what names something in its path."""
_WITH_BODY: Final = (404, 408, 409, 413, 415, 422)
_OF_PROVIDERS: Final = (404, 409, 410, 413, 422, 429, 502, 504)
_ASKING: Final = (
    *("/v1/agents", "/v1/chat", "/v1/complete", "/v1/confirmations", "/v1/conversations", "/v1/keys"),
    *("/v1/messages", "/v1/responses", "/v1/runs"),
)
"""How the paths begin of what asks a provider, if it is not merely read."""
OPEN: Final = frozenset({"/healthz", "/readyz"})
"""The paths that need no token."""
_WIRES: Final = frozenset({"/v1/chat/completions", "/v1/messages", "/v1/responses"})
"""What answers either whole or as events."""
_ANY: Final[Mapping[str, Any]] = {"schema": {}}


def document_response_statuses(
    path: str, method: str, operation: dict[str, Any], error_schema: Mapping[str, Any]
) -> None:
    """Add to the OpenAPI ``operation`` a response for each HTTP status that it may respond with.

    Args:
        path: The path template of the operation.
        method: The HTTP method, in lower case.
        operation: The operation of the OpenAPI document, changed in place.
        error_schema: The JSON schema of error responses.
    """
    answers = operation["responses"]
    for status in sorted(set(_statuses(path, method, operation))):
        response = {
            "description": _MEANINGS[status],
            "content": {"application/json": {"schema": error_schema}},
        }
        answers.setdefault(str(status), response)
        if str(status) == "422":  # FastAPI's own is of another shape
            answers["422"] = response
    if path in _WIRES:
        answers["200"]["content"] = {"application/json": _ANY, "text/event-stream": _ANY}


def _statuses(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    if path in OPEN:
        yield from (503,) if path == "/readyz" else ()
        return
    yield from _GUARDED
    parameters = operation.get("parameters", ())
    if parameters:
        yield 422
    if any(parameter["in"] == "path" for parameter in parameters):
        yield from _NAMED
    if "requestBody" in operation:
        yield from _WITH_BODY
    if method != "get" and path.startswith(_ASKING):
        yield from _OF_PROVIDERS
