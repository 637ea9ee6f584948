"""The rule-based model: what it says, which tool it calls, and how it reads each wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.utils.llm.testing.gemini_wire import FakeGeminiApi
from backend.utils.llm.testing.openai_wire import FakeOpenAIApi
from backend.utils.llm.testing.replies import Text, ToolCalls
from backend.utils.llm.testing.responder import make_default_reply
from backend.utils.llm.testing.wire import DeclaredTool, ParsedRequest, PromptTurn, estimate_tokens

INTEGER = {"type": "integer"}
STRING = {"type": "string"}
LIST = {"type": "array", "items": STRING, "minItems": 9}


def ask(text: str, **more: Any) -> Text | ToolCalls:
    return make_default_reply(ParsedRequest(turns=(PromptTurn("user", text),), **more))


def tool(name: str, description: str = "", **properties: Any) -> DeclaredTool:
    return DeclaredTool(
        name, description, {"type": "object", "properties": properties, "required": list(properties)}
    )


ADD = tool("add", "Add two integers.", a=INTEGER, b=INTEGER)
WEATHER = tool("get_weather", "Get the weather at a location.", location=STRING)


def test_an_answer_is_short_and_always_the_same() -> None:
    """Two equal prompts get equal answers, and they tell what was heard."""
    assert ask("Hello") == ask("Hello")
    assert "Hello" in ask("Hello").text
    assert make_default_reply(ParsedRequest(turns=())).text


def test_an_answer_stops_before_a_stop_sequence() -> None:
    """The sequence is not part of the answer."""
    whole = ask("Hello").text

    assert ask("Hello", stop=("nowhere", " heard")).text == whole[: whole.index(" heard")]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_an_answer_keeps_to_the_limit_and_says_when_it_was_cut(limit: int) -> None:
    """A limit in tokens makes the reason to finish `length`."""
    answer = ask("Hello", max_tokens=limit)

    assert estimate_tokens(answer.text) <= limit
    assert answer.finish == ("stop" if limit == 1000 else "length")


def test_files_are_mentioned() -> None:
    """What was attached is told, by kind and number."""
    answer = make_default_reply(
        ParsedRequest(turns=(PromptTurn("user", "Look", ("image", "image", "file")),))
    )

    assert "2 image, 1 file" in answer.text


def test_a_tools_result_is_used() -> None:
    """After a tool has answered, the model talks about it, and calls nothing."""
    turns = (
        PromptTurn("user", "What is 1 + 2"),
        PromptTurn("assistant", ""),
        PromptTurn("tool", "3"),
        PromptTurn("tool", "4"),
    )

    assert "3; 4" in make_default_reply(ParsedRequest(turns=turns, tools=(ADD,))).text


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the weather in San Francisco, CA?", ("get_weather", {"location": "San Francisco, CA"})),
        ("What is 3 + 4?", ("add", {"a": 3, "b": 4})),
        ("Please add 5 and -2", ("add", {"a": 5, "b": -2})),
        ("Use get_weather for 'Köln'.", ("get_weather", {"location": "Köln"})),
    ],
)
def test_the_tool_that_fits_is_called_with_what_the_prompt_offers(question: str, expected: Any) -> None:
    """Numbers in order; quotations and names for texts."""
    assert ask(question, tools=(ADD, WEATHER)) == ToolCalls((expected,))


@pytest.mark.parametrize("question", ["Hello!", "Tell me a joke about cats."])
def test_no_tool_is_called_when_none_fits(question: str) -> None:
    """A free choice may be not to call."""
    assert isinstance(ask(question, tools=(ADD, WEATHER)), Text)


def test_a_forced_tool_is_called_whatever_the_prompt() -> None:
    """Arguments are made up where the prompt offers none."""
    assert ask("Hello!", tools=(ADD, WEATHER), forced=("add",)) == ToolCalls((("add", {"a": 1, "b": 1}),))


def test_arguments_are_made_from_the_schema() -> None:
    """The first of an enumeration, no optional ones, nothing for a tool without parameters."""
    unit = {"enum": ["celsius", "kelvin"]}
    schema = {"properties": {"unit": unit, "note": STRING}, "required": ["unit"]}

    assert ask("?", tools=(DeclaredTool("t", "", schema),), forced=("t",)) == ToolCalls(
        (("t", {"unit": "celsius"}),)
    )
    assert ask("?", tools=(DeclaredTool("t", "", {}),), forced=("t",)) == ToolCalls((("t", {}),))


def test_json_mode_uses_the_keys_that_the_prompt_names() -> None:
    """Without a schema, quotations tell what the object should hold."""
    named = ask("Return a JSON with 'setup' and 'punchline' keys.", json_object=True)

    assert set(json.loads(named.text)) == {"setup", "punchline"}
    assert set(json.loads(ask("JSON please", json_object=True).text)) == {"answer"}


def test_json_is_cut_by_the_limit_like_any_text() -> None:
    """Truncated JSON is a thing that clients must survive."""
    answer = ask("?", schema=LIST, max_tokens=5)

    assert (answer.finish, len(answer.text)) == ("length", 20)


def test_both_wires_read_the_same_prompt() -> None:
    """A conversation with tools, a file and limits says the same on either wire."""
    openai = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Add"},
                    {"type": "image_url", "image_url": {"url": "x"}},
                ],
            },
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "content": "3", "tool_call_id": "1"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": INTEGER}}
        ],
        "tool_choice": "required",
        "stop": "x",
        "max_completion_tokens": 7,
        "response_format": {"type": "json_schema", "json_schema": {"schema": STRING}},
        "reasoning_effort": "low",
    }
    gemini = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "Add"}, {"inlineData": {"mimeType": "image/png", "data": ""}}],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "add", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "add", "response": {"output": "3"}}}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "add", "description": "Adds.", "parametersJsonSchema": INTEGER}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "stopSequences": ["x"],
            "maxOutputTokens": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": STRING,
            "thinkingConfig": {"thinkingBudget": 100},
        },
    }

    theirs, ours = FakeGeminiApi().parse_request(gemini), FakeOpenAIApi().parse_request(openai)

    assert theirs == ParsedRequest(
        **{name: getattr(ours, name) for name in ParsedRequest.__slots__} | {"json_object": True}
    )
    assert ours.forced == ("add",)


@pytest.mark.parametrize(
    ("choice", "forced", "tools"),
    [
        ("auto", (), 1),
        ("none", (), 0),
        ("required", ("add",), 1),
        ({"type": "function", "function": {"name": "add"}}, ("add",), 1),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "add"}}]},
            },
            ("add",),
            1,
        ),
    ],
    ids=["auto", "none", "required", "named", "allowed"],
)
def test_openais_choices_of_a_tool(choice: Any, forced: tuple[str, ...], tools: int) -> None:
    """Every way to say which tools may or must be called."""
    prompt = FakeOpenAIApi().parse_request({"tools": [{"function": {"name": "add"}}], "tool_choice": choice})

    assert (prompt.forced, len(prompt.tools)) == (forced, tools)
