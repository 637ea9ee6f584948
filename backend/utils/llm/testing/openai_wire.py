"""OpenAI's Chat Completions: requests read, answers and errors written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from .replies import Status
from .wire import LOGPROB, Prompt, Tool, Turn, slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .replies import Usage
    from .wire import Utterance

CREATED = 1_793_491_200
"""2026-11-01, the date in the served models' names."""
_ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "tool": "tool",
}
_ATTACHMENTS = {"image_url": "image", "input_audio": "audio", "file": "file"}
_ERRORS: dict[int, tuple[str, str | None, str]] = {  # status: type, code, message
    400: ("invalid_request_error", None, "We could not parse the request body."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: (
        "billing_error",
        "billing_not_active",
        "Your account is not active, please check your billing details.",
    ),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Country not supported."),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    422: ("invalid_request_error", "missing_required_parameter", "Missing required parameter: 'messages'."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests per min (RPM)."),
    503: ("service_unavailable_error", "server_overloaded", "The engine is currently overloaded."),
}
_SERVER_ERROR = (
    "server_error",
    None,
    "The server had an error while processing your request. Sorry about that!",
)
_ERRORS_BY_CODE: dict[str, tuple[str, str]] = {  # code: type, message
    "insufficient_quota": (
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "context_length_exceeded": (
        "invalid_request_error",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    ),
}


class OpenAIWire:
    """Serves ``POST /v1/chat/completions`` and ``GET /v1/models``."""

    name: Literal["openai"] = "openai"
    names_events = False

    def read(self, body: Mapping[str, Any]) -> Prompt:
        """Read the request ``body``. See `Wire.read`."""
        choice = body.get("tool_choice") or "auto"
        tools = tuple(map(_tool, body.get("tools") or ())) if choice != "none" else ()
        asked = body.get("response_format") or {}
        stop = body.get("stop") or ()
        return Prompt(
            turns=tuple(map(_turn, body.get("messages") or ())),
            tools=tools,
            forced=forced_tools(choice, tools),
            schema=(asked.get("json_schema") or {}).get("schema"),
            json_object=asked.get("type") == "json_object",
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            reasoning=body.get("reasoning_effort") not in {None, "none", "minimal"},
            logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        )

    def whole(self, utterance: Utterance, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed. See `Wire.whole`."""
        del body
        message: dict[str, Any] = {
            "role": "assistant",
            "content": utterance.text if _has_content(utterance) else None,
            "refusal": None if utterance.refusal is None else "".join(utterance.refusal),
            "annotations": [],
        }
        if utterance.calls:
            message["tool_calls"] = [_call(utterance, index) for index in range(len(utterance.calls))]
        likely = _logprobs(logprobs(utterance, utterance.pieces))
        choice = {"index": 0, "message": message, "logprobs": likely, "finish_reason": _finish(utterance)}
        choices = [choice] * utterance.candidates
        if utterance.beside is not None:
            silent = message | {"content": None}
            choices.append(choice | {"index": 1, "message": silent, "finish_reason": utterance.beside})
        return {
            **_envelope(utterance, "chat.completion"),
            "choices": choices,
            "usage": _usage(utterance.usage),
        }

    def events(self, utterance: Utterance, body: Mapping[str, Any]) -> Iterator[str]:
        """The data of each server-sent event. If ``stream_options`` ask for the usage, the last event reports it."""
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        envelope = _envelope(utterance, "chat.completion.chunk") | ({"usage": None} if wants_usage else {})
        for delta in _deltas(utterance):
            likely = _logprobs(logprobs(utterance, (delta["content"],) if delta.get("content") else ()))
            yield json.dumps(envelope | {"choices": [_choice(delta, None) | {"logprobs": likely}]})
        if utterance.beside is not None:
            yield json.dumps(envelope | {"choices": [_choice({}, utterance.beside) | {"index": 1}]})
        if utterance.finish is None:
            return
        if utterance.candidates:
            yield json.dumps(envelope | {"choices": [_choice({}, _finish(utterance))]})
        if wants_usage:
            yield json.dumps(envelope | {"choices": [], "usage": _usage(utterance.usage)})
        yield "[DONE]"

    def error(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """The body and headers of an error. See `Wire.error`."""
        kind, code, message = _ERRORS.get(status.code, _SERVER_ERROR)
        if status.error_code is not None:
            code = status.error_code
            kind, message = _ERRORS_BY_CODE.get(code, (kind, message))
        hint = {} if status.retry_after is None else {"Retry-After": f"{status.retry_after}"}
        error = {"message": status.message or message, "type": kind, "param": None, "code": code}
        return {"error": error}, hint | dict(status.headers)

    def rejected_key(self, key: str | None) -> Status:
        """The answer to a wrong or missing key. As at OpenAI, it shows both ends of the key. See `Wire.rejected_key`."""
        if not key:
            return Status(401, message="You didn't provide an API key.")
        shown = f"{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:]}"
        return Status(401, error_code="invalid_api_key", message=f"Incorrect API key provided: {shown}.")

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The body of the list of models. See `Wire.models`."""
        rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "loopback"} for name in names]
        return {"object": "list", "data": rows}


def _turn(message: Mapping[str, Any]) -> Turn:
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join(part["text"] for part in parts if part.get("type") == "text")
    kinds = tuple(_ATTACHMENTS[part["type"]] for part in parts if part.get("type") in _ATTACHMENTS)
    return Turn(_ROLES.get(message.get("role", "user"), "user"), text, kinds)


def _tool(declared: Mapping[str, Any]) -> Tool:
    function = declared.get("function") or {}
    return Tool(function.get("name", ""), function.get("description") or "", function.get("parameters") or {})


def forced_tools(choice: str | Mapping[str, Any], tools: tuple[Tool, ...]) -> tuple[str, ...]:
    """The names of the tools of which the request's ``tool_choice`` demands one; empty if it demands none.

    Also reads the flatter form of Responses.
    """
    if choice == "required":
        return tuple(tool.name for tool in tools)
    if isinstance(choice, str):
        return ()
    allowed = choice.get("allowed_tools") or choice
    if allowed.get("mode") == "required":
        return tuple(tool.get("function", tool)["name"] for tool in allowed.get("tools", ()))
    named = choice.get("function", choice)
    return (named["name"],) if "name" in named else ()


def _has_content(utterance: Utterance) -> bool:
    return not utterance.calls and utterance.refusal is None and not utterance.blocked


def _finish(utterance: Utterance) -> str | None:
    return "tool_calls" if utterance.calls else utterance.finish


def _envelope(utterance: Utterance, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{utterance.number:06}",
        "object": kind,
        "created": CREATED,
        "model": utterance.model,
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
    }


def _choice(delta: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def logprobs(utterance: Utterance, pieces: tuple[str, ...]) -> list[dict[str, Any]]:
    """The log probability of each piece; empty if the request does not ask for them."""
    if utterance.logprobs is None:
        return []
    likely = [{"token": piece, "logprob": LOGPROB, "bytes": [*piece.encode()]} for piece in pieces]
    return [{**token, "top_logprobs": [token][: utterance.logprobs]} for token in likely]


def _logprobs(likely: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"content": likely, "refusal": None} if likely else None


def _deltas(utterance: Utterance) -> Iterator[dict[str, Any]]:
    if not utterance.candidates:
        return
    yield {"role": "assistant", "content": "" if _has_content(utterance) else None, "refusal": None}
    for piece in utterance.pieces:
        yield {"content": piece}
    for index in range(len(utterance.calls)):
        call = _call(utterance, index)
        arguments = call["function"]["arguments"]
        opening = call["function"] | {"arguments": ""}
        yield {"tool_calls": [{"index": index} | call | {"function": opening}]}
        for piece in slices(arguments, 3):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    for piece in utterance.refusal or ():
        yield {"refusal": piece}


def _call(utterance: Utterance, index: int) -> dict[str, Any]:
    name, arguments = utterance.calls[index]
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{utterance.number:06}_{index}", "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
