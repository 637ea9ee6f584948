"""Tools have the names that a client gave them, also where a provider would refuse such names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.testing import LoopbackProvider, ToolCalls
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.wires.anthropic.messages import MessagesWire
from backend.wires.faults import InvalidRequestError
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.responses import ResponsesWire
from backend.wires.responders import ResponderRegistry
from backend.wires.tool_names import ToolNameReplacer
from backend.wires.wire import encode_event_stream

from .streams import read_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backend.wires.wire import Wire

FEATURES = {
    "openai": "openai:gpt-6-luna",
    "anthropic": "anthropic:claude-sonnet-5-5",
    "gemini": "gemini:gemini-3.5-flash",
}
DOTS, LONG = "server.look.up", f"mcp__{'long_' * 20}look_up"
SENT = {DOTS: "server_look_up", LONG: ToolNameReplacer([LONG])._sent[LONG]}
HELLO = {"role": "user", "content": "Hello?"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


def chat(name: str) -> dict[str, Any]:
    call = {"id": "c0", "type": "function", "function": {"name": name, "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c0", "content": "grey"}
    return {
        "messages": [HELLO, {"role": "assistant", "tool_calls": [call]}, result],
        "tools": [{"type": "function", "function": {"name": name, "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": name}},
    }


def responses(name: str) -> dict[str, Any]:
    call = {"type": "function_call", "call_id": "c0", "name": name, "arguments": "{}"}
    return {
        "input": [HELLO, call, {"type": "function_call_output", "call_id": "c0", "output": "grey"}],
        "tools": [{"type": "function", "name": name, "parameters": SCHEMA}],
        "tool_choice": {"type": "function", "name": name},
    }


def messages(name: str) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "c0", "name": name, "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c0", "content": "grey"}
    return {
        "max_tokens": 100,
        "messages": [HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
        "tools": [{"name": name, "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": name},
    }


WIRES: dict[str, tuple[Wire, Any]] = {
    "chat": (ChatWire(), chat),
    "responses": (ResponsesWire(), responses),
    "messages": (MessagesWire(), messages),
}


@pytest.fixture
async def responders(provider: LoopbackProvider) -> AsyncIterator[ResponderRegistry]:
    patchbay = loopback_patchbay(provider, FEATURES)
    yield ResponderRegistry(patchbay)
    await patchbay.aclose()


@pytest.mark.parametrize("name", [DOTS, LONG], ids=["dots", "long"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("model", FEATURES)
async def test_a_provider_gets_names_that_it_accepts_and_the_client_its_own(
    responders: ResponderRegistry, provider: LoopbackProvider, model: str, wire: str, name: str
) -> None:
    provider.always(ToolCalls(((SENT[name], {}),)))
    speaker, body = WIRES[wire]
    exchange = speaker.parse_request({"model": model, **body(name)})
    responder = responders.find_responder(model)

    whole = exchange.make_response_body(await responder.answer(exchange.request))
    pieces = [
        piece
        async for piece in encode_event_stream(
            responder.stream(exchange.request), exchange.make_event_writer()
        )
    ]

    for request in provider.requests:
        sent = json.dumps(request.body)
        assert name not in sent
        assert sent.count(SENT[name]) >= 3  # the tool, the choice, the call
    for told in (whole, read_events(b"".join(pieces))):
        assert name in json.dumps(told)
        assert SENT[name] not in json.dumps(told)


def test_names_that_all_accept_stay_as_they_are() -> None:
    assert not ToolNameReplacer(["look_up", "_x-1", "A" * 64])


@pytest.mark.parametrize("first", [True, False])
def test_a_name_that_looks_like_a_hashed_one_stays_its_tools_own(*, first: bool) -> None:
    names = [SENT[LONG], LONG] if first else [LONG, SENT[LONG]]

    found = ToolNameReplacer(names)

    assert found._sent[LONG] != SENT[LONG]
    assert found._client_name(SENT[LONG]) == SENT[LONG]
    assert found._client_name(found._sent[LONG]) == LONG


@pytest.mark.parametrize("wire", WIRES)
def test_two_tools_of_one_name_are_refused(wire: str) -> None:
    speaker, body = WIRES[wire]
    asked = body("look_up")

    with pytest.raises(InvalidRequestError, match="Two tools are called 'look_up'") as caught:
        speaker.parse_request({"model": "openai", **asked, "tools": asked["tools"] * 2})

    assert caught.value.fault.param == "tools"


@given(st.lists(st.text(min_size=1, max_size=130), max_size=6, unique=True))
def test_all_names_are_accepted_and_differ(names: list[str]) -> None:
    found = ToolNameReplacer(names)

    sent = [found._sent.get(name, name) for name in names]

    assert len(set(sent)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in sent)
    assert [found._client_name(name) for name in sent] == names
