"""Errors in the form of Anthropic's Messages API: https://platform.claude.com/docs/en/api/errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..faults import RequestFault

_KINDS: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TOO_LONG: Final = "context_too_long"


def to_anthropic_error(fault: RequestFault, request_id: str | None = None) -> tuple[int, dict[str, Any]]:
    """Translate ``fault`` into an HTTP status and Anthropic's JSON for errors.

    The JSON is the body of an error response, or the data of the event that ends a stream.
    """
    status, message = fault.status, fault.message
    if fault.code == _TOO_LONG:  # by these words clients know that they have to sum up
        status, message = HTTPStatus.BAD_REQUEST, f"prompt is too long: {message}"
    otherwise = "api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    error = {"type": _KINDS.get(status, otherwise), "message": message}
    return status, {"type": "error", "error": error, "request_id": request_id}
