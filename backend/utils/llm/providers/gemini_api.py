"""Client side of Google's Gemini API.

This module is imported only when a client is built, because it imports an SDK.
"""

from __future__ import annotations

import json
import re
from itertools import zip_longest
from math import ceil
from typing import TYPE_CHECKING, Any, Self

from google.genai import __version__
from google.genai.types import FunctionDeclaration, Tool
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from pydantic import SecretStr, model_validator
from typing_extensions import override

from ..failures import to_chat_finish_reason
from ..transport import AnswerTooLargeError
from .answer import ParsedAnswer, make_usage_metadata
from .ask import SerializedRequest, raise_if_provider_error
from .gemini_history import to_gemini_history
from .history import SIGNATURES_KEY
from .loose_json import (
    nonempty_string_or_none,
    object_or_empty,
    objects_in_list,
    parse_token_counts,
    text_or_empty,
)
from .schema_forms import add_schema_instructions, choose_gemini_instructions
from .tool_calls import ToolCallPiece, make_tool_call_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages.ai import UsageMetadata
    from pydantic import BaseModel

    from .ask import CallSettings, ModelRequest
    from .gemini_history import GeminiHistory

HEADERS = {"content-type": "application/json", "user-agent": f"google-genai-sdk/{__version__}"}
"""The headers of every request, without those of the SDK that describe this machine."""
_USED = {
    "prompt": "promptTokenCount",
    "results": "toolUsePromptTokenCount",
    "said": "candidatesTokenCount",
    "thought": "thoughtsTokenCount",
    "total": "totalTokenCount",
    "cached": "cachedContentTokenCount",
}
_TOP_LEVEL = ("safetySettings", "tools", "toolConfig", "cachedContent")
"""Settings that stand outside ``generationConfig`` in a request."""
_HAS_VERSION = re.compile(r"/v1[a-z0-9]*$|/publishers/")
"""Addresses that name the version themselves, such as Vertex AI's. Otherwise it is v1beta, which has the previews, too."""
_NOT_SENT = {"http_options", "automatic_function_calling", "should_return_http_response"}
_METADATA_KEYS = ("safetyRatings", "groundingMetadata")
_MEMBERS = ("properties", "additionalProperties", "patternProperties", "$ref", "anyOf", "oneOf", "allOf")
"""Where a schema says what members an object has."""
_CAPITAL = re.compile("(?<=[a-z])[A-Z]")
_PLACEHOLDER_MESSAGES: list[BaseMessage] = [HumanMessage("hi")]
"""Given to the adapter, which requires messages. They are not sent."""
_URL_SAFE = str.maketrans("-_", "+/")


class _Chat(ChatGoogleGenerativeAI):
    """LangChain's adapter without the SDK's client, which would look for the machine's own Google account."""

    @model_validator(mode="after")
    @override
    def validate_environment(self) -> Self:
        return self


class GeminiApi:
    """Serializes requests for the Gemini API, as `ChatGoogleGenerativeAI` does, and makes the readers of answers.

    Args:
        model: The model that the requests are serialized for.
    """

    def __init__(self, model: str) -> None:
        key = SecretStr("the-transport-signs")
        made: Any = _Chat  # type checkers are told one name of each field, and mypy's plugin another
        self._chat: _Chat = made(
            model=model, google_api_key=key, output_version=None, temperature=None, vertexai=False
        )

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` as JSON of the Gemini API. See `ChatApi.serialize`."""
        if request.ask.schema is not None:
            form = choose_gemini_instructions(request.ask.schema)
            request = request if form.is_format else add_schema_instructions(form, request)
        settings = _settings(request.ask, request)
        stop = list(request.stop) if request.stop else None
        prepared = self._chat._prepare_request(_PLACEHOLDER_MESSAGES, stop=stop, **settings)  # noqa: SLF001 - see decision 14
        method = "streamGenerateContent?alt=sse" if streams else "generateContent"
        model = prepared["model"]
        version = "" if _HAS_VERSION.search(request.endpoint.provider.base_url.rstrip("/")) else "/v1beta"
        path = f"{version}/{model if '/' in model else f'models/{model}'}:{method}"
        headers = {**HEADERS, "x-server-timeout": str(ceil(request.seconds))}
        history = to_gemini_history(request)
        return SerializedRequest(path, _body(history, prepared["config"]), headers)

    def make_answer_reader(self, request: ModelRequest) -> GeminiAnswerReader:
        """Make a reader for the answer to ``request``. See `ChatApi.make_answer_reader`."""
        return GeminiAnswerReader(max_candidates=request.ticket.trust.most_calls)


def _settings(ask: CallSettings, request: ModelRequest) -> dict[str, Any]:
    """The settings of a request as keyword arguments of `ChatGoogleGenerativeAI`."""
    found = dict(request.settings)
    if ask.tools:
        found["tools"] = _tools(ask)
        if ask.tool_choice is not None:
            found["tool_choice"] = "any" if ask.tool_choice == "required" else ask.tool_choice
    if ask.schema is not None:
        found["response_mime_type"] = "application/json"
        if wanted := choose_gemini_instructions(ask.schema).format:
            found["response_json_schema"] = wanted
    return found


def _body(history: GeminiHistory, config: BaseModel) -> dict[str, Any]:
    """The body of a request. The SDK keeps all settings in one object; in JSON some belong outside ``generationConfig``."""
    instruction = {"systemInstruction": history.instruction} if history.instruction else {}
    settings = _as_json(config, exclude=_NOT_SENT)
    top_level = {key: settings.pop(key) for key in _TOP_LEVEL if key in settings}
    return {**instruction, **top_level, "generationConfig": settings, "contents": history.contents}


# Tools ---------------------------------------------------------------------------------------------------------------


def _tools(ask: CallSettings) -> list[Any]:
    """Tools in the SDK's form, and Google's own tools unchanged.

    The adapter would convert parameters to Gemini's older schema dialect, which loses half of the keywords. JSON Schema
    has a field of its own: https://ai.google.dev/api/caching#FunctionDeclaration.
    """
    functions = [_declared(tool["function"]) for tool in ask.tools if "function" in tool]
    own = [tool for tool in ask.tools if "function" not in tool]
    return [Tool(function_declarations=functions), *own] if functions else own


def _declared(function: Mapping[str, Any]) -> FunctionDeclaration:
    return FunctionDeclaration(
        name=function["name"],
        description=function.get("description") or None,
        parameters_json_schema=_object_schema(function.get("parameters")),
    )


def _object_schema(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The schema of an object, without ``$schema``; None for an object without properties, which Gemini refuses."""
    if not schema or not any(schema.get(name) for name in _MEMBERS):
        return None
    return {"type": "object"} | {name: value for name, value in schema.items() if name != "$schema"}


def _as_json(value: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """``value`` as JSON, without pydantic's warnings: the adapter puts strings where the SDK's types have bytes."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude, warnings=False)


# Answers -------------------------------------------------------------------------------------------------------------


class GeminiAnswerReader:
    """Reads one answer of the Gemini API. Each event of a stream has the same form as a complete answer.

    Args:
        max_candidates: The maximum number of candidates, and of parts in a candidate; more is an error.

    Attributes:
        is_over: Always False: Gemini does not mark its last event.
    """

    is_over = False

    def __init__(self, *, max_candidates: int = 1000) -> None:
        self._most = max_candidates
        self._called = 0

    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse a complete answer. See `AnswerReader.parse_answer`."""
        found = self.parse_event(document)
        found.text = found.text.rstrip("\n")
        return found

    def parse_event(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse one event of a stream. See `AnswerReader.parse_event`."""
        if error := document.get("error"):
            raise_if_provider_error(error)
        candidates = objects_in_list(document.get("candidates"))
        self._bound(candidates, "candidates")
        first = next((candidate for candidate in candidates if not candidate.get("index")), {})
        found = self._of_candidate(first)
        found.others = [
            reason for candidate in candidates if candidate is not first and (reason := _reason(candidate))
        ]
        found.usage = _usage(document.get("usageMetadata"))
        found.metadata = _metadata(document, first)
        blocked = nonempty_string_or_none(object_or_empty(document.get("promptFeedback")).get("blockReason"))
        found.reason = "content_filter" if blocked is not None else self._finish_reason(first)
        return found

    def _finish_reason(self, candidate: Mapping[str, Any]) -> str | None:
        reason = _reason(candidate)
        return "tool_calls" if reason == "stop" and self._called else reason

    def _of_candidate(self, candidate: Mapping[str, Any]) -> ParsedAnswer:
        parts = objects_in_list(object_or_empty(candidate.get("content")).get("parts"))
        self._bound(parts, "parts")
        found = ParsedAnswer(
            text="".join(text_or_empty(part.get("text")) for part in parts if not part.get("thought")),
            thoughts="".join(text_or_empty(part.get("text")) for part in parts if part.get("thought")),
            media=[block for part in parts if (block := _block(part)) is not None],
            logprobs=_logprobs(object_or_empty(candidate.get("logprobsResult"))),
        )
        called = [part for part in parts if object_or_empty(part.get("functionCall"))]
        found.calls = [self._call(part["functionCall"]) for part in called]
        signatures = {
            call.id: signature.translate(_URL_SAFE)
            for call, part in zip(found.calls, called, strict=True)
            if (signature := nonempty_string_or_none(part.get("thoughtSignature")))
        }
        if signatures:
            found.extras[SIGNATURES_KEY] = signatures
        return found

    def _bound(self, items: Sequence[object], what: str) -> None:
        if len(items) > self._most:
            raise AnswerTooLargeError(f"{self._most:,} {what}")

    def _call(self, call: Mapping[str, Any]) -> ToolCallPiece:
        """A tool call. Each comes whole, so each is a call of its own, whatever its id."""
        self._called += 1
        args = call.get("args")
        arguments = args if isinstance(args, str) else json.dumps(_with_whole_numbers(object_or_empty(args)))
        return ToolCallPiece(
            self._called,
            nonempty_string_or_none(call.get("id")) or make_tool_call_id(),
            nonempty_string_or_none(call.get("name")),
            arguments,
        )


def _with_whole_numbers(value: Any) -> Any:
    """``value`` with whole floats turned to integers: Gemini writes every number of a tool call as a float."""
    match value:
        case dict():
            return {name: _with_whole_numbers(item) for name, item in value.items()}
        case list():
            return [_with_whole_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _block(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """An image that the model made, as a block of LangChain's; None for any other part."""
    data = object_or_empty(part.get("inlineData"))
    kind, content = nonempty_string_or_none(data.get("mimeType")), nonempty_string_or_none(data.get("data"))
    if kind is None or content is None or not kind.startswith("image/"):
        return None
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{content.translate(_URL_SAFE)}"}}


def _metadata(document: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"model_provider": "google_genai"}
    for name, key in (("modelVersion", "model_name"), ("responseId", "id")):
        value = document.get(name)
        if value and isinstance(value, str):
            found[key] = value
    for name in _METADATA_KEYS:
        if value := candidate.get(name):
            found[_in_snake_case(name)] = _renamed(value)
    return found


def _renamed(value: Any, depth: int = 8) -> Any:
    """``value`` with names like ``web_search_queries``, as in LangChain's adapter."""
    if isinstance(value, list):
        return [_renamed(item, depth) for item in value]
    if not isinstance(value, dict) or not depth:
        return value
    return {_in_snake_case(name): _renamed(item, depth - 1) for name, item in value.items()}


def _in_snake_case(name: str) -> str:
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)


def _reason(candidate: Mapping[str, Any]) -> str | None:
    reason = candidate.get("finishReason")
    return "stop" if reason == "STOP" else to_chat_finish_reason(nonempty_string_or_none(reason))


def _usage(usage: object) -> UsageMetadata | None:
    """The usage so far. Gemini counts thoughts, and the results of its own tools, apart from the other tokens."""
    reported_counts = parse_token_counts(usage, _USED)
    if not any(reported_counts.values()):
        return None
    counts = {
        "input": reported_counts.get("prompt", 0) + reported_counts.get("results", 0),
        "output": reported_counts.get("said", 0) + reported_counts.get("thought", 0),
    }
    if "total" in reported_counts:
        counts["total"] = reported_counts["total"]
    thought = {"reasoning": reported_counts["thought"]} if reported_counts.get("thought") else {}
    return make_usage_metadata(counts, {"cache_read": reported_counts.get("cached", 0)}, thought)


def _logprobs(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The log probabilities of the tokens, in the form of Chat Completions."""
    chosen, top = (
        objects_in_list(result.get("chosenCandidates")),
        objects_in_list(result.get("topCandidates")),
    )
    return [
        {
            **_logprob(item),
            "top_logprobs": [
                _logprob(other) for other in objects_in_list(object_or_empty(others).get("candidates"))
            ],
        }
        for item, others in zip_longest(chosen, top)
        if item is not None
    ]


def _logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    likely = token.get("logProbability")
    return {
        "token": nonempty_string_or_none(token.get("token")) or "",
        "logprob": likely if isinstance(likely, int | float) else None,
    }
