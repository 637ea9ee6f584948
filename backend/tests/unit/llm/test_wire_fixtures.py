"""Every answer that is known of a provider, through the real transport, whole and streamed, in both drivers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool

from backend.tests.fakes.strangers import Stranger, running
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.errors import CallError, LLMError
from backend.utils.llm.testing.patchbays import HOUSE_KEYS
from backend.utils.llm.testing.virtual_time import VirtualTime

from .drivers import STREAMS
from .samples import receipt
from .wire_fixtures import ALL, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import AIMessage

    from backend.utils.llm.receipt import AttemptDict

    Driver = Callable[[Any, Any], AIMessage]

TABLE = """
[providers.chat]
api = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "LOOPBACK_OPENAI_KEY"
[providers.responses]
api = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "LOOPBACK_OPENAI_KEY"
[providers.gemini]
api = "gemini"
base_url = "http://127.0.0.1:{port}"
api_key_env = "LOOPBACK_OPENAI_KEY"
[providers.anthropic]
api = "anthropic"
base_url = "http://127.0.0.1:{port}"
api_key_env = "LOOPBACK_OPENAI_KEY"
[models."responses:asked"]
api_mode = "responses"
[profiles.premium]
chat = "chat:asked"
responses = "responses:asked"
gemini = "gemini:asked"
anthropic = "anthropic:asked"
[profiles.byok]
extends = "premium"
[features.chat]
attempts = 1
[features.responses]
attempts = 1
[features.gemini]
attempts = 1
[features.anthropic]
attempts = 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Stranger]:
    with running(Stranger()) as server:
        yield server


@pytest.fixture(scope="module")
def table(server: Stranger) -> Table:
    """A feature for each API."""
    return Table(text=TABLE.format(port=server.port), environ=HOUSE_KEYS)


@pytest.fixture
def patchbay(table: Table) -> Iterator[Patchbay]:
    """One of each test's own, because some answers open breakers."""
    patchbay = Patchbay(table, time=VirtualTime().time)
    yield patchbay
    patchbay.close()


def look(city: str = "") -> str:
    """Look at a city."""
    return city


TOOL = convert_to_openai_tool(look)


@pytest.mark.parametrize("row", ALL, ids=[row.name for row in ALL])
def test_what_is_sent_is_what_is_given(row: Row, patchbay: Patchbay, server: Stranger, call: Driver) -> None:
    headers, body = row.reply(streams=call in STREAMS)
    server.reply = 200, headers, [body]
    gives = row.stream_gives if call in STREAMS else row.gives
    model = patchbay.get_llm(row.api).bind_tools([TOOL])

    if gives.category is None:
        answer = call(model, "hi")
        (attempt,) = receipt(answer)["attempts"]
        assert_is(answer, attempt, gives)
    else:
        with pytest.raises(LLMError) as caught:
            call(model, "hi")
        told = caught.value.attempts[0]
        assert told.category == gives.category
        has_answer = isinstance(caught.value, CallError) and caught.value.answer is not None
        if gives.usage is not None and has_answer:
            assert tokens(told.as_dict()) == padded(gives.usage)


def assert_is(answer: AIMessage, attempt: AttemptDict, gives: Any) -> None:
    assert answer.text == gives.text
    assert answer.additional_kwargs.get("reasoning_content", "") == gives.thoughts
    assert [[call["name"], call["args"]] for call in answer.tool_calls] == gives.calls
    assert answer.response_metadata.get("finish_reason") == gives.finish
    assert attempt["estimated"] is (gives.usage is None)
    if gives.usage is not None:
        assert tokens(attempt) == padded(gives.usage)
    numbers = Counter(call["id"] for call in answer.tool_calls)
    assert all(number and often == 1 for number, often in numbers.items())


def tokens(attempt: AttemptDict) -> list[int]:
    usage = attempt["usage"]
    assert usage is not None
    return [usage["input"], usage["output"], usage["cached"], usage["cache_write"], usage["reasoning"]]


def padded(told: list[int]) -> list[int]:
    return [*told, *[0] * (5 - len(told))]
