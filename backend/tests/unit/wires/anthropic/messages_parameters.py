"""The parameters of Anthropic's Messages API, those of its beta too."""

from __future__ import annotations

from typing import Any, Final

from backend.tests.unit.wires.parameters import Row, accepted, left_out, refused, served

HELLO: Final = {"role": "user", "content": "Hello?"}
NECESSARY: Final[dict[str, Any]] = {"model": "chat", "max_tokens": 100, "messages": [HELLO]}
TOOL: Final = {"name": "look_up", "input_schema": {"type": "object"}}
STRICT: Final = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
MARK: Final = {"type": "ephemeral"}
FORM: Final = {"type": "json_schema", "schema": {"type": "object"}}
DATA: Final = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PDF: Final = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
TEXT: Final = {"type": "text", "text": "x"}
CITED: Final = {"enabled": True}
CALL: Final = {"type": "tool_use", "id": "t0", "name": "look_up", "input": {"a": 1}}


def _block(**block: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [TEXT, block]}]}


def _said(**block: Any) -> dict[str, Any]:
    return {"messages": [HELLO, {"role": "assistant", "content": [block, TEXT]}]}


def _result(held: dict[str, Any]) -> dict[str, Any]:
    return _block(type="tool_result", tool_use_id="t0", content=[held])


def _tool(**more: Any) -> dict[str, Any]:
    return {"tools": [TOOL | more]}


ROWS: Final[list[Row]] = [
    left_out("billing_policy", {"billing_policy": {"type": "x"}}),
    served("cache_control", {"cache_control": MARK}, messages__0__content__0__cache_control=MARK),
    left_out("compaction", {"compaction": {"type": "enabled"}}),
    left_out("container", {"container": "c"}),
    left_out("context_management", {"context_management": {"edits": []}}),
    left_out("diagnostics", {"diagnostics": {"previous_message_id": "m"}}),
    left_out("fallback_credit_token", {"fallback_credit_token": "x"}),
    left_out("fallbacks", {"fallbacks": [{"model": "x"}]}),
    refused("inference_geo", {"inference_geo": "us"}, "inference_geo"),
    served("max_tokens", {"max_tokens": 5}, options__max_output_tokens=5),
    left_out("mcp_servers", {"mcp_servers": [{"type": "url", "name": "m", "url": "https://x.example"}]}),
    served("messages", {}, messages__0__content="Hello?"),
    accepted("metadata", {"metadata": {"user_id": "u"}}),
    served("model", {}, model="chat"),
    served("output_config", {"output_config": {"effort": "low"}}, options__effort="low"),
    accepted("service_tier", {"service_tier": "auto"}),
    left_out("service_tier", {"service_tier": "priority"}),
    left_out("speed", {"speed": "fast"}),
    served("stop_sequences", {"stop_sequences": ["x"]}, stop=["x"]),
    served("stream", {"stream": True}, streams=True),
    served(
        "system", {"system": [TEXT | {"cache_control": MARK}]}, messages__0__content__0__cache_control=MARK
    ),
    served("temperature", {"temperature": 0.5}, options__temperature=0.5),
    served("thinking", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, options__effort="low"),
    refused("thread", {"thread": {"type": "create"}}, "thread"),
    served("tool_choice", _tool() | {"tool_choice": {"type": "any"}}, tool_choice="required"),
    served("tools", _tool(), tools__0__function__name="look_up"),
    left_out("top_k", {"top_k": 5}),
    served("top_p", {"top_p": 0.5}, options__top_p=0.5),
    left_out("user_profile_id", {"user_profile_id": "u"}),
    left_out("workspace_id", {"workspace_id": "w"}),
    served("output_format", {"output_format": FORM}, response_format__type="json_schema"),
    # Within others
    served("output_config.effort", {"output_config": {"effort": "max"}}, options__effort="max"),
    served("output_config.format", {"output_config": {"format": FORM}}, response_format__type="json_schema"),
    left_out("output_config.task_budget", {"output_config": {"task_budget": {"type": "tokens", "total": 1}}}),
    served("thinking: adaptive", {"thinking": {"type": "adaptive"}}, options__effort=None),
    served("thinking: between_tools", {"thinking": {"type": "between_tools"}}, options__effort=None),
    served("thinking: disabled", {"thinking": {"type": "disabled"}}, options__effort="none"),
    served(
        "thinking: enabled",
        {"thinking": {"type": "enabled", "budget_tokens": 9000}},
        options__effort="medium",
    ),
    # Tools
    left_out(
        "tool.allowed_callers", _tool(allowed_callers=["code_execution_20260120"]), "tools.allowed_callers"
    ),
    served("tool.cache_control", _tool(cache_control=MARK), tools__0__cache_control=MARK),
    accepted("tool.defer_loading", _tool(defer_loading=True)),
    served("tool.description", _tool(description="x"), tools__0__function__description="x"),
    accepted("tool.eager_input_streaming", _tool(eager_input_streaming=True)),
    left_out("tool.input_examples", _tool(input_examples=[{"a": 1}]), "tools.input_examples"),
    served("tool.input_schema", _tool(), tools__0__function__parameters={"type": "object"}),
    served("tool.name", _tool(), tools__0__function__name="look_up"),
    served("tool.strict", _tool(strict=True, input_schema=STRICT), tools__0__function__strict=True),
    served("tool.type", _tool(type=None), tools__0__type="function"),
    served("tool: custom", _tool(type="custom"), tools__0__function__name="look_up"),
    *[
        left_out(f"tool: {kind}", {"tools": [{"type": kind, "name": "x"}]}, f"tools.{kind}")
        for kind in (
            *("advisor_20260301", "bash_20241022", "bash_20250124", "browser_toolset_20260801"),
            *("code_execution_20250522", "code_execution_20250825", "code_execution_20260120"),
            *("code_execution_20260521", "computer_20241022", "computer_20250124", "computer_20251124"),
            *("computer_toolset_20260801", "mcp_toolset", "memory_20250818", "text_editor_20241022"),
            *("text_editor_20250124", "text_editor_20250429", "text_editor_20250728"),
            *("tool_search_tool_bm25", "tool_search_tool_bm25_20251119", "tool_search_tool_regex"),
            *("tool_search_tool_regex_20251119", "web_fetch_20250910", "web_fetch_20260209"),
            *("web_fetch_20260309", "web_fetch_20260318", "web_search_20250305", "web_search_20260209"),
            "web_search_20260318",
        )
    ],
    served("tool_choice: any", _tool() | {"tool_choice": {"type": "any"}}, tool_choice="required"),
    served(
        "tool_choice: auto",
        _tool() | {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        tool_choice="auto",
        parallel_tool_calls=False,
    ),
    served("tool_choice: none", _tool() | {"tool_choice": {"type": "none"}}, tool_choice="none"),
    served(
        "tool_choice: tool",
        _tool() | {"tool_choice": {"type": "tool", "name": "look_up"}},
        tool_choice="look_up",
    ),
    # Messages and blocks
    served(
        "role: assistant",
        {"messages": [HELLO, {"role": "assistant", "content": "x"}]},
        messages__1__type="ai",
    ),
    served(
        "role: system", {"messages": [HELLO, {"role": "system", "content": "x"}]}, messages__1__type="system"
    ),
    served("role: user", {}, messages__0__type="human"),
    served("block: text", _block(**TEXT, cache_control=MARK), messages__0__content__1__cache_control=MARK),
    served("block: image", _block(type="image", source=DATA), messages__0__content__1__source=DATA),
    left_out(
        "block: image",
        _block(type="image", source=DATA, transformations={"oversized_image": "downscale"}),
        "transformations",
    ),
    served(
        "block: document",
        _block(type="document", source=PDF, title="A", context="Of 2025."),
        messages__0__content__1__text="Of 2025.",
        messages__0__content__2__title="A",
    ),
    left_out("block: document", _block(type="document", source=PDF, citations=CITED), "citations"),
    served("block: search_result", _block(type="search_result", title="A", source="x", content=[TEXT])),
    left_out(
        "block: search_result",
        _block(type="search_result", title="A", source="x", content=[TEXT], citations=CITED),
        "citations",
    ),
    served("block: thinking", _said(type="thinking", thinking="Hm.", signature="s")),
    served("block: redacted_thinking", _said(type="redacted_thinking", data="s")),
    served("block: tool_use", _said(**CALL), messages__1__content__0__name="look_up"),
    served(
        "block: tool_result",
        {
            "messages": [
                HELLO,
                {"role": "assistant", "content": [CALL]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t0", "content": [TEXT]}],
                },
            ]
        },
        messages__2__content__0__content=[TEXT],
    ),
    left_out(
        "block: tool_result",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t0",
                            "content": [
                                {
                                    "type": "search_result",
                                    "title": "A",
                                    "source": "x",
                                    "content": [TEXT],
                                    "citations": CITED,
                                }
                            ],
                        }
                    ],
                }
            ]
        },
        "citations",
    ),
    *[
        refused("block: tool_result", _result(held), "messages.0.content.1.content.0")
        for held in (
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "redacted_thinking", "data": "s"},
            {"type": "tool_addition", "tool": {}},
        )
    ],
    refused(
        "block: tool_result",
        _result(
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [{"type": "redacted_thinking", "data": "s"}],
            }
        ),
        "messages.0.content.1.content.0.content.0",
    ),
    refused(
        "block: document",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": PDF, "context": "x"},
                        {"type": "document", "source": {"type": "file", "file_id": "f"}},
                    ],
                }
            ]
        },
        "messages.0.content.1",
    ),
    accepted("mcp_servers", {"mcp_servers": [], "fallbacks": None}),
    served(
        "block: compaction",
        _said(type="compaction", content="It was long."),
        messages__1__content__0__text="It was long.",
    ),
    refused(
        "block: compaction",
        _block(type="compaction", content=[TEXT]),
        "messages.0.content.1.compaction.content",
    ),
    accepted("block: fallback", _said(type="fallback", to={"model": "x"})),
    left_out("block: mcp_tool_listing", _said(type="mcp_tool_listing", mcp_server_name="m", tools=[])),
    refused("block: tool_addition", _block(type="tool_addition", tool={}), "messages.0.content.1"),
    refused("block: tool_removal", _block(type="tool_removal", tool={}), "messages.0.content.1"),
    refused("block: container_upload", _block(type="container_upload", file_id="f"), "messages.0.content.1"),
    *[
        served(f"block: {kind}", _said(type=kind, id="s0"), messages__1__content__0__type="non_standard")
        for kind in (
            *("advisor_tool_result", "bash_code_execution_tool_result", "code_execution_tool_result"),
            *("mcp_tool_result", "mcp_tool_use", "server_tool_use", "text_editor_code_execution_tool_result"),
            *("tool_search_tool_result", "web_fetch_tool_result", "web_search_tool_result"),
        )
    ],
    served("source: base64", _block(type="image", source=DATA), messages__0__content__1__source=DATA),
    served("source: url", _block(type="image", source={"type": "url", "url": "https://x.example/a.png"})),
    served(
        "source: text",
        _block(type="document", source={"type": "text", "media_type": "text/plain", "data": "x"}),
    ),
    served("source: content", _block(type="document", source={"type": "content", "content": "x"})),
    refused(
        "source: file", _block(type="image", source={"type": "file", "file_id": "f"}), "messages.0.content.1"
    ),
]
OF_A_HEADER: Final = frozenset({"betas"})
"""What the SDK sends as a header."""
OLDER: Final = frozenset({"output_format", "top_k", "temperature", "top_p"})
"""What the newest SDK does not know any more, and older ones do."""
