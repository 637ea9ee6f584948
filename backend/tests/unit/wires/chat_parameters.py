"""The parameters of Chat Completions."""

from __future__ import annotations

from typing import Any, Final

from .parameters import Row, accepted, left_out, refused, served

HELLO: Final = {"role": "user", "content": "Hello?"}
NECESSARY: Final[dict[str, Any]] = {"model": "chat", "messages": [HELLO]}
FUNCTION: Final = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
GRAMMAR: Final = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a+/"}}
CUSTOM: Final = {"type": "custom", "custom": {"name": "run", "description": "Runs.", "format": GRAMMAR}}
SCHEMA: Final = {"name": "a", "description": "An answer.", "schema": {"type": "object"}, "strict": False}
CALL: Final = {"id": "c0", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
CUSTOM_CALL: Final = {"id": "c0", "type": "custom", "custom": {"name": "run", "input": "ls"}}
ALLOWED: Final = {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "run"}}]}
PICTURE: Final = {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}
SOUND: Final = {"data": "UklGRg==", "format": "wav"}
FILE: Final = {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}


def _part(**part: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


def _after(*messages: Any) -> dict[str, Any]:
    return {"messages": [HELLO, *messages]}


ROWS: Final[list[Row]] = [
    left_out("audio", {"audio": {"voice": "alloy", "format": "wav"}}),
    left_out("frequency_penalty", {"frequency_penalty": 0.5}),
    refused("function_call", {"function_call": "auto"}, "function_call"),
    refused("functions", {"functions": [{"name": "look_up"}]}, "functions"),
    left_out("logit_bias", {"logit_bias": {"50256": -100}}),
    served("logprobs", {"logprobs": True}, options__logprobs=True),
    served("max_completion_tokens", {"max_completion_tokens": 5}, options__max_output_tokens=5),
    served("max_tokens", {"max_tokens": 5}, options__max_output_tokens=5),
    served("messages", {}, messages__0__content="Hello?"),
    accepted("metadata", {"metadata": {"a": "b"}}),
    accepted("modalities", {"modalities": ["text"]}),
    refused("modalities", {"modalities": ["text", "audio"]}, "modalities"),
    served("model", {}, model="chat"),
    refused("moderation", {"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
    served("n", {"n": 2}, choices=2),
    served("parallel_tool_calls", {"parallel_tool_calls": False}, parallel_tool_calls=False),
    left_out("prediction", {"prediction": {"type": "content", "content": "x"}}),
    left_out("presence_penalty", {"presence_penalty": 0.5}),
    served("prompt_cache_key", {"prompt_cache_key": "k"}, cache_key="k"),
    accepted("prompt_cache_options", {"prompt_cache_options": {"mode": "explicit"}}),
    accepted("prompt_cache_retention", {"prompt_cache_retention": "24h"}),
    served("reasoning_effort", {"reasoning_effort": "xhigh"}, options__effort="xhigh"),
    accepted("safety_identifier", {"safety_identifier": "x"}),
    served("seed", {"seed": 7}, options__seed=7),
    accepted("service_tier", {"service_tier": "auto"}),
    left_out("service_tier", {"service_tier": "flex"}),
    served("stop", {"stop": "x"}, stop=["x"]),
    accepted("store", {"store": False}),
    left_out("store", {"store": True}),
    served("stream", {"stream": True}, streams=True),
    accepted("stream_options", {"stream_options": {"include_usage": True, "include_obfuscation": False}}),
    served("temperature", {"temperature": 0.5}, options__temperature=0.5),
    served("top_logprobs", {"logprobs": True, "top_logprobs": 2}, options__top_logprobs=2),
    served("top_p", {"top_p": 0.5}, options__top_p=0.5),
    accepted("user", {"user": "u"}),
    served("verbosity", {"verbosity": "low"}, options__verbosity="low"),
    left_out("web_search_options", {"web_search_options": {}}),
    left_out("web_search_options", {"web_search_options": {"search_context_size": "low"}}),
    # Formats of the answer
    served("response_format", {"response_format": None}, response_format=None),
    served("response_format: text", {"response_format": {"type": "text"}}, response_format=None),
    served(
        "response_format: json_object",
        {"response_format": {"type": "json_object"}},
        response_format={"type": "json_object"},
    ),
    served(
        "response_format: json_schema",
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        response_format__json_schema__schema={"description": "An answer.", "type": "object"},
    ),
    # Tools
    served("tools", {"tools": [FUNCTION]}, tools__0__function__name="look_up"),
    served("tool: function", {"tools": [FUNCTION]}, tools__0=FUNCTION),
    served("tool: custom", {"tools": [CUSTOM]}, tools__0__function__name="run", text_tools={"run"}),
    left_out("tool: web_search", {"tools": [{"type": "web_search"}]}),
    served("tool_choice", {"tools": [FUNCTION], "tool_choice": "required"}, tool_choice="required"),
    served(
        "tool_choice: function",
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
        tool_choice="look_up",
    ),
    served(
        "tool_choice: custom",
        {"tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "run"}}},
        tool_choice="run",
    ),
    served(
        "tool_choice: allowed_tools",
        {"tools": [FUNCTION, CUSTOM], "tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}},
        tool_choice="required",
        tools__0__function__name="run",
    ),
    # Messages
    served(
        "role: developer",
        {"messages": [{"role": "developer", "content": "x"}, HELLO]},
        messages__0__type="system",
    ),
    served(
        "role: system", {"messages": [{"role": "system", "content": "x"}, HELLO]}, messages__0__type="system"
    ),
    served("role: user", {"messages": [{**HELLO, "name": "Ann"}]}, messages__0__name="Ann"),
    served("role: assistant", _after({"role": "assistant", "content": "x"}), messages__1__type="ai"),
    served(
        "role: tool",
        _after(
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c0", "content": "x"},
        ),
        messages__2__tool_call_id="c0",
    ),
    served(
        "role: function", _after({"role": "function", "name": "f", "content": "x"}), messages__1__name="f"
    ),
    refused("assistant: audio", _after({"role": "assistant", "audio": {"id": "a"}}), "messages[1].audio"),
    served(
        "assistant: function_call",
        _after(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
            {"role": "function", "name": "f", "content": "grey"},
        ),
        messages__1__tool_calls__0__args={"a": 1},
        messages__2__tool_call_id="call_1",
    ),
    served(
        "assistant: function_call",
        _after(
            {"role": "assistant", "tool_calls": [], "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "grey"},
        ),
        messages__1__tool_calls__0__name="f",
        messages__2__tool_call_id="call_1",
    ),
    served(
        "assistant: refusal",
        _after({"role": "assistant", "refusal": "No."}),
        messages__1__additional_kwargs__refusal="No.",
    ),
    served(
        "assistant: tool_calls",
        _after({"role": "assistant", "tool_calls": [CALL]}),
        messages__1__tool_calls__0__name="look_up",
    ),
    served(
        "call: function",
        _after({"role": "assistant", "tool_calls": [CALL]}),
        messages__1__tool_calls__0__name="look_up",
    ),
    served(
        "call: custom",
        _after({"role": "assistant", "tool_calls": [CUSTOM_CALL]}),
        messages__1__tool_calls__0__args={"input": "ls"},
    ),
    served("part: text", _part(type="text", text="x", prompt_cache_breakpoint={"mode": "explicit"})),
    served(
        "part: image_url",
        _part(type="image_url", image_url=PICTURE),
        messages__0__content__0__image_url=PICTURE,
    ),
    served("part: input_audio", _part(type="input_audio", input_audio=SOUND)),
    served("part: file", _part(type="file", file=FILE)),
    refused("part: file", _part(type="file", file={"file_id": "f"}), "messages[0].content[0]"),
    served(
        "part: refusal", _after({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})
    ),
    refused(
        "part: video_url", _part(type="video_url", video_url={"url": "x"}), "messages[0].content[0].type"
    ),
]
OUR_OWN: Final = frozenset({"tool: web_search", "part: video_url"})
"""Rows of what OpenAI's SDK does not know."""
