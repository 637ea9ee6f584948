"""Imitates Gemini's REST API: parses requests, and makes answers and errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from .replies import Status
from .wire import LOGPROB, DeclaredTool, ParsedRequest, PromptTurn, estimate_tokens, split_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .replies import Usage
    from .wire import PlannedAnswer

_TYPES = "type.googleapis.com/google.rpc."
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGES = {
    400: "Invalid JSON payload received. Unexpected token.",
    401: "Request had invalid authentication credentials.",
    403: "Permission denied: the consumer has been suspended.",
    404: "The model is not found for API version v1beta, or is not supported for generateContent.",
    422: "Invalid JSON payload received. Unexpected token.",
    429: "You exceeded your current quota, please check your plan and billing details.",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out. Please try again.",
}
_INTERNAL = "An internal error has occurred. Please retry or report in the troubleshooting guide."
_TOO_LONG = "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."


class FakeGeminiApi:
    """Imitates Gemini's content generation and list of models.

    The paths are ``POST /v1beta/models/{model}:generateContent``, the same with
    ``:streamGenerateContent?alt=sse``, and ``GET /v1beta/models``.
    """

    name: Literal["gemini"] = "gemini"
    has_event_names = False

    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        """Parse the body of a request. See `FakeProviderApi.parse_request`."""
        config = body.get("generationConfig") or {}
        calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        mode = calling.get("mode", "AUTO")
        tools = tuple(_tools(body.get("tools") or ())) if mode != "NONE" else ()
        allowed = calling.get("allowedFunctionNames") or [tool.name for tool in tools]
        thinking = config.get("thinkingConfig") or {}
        return ParsedRequest(
            turns=tuple(_turns(body)),
            tools=tools,
            forced=tuple(allowed) if mode == "ANY" else (),
            schema=config.get("responseJsonSchema") or config.get("responseSchema"),
            json_object=config.get("responseMimeType") == "application/json",
            stop=tuple(config.get("stopSequences") or ()),
            max_tokens=config.get("maxOutputTokens"),
            reasoning=bool(thinking.get("thinkingBudget") or thinking.get("thinkingLevel")),
            logprobs=(config.get("logprobs") or 0) if config.get("responseLogprobs") else None,
        )

    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make the body of an answer that is not streamed. See `FakeProviderApi.make_response_body`."""
        del body
        text = [{"text": answer.text}] if answer.text else []
        return _answer(answer, parts=[*text, *_calls(answer)], usage=_usage(answer.usage), last=True)

    def make_stream_events(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> Iterator[str]:
        """Yield the data of each event of a streamed answer. See `FakeProviderApi.make_stream_events`.

        Every event reports the usage so far. Tool calls are not split into pieces.
        """
        del body
        steps: list[list[dict[str, Any]]] = [[{"text": piece}] for piece in answer.pieces]
        if answer.calls:
            steps.append(_calls(answer))
        if answer.finish is not None and not steps:
            steps.append([])
        for index, parts in enumerate(steps):
            last = index == len(steps) - 1
            usage = _usage(answer.usage) if last else _usage_so_far(answer, index)
            yield json.dumps(_answer(answer, parts=parts, usage=usage, last=last))

    def make_error_body_and_headers(self, status: Status) -> tuple[dict[str, Any], dict[str, str]]:
        """Make the body and the headers of an error response. See `FakeProviderApi.make_error_body_and_headers`."""
        message = (
            _TOO_LONG
            if status.error_code == "context_length_exceeded"
            else _MESSAGES.get(status.code, _INTERNAL)
        )
        error: dict[str, Any] = {
            "code": status.code,
            "message": status.message or message,
            "status": _STATUSES.get(status.code, "INTERNAL"),
        }
        if details := _details(status):
            error["details"] = details
        hint = {"Retry-After": status.retry_after} if isinstance(status.retry_after, str) else {}
        return {"error": error}, hint | dict(status.headers)

    def make_api_key_error(self, key: str | None) -> Status:
        """Make the error reply to a wrong key (400) or no key (403). See `FakeProviderApi.make_api_key_error`."""
        if not key:
            return Status(403, message="Method doesn't allow unregistered callers. Please use API Key.")
        return Status(
            400, error_code="API_KEY_INVALID", message="API key not valid. Please pass a valid API key."
        )

    def make_model_list(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Make the body of the response that lists the models. See `FakeProviderApi.make_model_list`."""
        methods = ["generateContent", "streamGenerateContent"]
        return {
            "models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in names]
        }


def _turns(body: Mapping[str, Any]) -> Iterator[PromptTurn]:
    if system := body.get("systemInstruction"):
        yield PromptTurn("system", _text(system.get("parts") or ()))
    for content in body.get("contents") or ():
        parts = content.get("parts") or ()
        kinds = tuple(filter(None, map(_attachment, parts)))
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        for result in results:
            yield PromptTurn("tool", _result(result), kinds)
        if not results:
            yield PromptTurn("assistant" if content.get("role") == "model" else "user", _text(parts), kinds)


def _text(parts: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("text") and not part.get("thought"))


def _attachment(part: Mapping[str, Any]) -> str | None:
    data = part.get("inlineData") or part.get("fileData")
    if data is None:
        return None
    kind = str(data.get("mimeType", "")).partition("/")[0]
    return kind if kind in {"image", "audio", "video"} else "file"


def _result(response: Mapping[str, Any]) -> str:
    value = response.get("response") or {}
    return str(value["output"]) if set(value) == {"output"} else json.dumps(value, ensure_ascii=False)


def _tools(declared: Sequence[Mapping[str, Any]]) -> Iterator[DeclaredTool]:
    for row in (row for tool in declared for row in tool.get("functionDeclarations") or ()):
        named = (row.get(name) for name in ("parametersJsonSchema", "parameters_json_schema", "parameters"))
        schema: Mapping[str, Any] = next(filter(None, named), {})
        yield DeclaredTool(row["name"], row.get("description") or "", schema)


def _calls(utterance: PlannedAnswer) -> list[dict[str, Any]]:
    return [
        {"functionCall": {"id": f"call_{utterance.number:06}_{index}", "name": name, "args": dict(arguments)}}
        for index, (name, arguments) in enumerate(utterance.calls)
    ]


def _answer(
    utterance: PlannedAnswer, *, parts: list[dict[str, Any]], usage: Mapping[str, Any], last: bool
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "usageMetadata": usage,
        "modelVersion": utterance.model,
        "responseId": f"resp-{utterance.number:06}",
    }
    if utterance.blocked:
        return {"promptFeedback": {"blockReason": "SAFETY"}} | answer
    if not utterance.candidates:
        return answer
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if not parts:
        del candidate["content"]
    if last and (finish := _finish(utterance)) is not None:
        candidate["finishReason"] = finish
    if utterance.logprobs is not None:
        candidate["logprobsResult"] = _likely(parts, utterance)
    candidates = [candidate]
    if last and utterance.beside is not None:
        candidates.append({"index": 1, "finishReason": _FINISH[utterance.beside]})
    return {"candidates": candidates} | answer


def _likely(parts: list[dict[str, Any]], utterance: PlannedAnswer) -> dict[str, Any]:
    text = "".join(part.get("text", "") for part in parts)
    chosen = [{"token": word, "logProbability": LOGPROB, "tokenId": 1} for word in split_words(text)]
    top = [{"candidates": [word][: utterance.logprobs]} for word in chosen]
    return {"chosenCandidates": chosen, "topCandidates": top}


def _finish(utterance: PlannedAnswer) -> str | None:
    if utterance.refusal is not None:
        return "SAFETY"
    return None if utterance.finish is None else _FINISH[utterance.finish]


def _usage(usage: Usage) -> dict[str, Any]:
    """The usage in Gemini's form: without zeros, and with thoughts beside the candidates' tokens."""
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
    }
    details = [{"modality": "TEXT", "tokenCount": usage.input_tokens}]
    return {name: count for name, count in counts.items() if count} | {"promptTokensDetails": details}


def _usage_so_far(utterance: PlannedAnswer, index: int) -> dict[str, Any]:
    total = _usage(utterance.usage)
    answered = min(
        estimate_tokens("".join(utterance.pieces[: index + 1])), total.get("candidatesTokenCount", 0)
    )
    thought = total.get("thoughtsTokenCount", 0)
    return total | {
        "candidatesTokenCount": answered,
        "totalTokenCount": utterance.usage.input_tokens + thought + answered,
    }


def _details(status: Status) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    if status.error_code is not None and status.error_code.isupper():
        metadata = {"service": "generativelanguage.googleapis.com"}
        row = {"reason": status.error_code, "domain": "googleapis.com", "metadata": metadata}
        details.append({"@type": f"{_TYPES}ErrorInfo"} | row)
    if status.code == 429:  # noqa: PLR2004 - the status that quotas have
        details.append({"@type": f"{_TYPES}QuotaFailure", "violations": [_violation(status)]})
    if isinstance(status.retry_after, int | float):
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{status.retry_after:g}s"})
    return details


def _violation(status: Status) -> dict[str, Any]:
    whose = "DayPerProject" if status.error_code == "insufficient_quota" else "MinutePerProjectPerModel"
    return {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": f"GenerateRequestsPer{whose}-FreeTier",
        "quotaDimensions": {"location": "global"},
        "quotaValue": "20",
    }
