"""What a wire takes can be asked of every provider, whole and as a stream, and what is left out is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from backend.tests.fakes.keys import keychain
from backend.tests.fakes.services import ANN, services
from backend.tests.unit.wires import chat_parameters, responses_parameters
from backend.tests.unit.wires.anthropic import messages_parameters
from backend.utils.llm.testing import Text
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx2

    from backend.tests.unit.wires.parameters import Row
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Connect

FEATURES = {
    "openai": "openai:gpt-6-luna",
    "anthropic": "anthropic:claude-sonnet-5-5",
    "gemini": "gemini:gemini-3.5-flash",
}


class Table(NamedTuple):
    """The rows of a wire, and the fields that all its requests need."""

    rows: Sequence[Row]
    necessary: dict[str, Any]


TABLES = {
    "/v1/chat/completions": Table(chat_parameters.ROWS, chat_parameters.NECESSARY),
    "/v1/responses": Table(responses_parameters.ROWS, responses_parameters.NECESSARY),
    "/v1/messages": Table(messages_parameters.ROWS, messages_parameters.NECESSARY),
}


@pytest.fixture
async def client(connect: Connect, provider: LoopbackProvider) -> AsyncIterator[httpx2.AsyncClient]:
    patchbay = loopback_patchbay(provider, FEATURES)
    made = connect(replace(services(), facade=patchbay, keychain=keychain({})))
    made.headers.update(ANN)
    yield made
    await patchbay.aclose()


@pytest.mark.parametrize("model", FEATURES)
@pytest.mark.parametrize("path", TABLES)
async def test_every_provider_is_asked_what_a_wire_takes(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str, model: str
) -> None:
    rows, necessary = TABLES[path]
    provider.always(Text("{}"))
    for number, row in enumerate(rows):
        streams = {} if "stream" in row.more or row.fate == "refused" else {"stream": number % 2 == 1}

        answer = await client.post(path, json={**necessary, **row.more, "model": model, **streams})

        statuses = {"refused": {400}, "served": {200, 422}}  # 422: no endpoint of the route takes it
        assert answer.status_code in statuses.get(row.fate, {200}), (row, answer.text)
        if row.fate == "left out":
            assert set(row.told) <= set(answer.headers["x-patchbay-ignored"].split(", ")), row
