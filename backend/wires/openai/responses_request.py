"""Parses requests of the Responses API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import SystemMessage

from ..faults import InvalidRequestError
from ..fields import (
    UNMODERATED,
    find_ignored_service_tier,
    find_unknown_fields,
    read_model_name,
    read_model_options,
    read_optional_field,
    read_required_field,
    reject_unsupported_fields,
)
from ..request import CompletionRequest
from .responses_items import parse_input_items
from .responses_tools import ToolTranslator, parse_tool_choice, parse_tools
from .tools import parse_response_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.utils.llm.options import Options

_OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_output_tokens",
    "top_logprobs": "top_logprobs",
    "reasoning.effort": "effort",
    "text.verbosity": "verbosity",
    "include": "logprobs",
}
_KNOWN: Final = frozenset(_OPTIONS) | {
    *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"),
    *("stream", "stream_options", "include", "prompt_cache_key", "metadata", "client_metadata", "user"),
    *("safety_identifier", "truncation", "service_tier", "prompt_cache_retention", "prompt_cache_options"),
}
_REFUSED: Final = {
    "previous_response_id": "Nothing is stored here. Send the whole conversation in `input`.",
    "conversation": "Nothing is stored here. Send the whole conversation in `input`.",
    "prompt": "Nothing is stored here. Send the prompt itself in `input`.",
    "background": "Answers are not made in the background. Leave `background` out.",
    "moderation": UNMODERATED,
}
_LOGPROBS: Final = "message.output_text.logprobs"
_THOUGHTS: Final = "reasoning.encrypted_content"
_INCLUDED: Final = frozenset({_LOGPROBS, _THOUGHTS})
_OF_REASONING: Final = frozenset({"effort", "summary", "generate_summary", "context"})
_OF_TEXT: Final = frozenset({"format", "verbosity"})


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A parsed request of the Responses API: its protocol-independent form, and settings for the response's form.

    Attributes:
        request: The request in the form that is the same for all protocols.
        tools: The client's tools, to name them in the response.
        keeps_thoughts: Whether the client sends the model's reasoning back in later requests.
        echo: The fields of the request that the response repeats, ready for JSON.
    """

    request: CompletionRequest
    tools: ToolTranslator
    echo: Mapping[str, Any]
    keeps_thoughts: bool = False


def parse_responses_request(body: Mapping[str, Any]) -> ResponsesRequest:
    """Parse the JSON body of a Responses request.

    Raises:
        InvalidRequestError: ``body`` is no valid request, or uses a field that is not supported, such as
            ``previous_response_id``.
    """
    reject_unsupported_fields(body, _REFUSED)
    items = parse_input_items(body.get("input"))
    tools = parse_tools([(read_optional_field(body, "tools", list) or [], "tools"), *items.tools])
    choice = parse_tool_choice(body.get("tool_choice"), tools)
    instructions = read_optional_field(body, "instructions", str)
    messages = [*([SystemMessage(instructions)] if instructions else []), *items.messages]
    if not messages:
        raise InvalidRequestError("`input` is empty.", "input")
    text, options = read_optional_field(body, "text", dict) or {}, _options(body)
    form = read_optional_field(text, "format", dict, "text.") or {"type": "text"}
    request = CompletionRequest(
        model=read_model_name(body),
        messages=messages,
        tools=choice.filter_allowed_tools(tools.functions),
        tool_choice=choice.mode if tools.functions else None,
        parallel_tool_calls=read_optional_field(body, "parallel_tool_calls", bool),
        response_format=parse_response_format(
            read_required_field(form, "type", str, "text.format."), form, "text.format"
        ),
        options=options,
        streams=read_optional_field(body, "stream", bool) or False,
        cache_key=read_optional_field(body, "prompt_cache_key", str),
        metadata=read_optional_field(body, "metadata", dict) or {},
        ignored=[*_ignored(body), *tools.ignored, *items.ignored],
    )
    echo = _echo(body, request, tools, form, instructions)
    return ResponsesRequest(request, tools, echo, keeps_thoughts=_THOUGHTS in (body.get("include") or ()))


def _options(body: Mapping[str, Any]) -> Options:
    """The options, some of which are in nested objects."""
    given = {
        **body,
        "reasoning.effort": (read_optional_field(body, "reasoning", dict) or {}).get("effort"),
        "text.verbosity": (read_optional_field(body, "text", dict) or {}).get("verbosity"),
        "include": _LOGPROBS in (read_optional_field(body, "include", list) or []) or None,
        "top_logprobs": body.get("top_logprobs") or None,  # 0 is what clients send who want none
    }
    return read_model_options(given, _OPTIONS)


def _ignored(body: Mapping[str, Any]) -> list[str]:
    """The names of what is not served. That nothing is stored is told only to clients that ask for storage."""
    included = [name for name in body.get("include") or () if isinstance(name, str) and name not in _INCLUDED]
    asked = {
        "store": body.get("store") is True,
        "truncation": (read_optional_field(body, "truncation", str) or "disabled") != "disabled",
    }
    return [
        *find_unknown_fields(body, _KNOWN | {"store"}),
        *find_unknown_fields(read_optional_field(body, "reasoning", dict) or {}, _OF_REASONING, "reasoning."),
        *find_unknown_fields(read_optional_field(body, "text", dict) or {}, _OF_TEXT, "text."),
        *(name for name, is_asked in asked.items() if is_asked),
        *find_ignored_service_tier(read_optional_field(body, "service_tier", str)),
        *included,
    ]


def _echo(
    body: Mapping[str, Any],
    request: CompletionRequest,
    tools: ToolTranslator,
    form: Mapping[str, Any],
    instructions: str | None,
) -> dict[str, Any]:
    """The request's fields as the response repeats them; absent ones have OpenAI's defaults."""
    options = request.options
    reasoning = read_optional_field(body, "reasoning", dict) or {}
    return {
        "instructions": instructions,
        "max_output_tokens": options.max_output_tokens,
        "max_tool_calls": None,
        "metadata": dict(request.metadata),
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": request.cache_key,
        "reasoning": {
            "effort": options.effort,
            "summary": reasoning.get("summary") or reasoning.get("generate_summary"),
        },
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "background": False,
        "temperature": 1.0 if options.temperature is None else options.temperature,
        "text": {"format": _form_echo(form), "verbosity": options.verbosity or "medium"},
        "tool_choice": _choice_echo(body.get("tool_choice")),
        "tools": [_tool_echo(function["function"]) for function in tools.functions],
        "top_logprobs": options.top_logprobs or 0,
        "top_p": 1.0 if options.top_p is None else options.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "truncation": "disabled",
    }


def _form_echo(form: Mapping[str, Any]) -> dict[str, Any]:
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    names = ("type", "name", "description", "schema")
    return {**{name: form.get(name) for name in names}, "strict": form.get("strict") or False}


def _choice_echo(choice: Any) -> Any:
    return "auto" if choice is None else choice


def _tool_echo(function: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "name": function["name"],
        "description": function.get("description"),
        "parameters": function.get("parameters"),
        "strict": function.get("strict", False),
    }
