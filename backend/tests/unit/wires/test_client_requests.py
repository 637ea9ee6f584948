"""The recorded requests of clients are what they should be."""

from __future__ import annotations

import json
import re

import pytest

from backend.tests.unit.wires.client_requests import CLIENTS, requests_of

PATHS = {"/v1/chat/completions", "/v1/responses", "/v1/messages"}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_recorded_round_is_a_question_and_a_tools_result(client: str) -> None:
    asked, answered = requests_of(client)

    assert asked.path == answered.path
    assert asked.path in PATHS
    assert "the patchbay is grey" not in json.dumps(asked.body)
    assert "the patchbay is grey" in json.dumps(answered.body)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_recorded_request_holds_no_key_and_nothing_of_a_machine(client: str) -> None:
    for request in requests_of(client):
        kept = json.dumps([request.headers, request.body])
        identifiers = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{40,}", kept)

        assert request.headers.get("authorization", "***") == "***"
        assert request.headers.get("x-api-key", "***") == "***"
        assert "/tmp/" not in kept  # noqa: S108 - looked for, not used
        assert all(set(identifier) <= set("078-") for identifier in identifiers)
