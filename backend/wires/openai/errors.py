"""Translates errors into the form of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..faults import RequestFault

_CODES: Final = {
    "unknown_feature": "model_not_found",
    "context_too_long": "context_length_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "quota_exceeded": "insufficient_quota",
    "unauthorized": "invalid_api_key",
    "refused": "content_policy_violation",
}
"""What clients of OpenAI's look for; every other code stays as it is."""
_STATUSES: Final = {"context_too_long": 400, "refused": 400}
"""With which they look for it."""
_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_FIRST_OF_THE_SERVER: Final = 500


def to_openai_error(fault: RequestFault) -> tuple[int, dict[str, Any]]:
    """Translate ``fault`` into an HTTP status, and the value of ``error`` in OpenAI's JSON for errors."""
    status = _STATUSES.get(fault.code, fault.status)
    return status, {
        "message": fault.message,
        "type": error_type(fault, status),
        "param": fault.param,
        "code": _CODES.get(fault.code, fault.code),
    }


def error_type(fault: RequestFault, status: int) -> str:
    """Get the ``type`` that OpenAI's API gives to an error with this code or HTTP status."""
    if fault.code == "quota_exceeded":
        return "insufficient_quota"
    other = "server_error" if status >= _FIRST_OF_THE_SERVER else "invalid_request_error"
    return _TYPES.get(status, other)
