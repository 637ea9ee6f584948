"""Imitates OpenAI's Chat Completions: parses requests, and makes answers and errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from .replies import Status
from .wire import LOGPROB, DeclaredTool, ParsedRequest, PromptTurn, split_evenly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .replies import Usage
    from .wire import PlannedAnswer

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


class FakeOpenAIApi:
    """Imitates OpenAI's ``POST /v1/chat/completions`` and ``GET /v1/models``."""

    name: Literal["openai"] = "openai"
    has_event_names = False

    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        """Parse the body of a request. See `FakeProviderApi.parse_request`."""
        choice = body.get("tool_choice") or "auto"
        tools = tuple(map(_tool, body.get("tools") or ())) if choice != "none" else ()
        asked = body.get("response_format") or {}
        stop = body.get("stop") or ()
        return ParsedRequest(
            turns=tuple(map(_turn, body.get("messages") or ())),
            tools=tools,
            forced=find_forced_tools(choice, tools),
            schema=(asked.get("json_schema") or {}).get("schema"),
            json_object=asked.get("type") == "json_object",
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            reasoning=body.get("reasoning_effort") not in {None, "none", "minimal"},
            logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        )

    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make the body of an answer that is not streamed. See `FakeProviderApi.make_response_body`."""
        del body
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text if _has_content(answer) else None,
            "refusal": None if answer.refusal is None else "".join(answer.refusal),
            "annotations": [],
        }
        if answer.calls:
            message["tool_calls"] = [_call(answer, index) for index in range(len(answer.calls))]
        likely = _logprobs(make_logprobs(answer, answer.pieces))
        choice = {"index": 0, "message": message, "logprobs": likely, "finish_reason": _finish(answer)}
        choices = [choice] * answer.candidates
        if answer.beside is not None:
            silent = message | {"content": None}
            choices.append(choice | {"index": 1, "message": silent, "finish_reason": answer.beside})
        return {
            **_envelope(answer, "chat.completion"),
            "choices": choices,
            "usage": _usage(answer.usage),
        }

    def make_stream_events(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield the data of each event of a streamed answer. See `FakeProviderApi.make_stream_events`.

        If the request's ``stream_options`` ask for the usage, the last event before ``[DONE]`` reports it.
        """
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        envelope = _envelope(answer, "chat.completion.chunk") | ({"usage": None} if wants_usage else {})
        for delta in _deltas(answer):
            likely = _logprobs(make_logprobs(answer, (delta["content"],) if delta.get("content") else ()))
            yield json.dumps(envelope | {"choices": [_choice(delta, None) | {"logprobs": likely}]})
        if answer.beside is not None:
            yield json.dumps(envelope | {"choices": [_choice({}, answer.beside) | {"index": 1}]})
        if answer.finish is None:
            return
        if answer.candidates:
            yield json.dumps(envelope | {"choices": [_choice({}, _finish(answer))]})
        if wants_usage:
            yield json.dumps(envelope | {"choices": [], "usage": _usage(answer.usage)})
        yield "[DONE]"

    def make_error_body_and_headers(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """Make the body and the headers of an error response. See `FakeProviderApi.make_error_body_and_headers`."""
        kind, code, message = _ERRORS.get(status.code, _SERVER_ERROR)
        if status.error_code is not None:
            code = status.error_code
            kind, message = _ERRORS_BY_CODE.get(code, (kind, message))
        hint = {} if status.retry_after is None else {"Retry-After": f"{status.retry_after}"}
        error = {"message": status.message or message, "type": kind, "param": None, "code": code}
        return {"error": error}, hint | dict(status.headers)

    def make_api_key_error(self, key: str | None) -> Status:
        """Make the error reply to a wrong or missing API key. See `FakeProviderApi.make_api_key_error`.

        Like OpenAI's message, it shows the beginning and the end of a wrong key.
        """
        if not key:
            return Status(401, message="You didn't provide an API key.")
        shown = f"{key[:8]}{'*' * max(len(key) - 12, 4)}{key[-4:]}"
        return Status(401, error_code="invalid_api_key", message=f"Incorrect API key provided: {shown}.")

    def make_model_list(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Make the body of the response that lists the models. See `FakeProviderApi.make_model_list`."""
        rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "loopback"} for name in names]
        return {"object": "list", "data": rows}


def _turn(message: Mapping[str, Any]) -> PromptTurn:
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join(part["text"] for part in parts if part.get("type") == "text")
    kinds = tuple(_ATTACHMENTS[part["type"]] for part in parts if part.get("type") in _ATTACHMENTS)
    return PromptTurn(_ROLES.get(message.get("role", "user"), "user"), text, kinds)


def _tool(declared: Mapping[str, Any]) -> DeclaredTool:
    function = declared.get("function") or {}
    return DeclaredTool(
        function.get("name", ""), function.get("description") or "", function.get("parameters") or {}
    )


def find_forced_tools(choice: str | Mapping[str, Any], tools: tuple[DeclaredTool, ...]) -> tuple[str, ...]:
    """Return the names of the tools of which the model must call one; empty if it need not call a tool.

    Args:
        choice: The request's ``tool_choice``, as Chat Completions or the Responses API write it.
        tools: The tools of the request.
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


def _has_content(utterance: PlannedAnswer) -> bool:
    return not utterance.calls and utterance.refusal is None and not utterance.blocked


def _finish(utterance: PlannedAnswer) -> str | None:
    return "tool_calls" if utterance.calls else utterance.finish


def _envelope(utterance: PlannedAnswer, kind: str) -> dict[str, Any]:
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


def make_logprobs(answer: PlannedAnswer, pieces: tuple[str, ...]) -> list[dict[str, Any]]:
    """Make a log probability for each piece of text; empty if the request does not ask for them."""
    if answer.logprobs is None:
        return []
    likely = [{"token": piece, "logprob": LOGPROB, "bytes": [*piece.encode()]} for piece in pieces]
    return [{**token, "top_logprobs": [token][: answer.logprobs]} for token in likely]


def _logprobs(likely: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"content": likely, "refusal": None} if likely else None


def _deltas(utterance: PlannedAnswer) -> Iterator[dict[str, Any]]:
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
        for piece in split_evenly(arguments, 3):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    for piece in utterance.refusal or ():
        yield {"refusal": piece}


def _call(utterance: PlannedAnswer, index: int) -> dict[str, Any]:
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
