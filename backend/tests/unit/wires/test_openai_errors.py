"""Faults have the statuses, types and codes that clients of OpenAI's look for."""

from __future__ import annotations

import pytest

from backend.wires.faults import RequestFault
from backend.wires.openai.errors import to_openai_error


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (RequestFault(404, "unknown_feature", ""), 404, "invalid_request_error", "model_not_found"),
        (RequestFault(413, "context_too_long", ""), 400, "invalid_request_error", "context_length_exceeded"),
        (RequestFault(429, "rate_limited", ""), 429, "rate_limit_error", "rate_limit_exceeded"),
        (RequestFault(429, "quota_exceeded", ""), 429, "insufficient_quota", "insufficient_quota"),
        (RequestFault(401, "unauthorized", ""), 401, "authentication_error", "invalid_api_key"),
        (RequestFault(403, "credential_missing", ""), 403, "permission_error", "credential_missing"),
        (RequestFault(422, "refused", ""), 400, "invalid_request_error", "content_policy_violation"),
        (RequestFault(502, "provider_down", ""), 502, "server_error", "provider_down"),
        (RequestFault(500, "internal_error", ""), 500, "server_error", "internal_error"),
    ],
    ids=lambda one: one.code if isinstance(one, RequestFault) else "",
)
def test_a_fault_is_said_in_openais_words(fault: RequestFault, status: int, kind: str, code: str) -> None:
    said_status, error = to_openai_error(fault)

    assert (said_status, error["type"], error["code"]) == (status, kind, code)
    assert error.keys() == {"message", "type", "param", "code"}
