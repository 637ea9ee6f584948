"""Whatever a client sends, a wire reads it or refuses it; and what was read can be asked of every provider."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.unit.wires.client_requests import requests_of
from backend.utils.llm.bindings import parse_call_kwargs, parse_stop_sequences
from backend.utils.llm.needs import prepare_history_and_needs
from backend.utils.llm.options import NO_OPTIONS
from backend.utils.llm.providers import CallSettings
from backend.wires.anthropic.messages import MessagesWire
from backend.wires.complete import NativeCompletionWire
from backend.wires.faults import RequestFault, RequestFaultError
from backend.wires.features import make_call_kwargs
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.responses import ResponsesWire
from backend.wires.request import CompletionRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.wires.wire import Wire

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks up.",
        "parameters": {"type": "object"},
        "strict": True,
    },
}
CHAT: dict[str, Any] = {
    "model": "chat",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "Ann",
            "content": [
                {"type": "text", "text": "Hi"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORw0K", "detail": "low"},
                },
                {"type": "input_audio", "input_audio": {"data": "UklGR", "format": "wav"}},
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,JVBERi", "filename": "a.pdf"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c0", "type": "function", "function": {"name": "look_up", "arguments": '{"a":1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": [{"type": "text", "text": "x"}]},
        {"role": "function", "name": "old", "content": "x"},
    ],
    "tools": [TOOL, {"type": "web_search"}],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look_up"}}]},
    },
    "parallel_tool_calls": True,
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "a",
            "schema": {"type": "object", "properties": {"b": {"type": "string"}}},
            "strict": True,
        },
    },
    "temperature": 0.5,
    "top_p": 0.5,
    "seed": 7,
    "max_tokens": 100,
    "reasoning_effort": "low",
    "verbosity": "low",
    "logprobs": True,
    "top_logprobs": 2,
    "stop": ["x"],
    "n": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
    "prompt_cache_key": "k",
    "metadata": {"a": "b"},
    "logit_bias": {"1": 2},
}
RESPONSES = {
    **requests_of("codex-gpt-6-luna")[1].body,
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "look_up", "namespace": None}],
    },
    "tools": [{"type": "function", "name": "look_up"}, {"type": "web_search"}],
}
MESSAGES = requests_of("anthropic-python")[1].body
PLAIN = {name: value for name, value in CHAT.items() if name != "model"} | {
    "model_group": "fast",
    "tenant_id": "t",
}
WIRES: dict[str, tuple[Wire, Any]] = {
    "chat": (ChatWire(), CHAT),
    "responses": (ResponsesWire(), RESPONSES),
    "messages": (MessagesWire(), MESSAGES),
    "plain": (NativeCompletionWire(), PLAIN),
}
LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 10**18) | st.floats(allow_nan=False) | st.text(max_size=4)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "name", "role", "content", "function", "x"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within ``value``."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, member in members:
        yield (*path, name)
        yield from places(member, (*path, name))


PLACES = {name: list(places(body)) for name, (_, body) in WIRES.items()}


def spoilt(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """``body`` with ``value`` at a place."""
    made = copy.deepcopy(body)
    within = made
    for name in path[:-1]:
        within = within[name]
    within[path[-1]] = value
    return made


def read_or_fault(wire: Wire, body: Any) -> CompletionRequest | RequestFault:
    """The request that ``body`` is, or why it is none."""
    try:
        return wire.parse_request(body).request
    except RequestFaultError as error:
        return error.fault


@pytest.mark.parametrize("name", WIRES)
def test_as_it_is_it_is_read(name: str) -> None:
    wire, body = WIRES[name]

    assert isinstance(read_or_fault(wire, body), CompletionRequest)


@pytest.mark.parametrize("kind", [[], {}, 1, None])
@pytest.mark.parametrize("name", ["chat", "responses", "plain"])
def test_a_type_that_is_no_text_is_refused(name: str, kind: object) -> None:
    wire, body = WIRES[name]
    choice = body["tool_choice"]
    allowed = choice.get("allowed_tools", choice)["tools"]

    for path in (("type",), (*(("allowed_tools",) if "allowed_tools" in choice else ()), "tools", 0, "type")):
        found = read_or_fault(wire, spoilt(body, ("tool_choice", *path), kind))

        assert allowed
        assert isinstance(found, RequestFault | CompletionRequest)


@pytest.mark.parametrize("name", WIRES)
@given(data=st.data())
def test_whatever_stands_anywhere_is_read_or_refused(name: str, data: st.DataObject) -> None:
    wire, body = WIRES[name]
    changed = spoilt(body, data.draw(st.sampled_from(PLACES[name])), data.draw(VALUES))

    found = read_or_fault(wire, changed)

    if isinstance(found, RequestFault):
        assert 400 <= found.status < 500
        return
    settings = make_call_kwargs(found, found.options, found.id)
    parse_stop_sequences(settings.pop("stop", []))
    prepare_history_and_needs(found.messages, parse_call_kwargs(settings, "chat", CallSettings(NO_OPTIONS)))
