"""The parameters of the Responses API."""

from __future__ import annotations

from typing import Any, Final

from .parameters import Row, accepted, left_out, refused, same, served

HELLO: Final = {"role": "user", "content": "Hello?"}
NECESSARY: Final[dict[str, Any]] = {"model": "chat", "input": [HELLO]}
FUNCTION: Final = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
CUSTOM: Final = {"type": "custom", "name": "run"}
SCHEMA: Final = {
    "type": "json_schema",
    "name": "a",
    "description": "An answer.",
    "schema": {"type": "object"},
}
CALL: Final = {"type": "function_call", "call_id": "c0", "name": "look_up", "arguments": "{}"}
THOUGHT: Final = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm."}]}
PICTURE: Final = "data:image/png;base64,iVBORw0KGgo="


def _after(*items: Any) -> dict[str, Any]:
    return {"input": [HELLO, *items]}


def _part(**part: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [part]}]}


def _chosen(choice: Any) -> dict[str, Any]:
    return {"tools": [FUNCTION, CUSTOM], "tool_choice": choice}


ROWS: Final[list[Row]] = [
    left_out("access_programs", {"access_programs": {"cyber": "x"}}),
    accepted("background", {"background": False}),
    refused("background", {"background": True}, "background"),
    left_out("background_options", {"background_options": {"completion_window": "24h"}}),
    left_out("context_management", {"context_management": [{"type": "compaction"}]}),
    refused("conversation", {"conversation": "c"}, "conversation"),
    left_out("image", {"image": {"context_compression": "auto"}}),
    served("include", {"include": []}),
    served("input", {"input": "Hello?"}, messages__0__content="Hello?"),
    served("instructions", {"instructions": "Be brief."}, messages__0__content="Be brief."),
    served("max_output_tokens", {"max_output_tokens": 5}, options__max_output_tokens=5),
    left_out("max_tool_calls", {"max_tool_calls": 2}),
    accepted("metadata", {"metadata": {"a": "b"}}),
    served("model", {}, model="chat"),
    refused("moderation", {"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
    served("parallel_tool_calls", {"parallel_tool_calls": False}, parallel_tool_calls=False),
    refused("previous_response_id", {"previous_response_id": "r"}, "previous_response_id"),
    refused("prompt", {"prompt": {"id": "p"}}, "prompt"),
    served("prompt_cache_key", {"prompt_cache_key": "k"}, cache_key="k"),
    accepted("prompt_cache_options", {"prompt_cache_options": {"mode": "explicit"}}),
    accepted("prompt_cache_retention", {"prompt_cache_retention": "24h"}),
    served("reasoning", {"reasoning": {"effort": "low"}}, options__effort="low"),
    accepted("safety_identifier", {"safety_identifier": "x"}),
    accepted("service_tier", {"service_tier": "default"}),
    left_out("service_tier", {"service_tier": "priority"}),
    accepted("store", {"store": False}),
    left_out("store", {"store": True}),
    served("stream", {"stream": True}, streams=True),
    accepted("stream_options", {"stream_options": {"include_obfuscation": False}}),
    served("temperature", {"temperature": 0.5}, options__temperature=0.5),
    served("text", {"text": {"verbosity": "low"}}, options__verbosity="low"),
    served("tool_choice", _chosen("required"), tool_choice="required"),
    served("tools", {"tools": [FUNCTION]}, tools__0__function__name="look_up"),
    served("top_logprobs", {"top_logprobs": 2}, options__top_logprobs=2),
    served("top_p", {"top_p": 0.5}, options__top_p=0.5),
    accepted("truncation", {"truncation": "disabled"}),
    left_out("truncation", {"truncation": "auto"}),
    accepted("user", {"user": "u"}),
    # Within others
    served("reasoning.effort", {"reasoning": {"effort": "none"}}, options__effort="none"),
    served("reasoning.summary", {"reasoning": {"summary": "auto"}}),
    served("reasoning.generate_summary", {"reasoning": {"generate_summary": "auto"}}),
    accepted("reasoning.context", {"reasoning": {"context": "all_turns"}}),
    left_out("reasoning.mode", {"reasoning": {"mode": "pro"}}),
    served("text.format", {"text": {"format": None}}, response_format=None),
    served("text.verbosity", {"text": {"verbosity": "high"}}, options__verbosity="high"),
    served("text.format: text", {"text": {"format": {"type": "text"}}}, response_format=None),
    served(
        "text.format: json_object",
        {"text": {"format": {"type": "json_object"}}},
        response_format={"type": "json_object"},
    ),
    served(
        "text.format: json_schema",
        {"text": {"format": SCHEMA}},
        response_format__json_schema__schema={"description": "An answer.", "type": "object"},
    ),
    served(
        "include: message.output_text.logprobs",
        {"include": ["message.output_text.logprobs"]},
        options__logprobs=True,
    ),
    served("include: reasoning.encrypted_content", {"include": ["reasoning.encrypted_content"]}),
    *same(
        "include",
        [
            *(
                "code_interpreter_call.outputs",
                "computer_call_output.output.image_url",
                "file_search_call.results",
            ),
            *("message.input_image.image_url", "web_search_call.action.sources", "web_search_call.results"),
        ],
        lambda kind: {"include": [kind]},
    ),
    # Tools
    served(
        "tool: function", {"tools": [FUNCTION | {"defer_loading": True}]}, tools__0__function__name="look_up"
    ),
    left_out(
        "tool: function",
        {"tools": [FUNCTION | {"allowed_callers": ["programmatic"]}]},
        "tools.allowed_callers",
    ),
    served("tool: custom", {"tools": [CUSTOM]}, tools__0__function__name="run"),
    served(
        "tool: namespace",
        {"tools": [{"type": "namespace", "name": "n", "description": "", "tools": [FUNCTION]}]},
        tools__0__function__name="n__look_up",
    ),
    *same(
        "tool",
        [
            *("apply_patch", "code_interpreter", "computer", "computer_use_preview", "file_search"),
            *("image_generation", "local_shell", "mcp", "programmatic_tool_calling", "shell", "tool_search"),
            *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"),
        ],
        lambda kind: {"tools": [{"type": kind}]},
    ),
    served("tool_choice: function", _chosen({"type": "function", "name": "look_up"}), tool_choice="look_up"),
    served("tool_choice: custom", _chosen({"type": "custom", "name": "run"}), tool_choice="run"),
    served(
        "tool_choice: allowed_tools",
        _chosen({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "run"}]}),
        tools__0__function__name="run",
    ),
    *[
        refused(f"tool_choice: {kind}", _chosen({"type": kind}), "tool_choice")
        for kind in (
            *("apply_patch", "code_interpreter", "computer", "computer_use", "computer_use_preview"),
            *("file_search", "image_generation", "mcp", "programmatic_tool_calling", "shell"),
            *("web_search_preview", "web_search_preview_2025_03_11"),
        )
    ],
    # Items
    served(
        "item: message",
        _after({"type": "message", "role": "assistant", "phase": "commentary", "content": "x"}),
    ),
    served("item: function_call", _after(CALL), messages__1__tool_calls__0__name="look_up"),
    served(
        "item: function_call_output",
        _after(CALL, {"type": "function_call_output", "call_id": "c0", "output": "x"}),
        messages__2__content="x",
    ),
    served(
        "item: custom_tool_call",
        _after({"type": "custom_tool_call", "call_id": "c0", "name": "run", "input": "ls"}),
        messages__1__tool_calls__0__args={"input": "ls"},
    ),
    served(
        "item: custom_tool_call_output",
        _after({"type": "custom_tool_call_output", "call_id": "c0", "output": "x"}),
        messages__1__tool_call_id="c0",
    ),
    served("item: reasoning", _after(THOUGHT), messages__1__additional_kwargs__reasoning_content="Hm."),
    served(
        "item: additional_tools",
        _after({"type": "additional_tools", "tools": [FUNCTION]}),
        tools__0__type="function",
    ),
    refused("item: item_reference", _after({"type": "item_reference", "id": "i"}), "input[1].type"),
    refused("item: item_reference", _after({"id": "i"}), "input[1].type"),
    refused("item: compaction", _after({"type": "compaction", "encrypted_content": "x"}), "input[1].type"),
    *same(
        "item",
        [
            *("apply_patch_call", "apply_patch_call_output", "code_interpreter_call", "compaction_trigger"),
            *("computer_call", "computer_call_output", "configuration_update", "file_search_call"),
            *("image_generation_call", "local_shell_call", "local_shell_call_output", "mcp_approval_request"),
            *(
                "mcp_approval_response",
                "mcp_call",
                "mcp_list_tools",
                "program",
                "program_output",
                "shell_call",
            ),
            *("shell_call_output", "tool_search_call", "tool_search_output", "web_search_call"),
        ],
        lambda kind: _after({"type": kind}),
    ),
    served("part: input_text", _part(type="input_text", text="x")),
    served("part: input_image", _part(type="input_image", image_url=PICTURE, detail="low")),
    refused("part: input_image", _part(type="input_image", file_id="f"), "input[0].content[0]"),
    served("part: input_file", _part(type="input_file", file_data="data:application/pdf;base64,JVBERi0=")),
    refused("part: input_file", _part(type="input_file", file_id="f"), "input[0].content[0]"),
    served(
        "part: output_text", _after({"role": "assistant", "content": [{"type": "output_text", "text": "x"}]})
    ),
    served("part: refusal", _after({"role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]})),
]
