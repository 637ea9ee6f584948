"""Google's Gemini API. This module is imported only when a client is built."""

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

from ..failures import named
from ..transport import ExcessError
from .answer import Answer, usage_of
from .ask import Serialized, raise_for
from .gemini_history import gemini_history
from .history import SIGNATURES_KEY
from .loose_json import as_counts, as_name, as_object, as_objects, as_text
from .schema_forms import gemini_form_of, with_form
from .tool_calls import CallPiece, new_call_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages.ai import UsageMetadata
    from pydantic import BaseModel

    from .ask import Ask, ModelRequest
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


class Gemini:
    """Serializes requests as `ChatGoogleGenerativeAI` does, and reads the answers.

    Args:
        model: The model of the requests.
    """

    def __init__(self, model: str) -> None:
        key = SecretStr("the-transport-signs")
        made: Any = _Chat  # type checkers are told one name of each field, and mypy's plugin another
        self._chat: _Chat = made(
            model=model, google_api_key=key, output_version=None, temperature=None, vertexai=False
        )

    def serialize(self, request: ModelRequest, *, streams: bool) -> Serialized:
        """``request`` as JSON of the Gemini API; see `ChatApi.serialize`."""
        if request.ask.schema is not None:
            form = gemini_form_of(request.ask.schema)
            request = request if form.is_format else with_form(form, request)
        settings = _settings(request.ask, request)
        stop = list(request.stop) if request.stop else None
        prepared = self._chat._prepare_request(_PLACEHOLDER_MESSAGES, stop=stop, **settings)  # noqa: SLF001 - see decision 14
        method = "streamGenerateContent?alt=sse" if streams else "generateContent"
        model = prepared["model"]
        version = "" if _HAS_VERSION.search(request.endpoint.provider.base_url.rstrip("/")) else "/v1beta"
        path = f"{version}/{model if '/' in model else f'models/{model}'}:{method}"
        headers = {**HEADERS, "x-server-timeout": str(ceil(request.seconds))}
        history = gemini_history(request)
        return Serialized(path, _body(history, prepared["config"]), headers)

    def reader(self, request: ModelRequest) -> GeminiReader:
        """A reader of the answer to ``request``; see `ChatApi.reader`."""
        return GeminiReader(most_candidates=request.ticket.trust.most_calls)


def _settings(ask: Ask, request: ModelRequest) -> dict[str, Any]:
    """The settings of a request as keyword arguments of `ChatGoogleGenerativeAI`."""
    found = dict(request.settings)
    if ask.tools:
        found["tools"] = _tools(ask)
        if ask.tool_choice is not None:
            found["tool_choice"] = "any" if ask.tool_choice == "required" else ask.tool_choice
    if ask.schema is not None:
        found["response_mime_type"] = "application/json"
        if wanted := gemini_form_of(ask.schema).format:
            found["response_json_schema"] = wanted
    return found


def _body(history: GeminiHistory, config: BaseModel) -> dict[str, Any]:
    """The body of a request. The SDK keeps all settings in one object; in JSON some belong outside ``generationConfig``."""
    instruction = {"systemInstruction": history.instruction} if history.instruction else {}
    settings = _as_json(config, exclude=_NOT_SENT)
    top_level = {key: settings.pop(key) for key in _TOP_LEVEL if key in settings}
    return {**instruction, **top_level, "generationConfig": settings, "contents": history.contents}


# Tools ---------------------------------------------------------------------------------------------------------------


def _tools(ask: Ask) -> list[Any]:
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


class GeminiReader:
    """Parses one answer. An event of a stream has the same form as a whole answer.

    Args:
        most_candidates: The most candidates that are read, and the most parts of each.

    Attributes:
        is_over: Always False, because every event may be followed by another one.
    """

    is_over = False

    def __init__(self, *, most_candidates: int = 1000) -> None:
        self._most = most_candidates
        self._called = 0

    def answer(self, document: dict[str, Any]) -> Answer:
        """Parse a whole answer; see `AnswerReader.answer`."""
        found = self.event(document)
        found.text = found.text.rstrip("\n")
        return found

    def event(self, document: dict[str, Any]) -> Answer:
        """Parse one event of a stream; see `AnswerReader.event`."""
        if error := document.get("error"):
            raise_for(error)
        candidates = as_objects(document.get("candidates"))
        self._bound(candidates, "candidates")
        first = next((one for one in candidates if not one.get("index")), {})
        found = self._of_candidate(first)
        found.others = [reason for one in candidates if one is not first and (reason := _reason(one))]
        found.usage = _usage(document.get("usageMetadata"))
        found.metadata = _metadata(document, first)
        blocked = as_name(as_object(document.get("promptFeedback")).get("blockReason"))
        found.reason = "content_filter" if blocked is not None else self._told_reason(first)
        return found

    def _told_reason(self, candidate: Mapping[str, Any]) -> str | None:
        reason = _reason(candidate)
        return "tool_calls" if reason == "stop" and self._called else reason

    def _of_candidate(self, candidate: Mapping[str, Any]) -> Answer:
        parts = as_objects(as_object(candidate.get("content")).get("parts"))
        self._bound(parts, "parts")
        found = Answer(
            text="".join(as_text(part.get("text")) for part in parts if not part.get("thought")),
            thoughts="".join(as_text(part.get("text")) for part in parts if part.get("thought")),
            media=[block for part in parts if (block := _block(part)) is not None],
            logprobs=_logprobs(as_object(candidate.get("logprobsResult"))),
        )
        called = [part for part in parts if as_object(part.get("functionCall"))]
        found.calls = [self._call(part["functionCall"]) for part in called]
        signatures = {
            call.id: signature.translate(_URL_SAFE)
            for call, part in zip(found.calls, called, strict=True)
            if (signature := as_name(part.get("thoughtSignature")))
        }
        if signatures:
            found.extras[SIGNATURES_KEY] = signatures
        return found

    def _bound(self, items: Sequence[object], what: str) -> None:
        if len(items) > self._most:
            raise ExcessError(f"{self._most:,} {what}")

    def _call(self, call: Mapping[str, Any]) -> CallPiece:
        """A tool call. Each comes whole, so each is a call of its own, whatever its id."""
        self._called += 1
        told = call.get("args")
        arguments = told if isinstance(told, str) else json.dumps(_with_whole_numbers(as_object(told)))
        return CallPiece(
            self._called, as_name(call.get("id")) or new_call_id(), as_name(call.get("name")), arguments
        )


def _with_whole_numbers(value: Any) -> Any:
    """``value`` with whole floats turned to integers: Gemini writes every number of a tool call as a float."""
    match value:
        case dict():
            return {name: _with_whole_numbers(one) for name, one in value.items()}
        case list():
            return [_with_whole_numbers(one) for one in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _block(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """An image that the model made, as a block of LangChain's; None for any other part."""
    data = as_object(part.get("inlineData"))
    kind, content = as_name(data.get("mimeType")), as_name(data.get("data"))
    if kind is None or content is None or not kind.startswith("image/"):
        return None
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{content.translate(_URL_SAFE)}"}}


def _metadata(document: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"model_provider": "google_genai"}
    for name, key in (("modelVersion", "model_name"), ("responseId", "id")):
        told = document.get(name)
        if told and isinstance(told, str):
            found[key] = told
    for name in _METADATA_KEYS:
        if told := candidate.get(name):
            found[_in_snake_case(name)] = _renamed(told)
    return found


def _renamed(value: Any, depth: int = 8) -> Any:
    """``value`` with names like ``web_search_queries``, as in LangChain's adapter."""
    if isinstance(value, list):
        return [_renamed(one, depth) for one in value]
    if not isinstance(value, dict) or not depth:
        return value
    return {_in_snake_case(name): _renamed(one, depth - 1) for name, one in value.items()}


def _in_snake_case(name: str) -> str:
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)


def _reason(candidate: Mapping[str, Any]) -> str | None:
    reason = candidate.get("finishReason")
    return "stop" if reason == "STOP" else named(as_name(reason))


def _usage(usage: object) -> UsageMetadata | None:
    """The usage so far. Gemini counts thoughts, and the results of its own tools, apart from the other tokens."""
    told = as_counts(usage, _USED)
    if not any(told.values()):
        return None
    counts = {
        "input": told.get("prompt", 0) + told.get("results", 0),
        "output": told.get("said", 0) + told.get("thought", 0),
    }
    if "total" in told:
        counts["total"] = told["total"]
    thought = {"reasoning": told["thought"]} if told.get("thought") else {}
    return usage_of(counts, {"cache_read": told.get("cached", 0)}, thought)


def _logprobs(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The log probabilities of the tokens, in the form of Chat Completions."""
    chosen, top = as_objects(result.get("chosenCandidates")), as_objects(result.get("topCandidates"))
    return [
        {
            **_logprob(one),
            "top_logprobs": [_logprob(other) for other in as_objects(as_object(others).get("candidates"))],
        }
        for one, others in zip_longest(chosen, top)
        if one is not None
    ]


def _logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    likely = token.get("logProbability")
    return {
        "token": as_name(token.get("token")) or "",
        "logprob": likely if isinstance(likely, int | float) else None,
    }
