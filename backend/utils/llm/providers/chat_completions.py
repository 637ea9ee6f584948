"""Client side of OpenAI's Chat Completions, which most other servers offer, too.

This module is imported only when a client is built, because it imports an SDK.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import httpx2
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ..failures import GOOD, BadAnswer, FailureCategory, to_chat_finish_reason
from ..transport import AnswerTooLargeError
from .answer import ParsedAnswer, make_usage_metadata
from .ask import SerializedRequest, raise_if_provider_error
from .chat_history import role_names_for_model, to_chat_messages
from .logprobs import parse_logprobs
from .loose_json import (
    nonempty_string_or_none,
    object_or_empty,
    objects_in_list,
    parse_count,
    parse_token_counts,
    text_or_empty,
)
from .schema_forms import add_schema_instructions, choose_schema_instructions
from .tool_calls import ToolCallPiece

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages.ai import UsageMetadata

    from .ask import ModelRequest

HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": f"OpenAI/Python {openai.__version__}",
}
"""The headers of every request, without those of the SDK that describe this machine."""
_NOWHERE = "https://not.sent.invalid/v1"
_STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
_USED = {"input": "prompt_tokens", "output": "completion_tokens", "total": "total_tokens"}
_USED_INWARD = {
    "audio": "audio_tokens",
    "cache_read": "cached_tokens",
    "cache_creation": "cache_write_tokens",
}
_USED_OUTWARD = {"audio": "audio_tokens", "reasoning": "reasoning_tokens"}
_ANTHROPICS = {"input": "input_tokens", "output": "output_tokens"}
_CACHED = {
    "cache_read": ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"),
    "cache_creation": ("cache_creation_input_tokens",),
}
_OTHER_NAMES = frozenset({*_ANTHROPICS.values(), *chain.from_iterable(_CACHED.values())})
_NAMES = {
    "model": "model_name",
    "id": "id",
    "system_fingerprint": "system_fingerprint",
    "service_tier": "service_tier",
}
_EXTRAS = {"message": ("audio", "annotations"), "delta": ("annotations",)}
_SOURCES = ("citations", "search_results")
_COMPLAINTS = ("message", "msg", "detail", "error_msg", "error_message")
_USUAL = frozenset({"role", "content", "tool_calls"})


class ChatCompletionsApi:
    """Serializes requests to ``model`` for Chat Completions, as `ChatOpenAI` does, and makes readers of answers."""

    def __init__(self, model: str) -> None:
        self._chat = make_chat_openai(model, use_responses_api=False)
        self._roles = role_names_for_model(model)

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` as JSON of Chat Completions. See `ChatApi.serialize`."""
        if request.ask.schema is not None:
            form = choose_schema_instructions(request.ask.schema, request.endpoint.can.schema_form)
            request = request if form.is_format else add_schema_instructions(form, request)
        settings = _settings(request)
        streaming = _STREAMING if streams else {}
        body = make_body_without_messages(
            self._chat, request, {**settings, **streaming, "stop": request.stop}
        )
        if request.is_plain and not request.endpoint.can.strict_turns:
            roles = self._roles
            body["messages"] = [
                {"role": roles[message.type], "content": message.content} for message in request.messages
            ]
        else:
            body["messages"] = to_chat_messages(request, self._roles)
        return SerializedRequest("/chat/completions", body, HEADERS)

    def make_answer_reader(self, request: ModelRequest) -> ChatCompletionsAnswerReader:
        """Make a reader for the answer to ``request``. See `ChatApi.make_answer_reader`."""
        return ChatCompletionsAnswerReader(
            request.stop,
            has_others=request.ticket.trust.has_others,
            max_choices=request.ticket.trust.most_calls,
        )


def _settings(request: ModelRequest) -> dict[str, Any]:
    """The settings of a request as keyword arguments of `ChatOpenAI`."""
    ask, can, settings = request.ask, request.endpoint.can, request.settings
    extra = dict(settings.get("extra_body", ()))
    if ask.cache_key and can.cache_key:
        extra["prompt_cache_key"] = ask.cache_key
    if ask.schema is not None and (wanted := choose_schema_instructions(ask.schema, can.schema_form).format):
        # In the body, not as `response_format`: that would take the SDK's slow way of parsing the answer itself.
        extra["response_format"] = _nested(wanted)
    found = {**settings, "extra_body": extra}
    if ask.tools:
        found["tools"] = [_tool(tool, is_enforced="strict" not in can.lacks) for tool in ask.tools]
        if ask.tool_choice is not None:
            found["tool_choice"] = to_openai_tool_choice(
                ask.tool_choice, {"function": {"name": ask.tool_choice}}
            )
        if ask.parallel_tool_calls is not None and "parallel_tool_calls" not in can.lacks:
            found["parallel_tool_calls"] = ask.parallel_tool_calls
    return found


def _tool(tool: Mapping[str, Any], *, is_enforced: bool) -> dict[str, Any]:
    """A tool without Anthropic's own fields; without ``strict`` for a server that does not enforce schemas of tools."""
    kept = {name: value for name, value in tool.items() if name != "cache_control"}
    if is_enforced or "function" not in tool:
        return kept
    return {**kept, "function": {name: value for name, value in tool["function"].items() if name != "strict"}}


def _nested(wanted: Mapping[str, Any]) -> dict[str, Any]:
    kind = wanted["type"]
    described = {key: value for key, value in wanted.items() if key != "type"}
    return {"type": kind, kind: described} if described else {"type": kind}


# How the adapter words a request, for both of OpenAI's APIs --------------------------------------------------------------


def make_chat_openai(model: str, *, use_responses_api: bool) -> ChatOpenAI:
    """Create LangChain's `ChatOpenAI` only to serialize requests, without network and environment variables."""
    return ChatOpenAI(
        model=model,
        api_key=SecretStr("the-transport-signs"),
        base_url=_NOWHERE,
        # What these are given can only refuse.
        http_client=httpx2.Client(transport=httpx2.BaseTransport(), trust_env=False),
        http_async_client=httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport(), trust_env=False),
        http_socket_options=(),
        max_retries=0,
        openai_proxy=None,
        output_version=None,
        stream_chunk_timeout=None,
        use_responses_api=use_responses_api,
    )


def make_body_without_messages(
    chat: ChatOpenAI, request: ModelRequest, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Serialize the body of ``request`` except its messages, which the caller adds.

    Args:
        chat: The serializer from `make_chat_openai`.
        request: The request, whose endpoint names the model.
        settings: The keyword arguments of `ChatOpenAI`, such as temperature and tools.
    """
    payload = chat._get_request_payload([], **settings)  # noqa: SLF001 - see decision 14
    extra = payload.pop("extra_body", None) or {}
    payload.pop("messages", payload.pop("input", None))
    return {**payload, **extra, "model": request.endpoint.model_id}


def to_openai_tool_choice(choice: str, function_choice: Mapping[str, Any]) -> str | dict[str, Any]:
    """Convert ``choice`` (``auto``, ``none``, ``required`` or a tool's name) into OpenAI's ``tool_choice``.

    For a tool's name, ``function_choice`` has the fields that select the tool in the API's form.
    """
    return choice if choice in {"auto", "none", "required"} else {"type": "function", **function_choice}


# Answers -------------------------------------------------------------------------------------------------------------


class ChatCompletionsAnswerReader:
    """Reads one answer of Chat Completions, complete or event by event.

    Args:
        stop: The stop sequences of the request.
        has_others: Whether to read further choices, and extra fields such as audio and citations.
        max_choices: The maximum number of choices; an answer with more is an error.

    Attributes:
        is_over: Whether the finish reason and then the usage have arrived. No server sends more, but some
            leave the connection open.
    """

    def __init__(
        self, stop: Sequence[str] | None = None, *, has_others: bool = True, max_choices: int = 1000
    ) -> None:
        self._asked = stop or ()
        self._has_others = has_others
        self._most_choices = max_choices
        self._has_reason = self._has_names = self._has_spoken = False
        self._index: object = 0
        self.is_over = False

    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse a complete answer. See `AnswerReader.parse_answer`."""
        choices = document.get("choices")
        if (not choices or document.get("error")) and (error := find_response_error(document)):
            raise_if_provider_error(error)
        if not isinstance(choices, list):
            raise BadAnswer(FailureCategory.UNREADABLE)
        found = self._of_choices(choices, "message")
        found.metadata = self._metadata(document)
        usage = document.get("usage")
        if usage and isinstance(usage, dict):
            found.usage, found.metadata["token_usage"] = parse_chat_usage(usage), _figures(usage)
        return found

    def parse_event(self, document: dict[str, Any]) -> ParsedAnswer | None:
        """Parse one event of a stream. See `AnswerReader.parse_event`."""
        choices = document.get("choices")
        if (not choices or document.get("error")) and (error := find_response_error(document)):
            raise_if_provider_error(error)
        usage = document.get("usage")
        if not choices or not isinstance(choices, list):
            answer = ParsedAnswer(usage=parse_chat_usage(usage))
            self.is_over = self._has_reason and answer.usage is not None
            return answer if answer.usage is not None else None
        found = self._of_choices(choices, "delta")
        if found.reason is not None:
            self._has_reason, usage = True, usage or _usage_elsewhere(document)
        if found.reason is not None or not self._has_names:
            found.metadata, self._has_names = self._metadata(document), True
        if usage:
            found.usage = parse_chat_usage(usage)
        return found

    def _of_choices(self, choices: Sequence[Any], kind: str) -> ParsedAnswer:
        if len(choices) > self._most_choices:
            raise AnswerTooLargeError(f"{self._most_choices:,} choices")
        found: ParsedAnswer | None = None
        others: list[str | None] = []
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            index = choice.get("index") or 0
            if len(choices) == 1 and not self._has_spoken:
                self._index = index  # some servers count from one
            if found is None and (index == self._index or not parse_count(index)):
                found = self._of_choice(choice, kind)
            elif self._has_others:
                others.append(_reason_of_other(choice, kind))
        found = found or ParsedAnswer()
        found.others = [reason for reason in others if reason] if others else ()
        return found

    def _of_choice(self, choice: Mapping[str, Any], kind: str) -> ParsedAnswer:
        if error := choice.get("error"):
            raise_if_provider_error(error)
        message = choice.get(kind)
        if not isinstance(message, dict):
            # Some servers stream one event: the whole message. Others repeat all so far beside each delta.
            message = (
                {} if self._has_spoken else object_or_empty(choice.get("message") or choice.get("delta"))
            )
        content = message.get("content")
        found = ParsedAnswer(content if isinstance(content, str) else "")
        if content and not found.text:
            found.text, found.thoughts = text_or_empty(content), _thoughts_among(content)
        if reason := choice.get("finish_reason"):
            found.reason = (
                reason
                if isinstance(reason, str) and reason in GOOD
                else to_chat_finish_reason(nonempty_string_or_none(reason))
            )
            found.stop_sequence = self._stop_in(choice) if self._asked else None
        if calls := message.get("tool_calls"):
            found.calls = [_call(call) for call in objects_in_list(calls)]
        self._has_spoken = self._has_spoken or bool(content or calls)
        if likely := choice.get("logprobs"):
            found.logprobs = parse_logprobs(object_or_empty(likely).get("content"))
        if not message.keys() <= _USUAL:
            self._note_rare(message, found, _EXTRAS[kind])
        return found

    def _stop_in(self, choice: Mapping[str, Any]) -> str | None:
        """The stop sequence that ended the text, as vLLM and similar servers report it; None if the request did not ask for it."""
        sequence = choice.get("stop_reason")
        return sequence if isinstance(sequence, str) and sequence in self._asked else None

    def _note_rare(self, message: Mapping[str, Any], found: ParsedAnswer, extras: Sequence[str]) -> None:
        """Add to ``found`` the rare parts of an answer: a refusal, a call of the old form, thoughts, audio, sources."""
        if refusal := message.get("refusal"):
            found.refusal = text_or_empty(refusal)
        call = message.get("function_call")  # the form before tools
        if isinstance(call, dict) and call and not found.calls:
            found.calls, self._has_spoken = [_call({"index": 0, "function": call})], True
        if thoughts := message.get("reasoning_content") or message.get("reasoning"):
            found.thoughts = text_or_empty(thoughts)
        if reasoning := message.get("reasoning_details"):
            found.reasoning = objects_in_list(reasoning)
            found.thoughts = found.thoughts or "".join(map(_thought_of, found.reasoning))
        for name in extras if self._has_others else ():
            if value := message.get(name):
                found.extras[name] = value

    def _metadata(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The model and server that answered, by LangChain's names."""
        found: dict[str, Any] = {"model_provider": "openai"}
        for name, key in _NAMES.items():
            value = document.get(name)
            if value and isinstance(value, str):
                found[key] = value
        for name in _SOURCES if self._has_others else ():
            if value := document.get(name):
                found[name] = value
        return found


def find_response_error(document: Mapping[str, Any]) -> object:
    """Find the error in a response's JSON, in any of the forms that servers use; None if there is no error."""
    if error := document.get("error"):
        return error
    if document.get("choices"):
        return None
    status = object_or_empty(document.get("base_resp"))  # MiniMax's
    if code := status.get("status_code"):
        return {"code": code, "message": status.get("status_msg")}
    return document if any(isinstance(document.get(name), str) for name in _COMPLAINTS) else None


def _usage_elsewhere(document: Mapping[str, Any]) -> object:
    """The usage, where Groq and Moonshot put it in streams."""
    if beside := document.get("x_groq"):
        return object_or_empty(beside).get("usage")
    choices = document.get("choices")
    return object_or_empty(choices[0]).get("usage") if choices and isinstance(choices, list) else None


def _thoughts_among(parts: object) -> str:
    """The thoughts in a text that comes in parts, as Mistral sends it."""
    return "".join(text_or_empty(part.get("thinking")) for part in objects_in_list(parts))


def _thought_of(block: Mapping[str, Any]) -> str:
    return text_or_empty(block.get("text")) or text_or_empty(block.get("summary"))


def _reason_of_other(choice: Mapping[str, Any], kind: str) -> str | None:
    """Why a choice beside the first ended: one that declines counts as filtered."""
    declined = object_or_empty(choice.get(kind)).get("refusal")
    return (
        "content_filter"
        if declined
        else to_chat_finish_reason(nonempty_string_or_none(choice.get("finish_reason")))
    )


def _call(call: Mapping[str, Any]) -> ToolCallPiece:
    function = object_or_empty(call.get("function"))
    return ToolCallPiece(
        place=parse_count(call.get("index")),
        id=nonempty_string_or_none(call.get("id")),
        name=nonempty_string_or_none(function.get("name")),
        arguments=tool_arguments_to_json(function.get("arguments")),
    )


def tool_arguments_to_json(value: object) -> str:
    """Return a tool call's arguments, or a piece of them, as JSON text; some servers send an object."""
    return json.dumps(value) if isinstance(value, dict | list) else text_or_empty(value)


def parse_chat_usage(value: object) -> UsageMetadata | None:
    """Convert the ``usage`` of Chat Completions into LangChain's ``usage_metadata``; None without token counts."""
    if not value or not isinstance(value, dict):
        return None
    counts = parse_token_counts(value, _USED)
    inward = parse_token_counts(value.get("prompt_tokens_details"), _USED_INWARD)
    outward = parse_token_counts(value.get("completion_tokens_details"), _USED_OUTWARD)
    if not _OTHER_NAMES.isdisjoint(value):
        counts, inward = _by_other_names(value, counts, inward)
    return make_usage_metadata(counts, inward, outward)


def _by_other_names(
    usage: Mapping[str, Any], counts: dict[str, int], inward: dict[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Usage by gateways' other names. Only Anthropic's ``input_tokens`` exclude cached tokens."""
    cached = {**parse_token_counts(usage, _CACHED), **inward}
    anthropic_counts = parse_token_counts(usage, _ANTHROPICS)
    if "input" in anthropic_counts and "input" not in counts:
        anthropic_counts["input"] += cached.get("cache_read", 0) + cached.get("cache_creation", 0)
    return {**anthropic_counts, **counts}, cached


def _figures(usage: Mapping[str, Any], depth: int = 2) -> dict[str, Any]:
    """The numbers in ``usage`` and in its nested objects, by the provider's names."""
    found: dict[str, Any] = {}
    for name, value in usage.items():
        if value is None or isinstance(value, int | float):
            found[name] = value
        elif value and depth and isinstance(value, dict):
            found[name] = _figures(value, depth - 1)
    return found
