"""A chat goes on from one API to the other and back: every request keeps the rules, and has all that was said."""

from __future__ import annotations

import json
from itertools import cycle, permutations
from typing import TYPE_CHECKING, Any, Final

import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

from backend.tests.fakes.strict_histories import StrictProvider
from backend.utils.llm.testing import LoopbackProvider, Raw
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage, BaseMessage

    from backend.utils.llm.patchbay import Patchbay

TURNS: Final = 20
ENDPOINTS: Final = {
    "gemini": "gemini:gemini-3.8-flash",
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-sol",
    "anthropic": "anthropic:claude-sonnet-5-5",
}
MORE: Final = '[models."openai:gpt-6.1-sol"]\napi_mode = "responses"\n'
SECRETS: Final = {
    "gemini": "c2lnbmVkLWJ5LWdlbWluaQ==",
    "responses": "ZW5jcnlwdGVkLWJ5LW9wZW5haQ==",
    "anthropic": "c2lnbmVkLWJ5LWNsYXVkZQ==",
}
"""What each wants back of its thoughts, and nobody else can read."""
TOOL: Final = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"n": {"type": "string"}}}},
}


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    with StrictProvider() as provider:
        yield provider


@pytest.fixture
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, ENDPOINTS, MORE)
    yield made
    made.close()


def calls(api: str, number: int) -> Raw:
    """Thoughts, and the call of a tool, in the words of ``api``."""
    arguments = {"n": f"ASKED{number}"}
    match api:
        case "gemini":
            thought = {"text": "hm", "thought": True}
            called = {
                "functionCall": {"name": "look", "args": arguments},
                "thoughtSignature": SECRETS["gemini"],
            }
            return gemini([thought, called])
        case "chat":
            function = {"name": "look", "arguments": json.dumps(arguments)}
            call = {"id": f"call_{number}", "type": "function", "function": function}
            return chat({"content": None, "reasoning_content": "hm", "tool_calls": [call]}, "tool_calls")
        case "anthropic":
            thought = {"type": "thinking", "thinking": "hm", "signature": SECRETS["anthropic"]}
            used = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": arguments}
            return anthropic([thought, used], "tool_use")
        case _:
            thought = {
                "type": "reasoning",
                "id": f"rs_{number}",
                "summary": [],
                "encrypted_content": SECRETS["responses"],
            }
            call = {
                "type": "function_call",
                "call_id": f"call_{number}",
                "name": "look",
                "arguments": json.dumps(arguments),
            }
            return responses([thought, call])


def answers(api: str, text: str) -> Raw:
    """An answer in the words of ``api``."""
    match api:
        case "gemini":
            return gemini([{"text": text}])
        case "chat":
            return chat({"content": text}, "stop")
        case "anthropic":
            return anthropic([{"type": "text", "text": text}], "end_turn")
        case _:
            return responses(
                [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
            )


def gemini(parts: list[Any]) -> Raw:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    return Raw(200, json.dumps({"candidates": [candidate]}))


def anthropic(content: list[Any], reason: str) -> Raw:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5"}
    return Raw(200, json.dumps({**message, "content": content, "stop_reason": reason, "usage": usage}))


def chat(message: dict[str, Any], reason: str) -> Raw:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return Raw(200, json.dumps({"id": "c", "model": "gpt-6-luna", "choices": [choice]}))


def responses(output: list[Any]) -> Raw:
    return Raw(200, json.dumps({"id": "resp_1", "status": "completed", "output": output}))


def order_of(names: tuple[str, ...], *, in_the_middle: bool) -> Iterator[str]:
    """Who is asked, request by request; each turn takes two."""
    for name in cycle(names):
        yield name
        if not in_the_middle:
            yield name


EVERY: Final = [*permutations(ENDPOINTS)]
ORDERS: Final = {
    **{f"{'-'.join(names)} in the middle of turns": (names, True) for names in EVERY},
    **{f"{'-'.join(names)} turn by turn": (names, False) for names in EVERY if names[0] == "gemini"},
}


@pytest.mark.parametrize(("names", "in_the_middle"), ORDERS.values(), ids=ORDERS)
def test_a_chat_over_several_apis_keeps_the_rules_of_each_and_loses_nothing(
    patchbay: Patchbay, provider: LoopbackProvider, names: tuple[str, ...], *, in_the_middle: bool
) -> None:
    order = order_of(names, in_the_middle=in_the_middle)
    history: list[BaseMessage] = [SystemMessage("BRIEF")]
    said = ["BRIEF"]

    def ask(api: str, reply: Raw) -> AIMessage:
        provider.script(reply)
        found = patchbay.get_llm(api).bind(tools=[TOOL]).invoke(history)
        body = json.dumps(provider.requests[-1].body)
        assert [word for word in said if word not in body] == []
        others = {name: secret for name, secret in SECRETS.items() if name != api}
        assert [name for name, secret in others.items() if secret in body] == []
        return found

    for turn in range(TURNS):
        history.append(HumanMessage(f"SAID{turn}"))
        said.append(f"SAID{turn}")
        api = next(order)
        called = ask(api, calls(api, turn))
        (call,) = called.tool_calls
        history += [called, ToolMessage(f"GAVE{turn}", tool_call_id=call["id"], name="look")]
        said += [f"ASKED{turn}", f"GAVE{turn}"]
        second = next(order)
        history.append(ask(second, answers(second, f"TOLD{turn}")))
        said.append(f"TOLD{turn}")
        if second == api and api in SECRETS:
            assert SECRETS[api] in json.dumps(provider.requests[-1].body)

    assert len(provider.requests) == 2 * TURNS
