"""OpenAI's Chat Completions, also of other servers. This module is imported only when a client is built."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import httpx2
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ..failures import GOOD, BadAnswer, Category, named
from ..transport import ExcessError
from .answer import Answer, usage_of
from .ask import Serialized, raise_for
from .chat_history import chat_messages, roles_for
from .logprobs import logprobs_of
from .loose_json import as_count, as_counts, as_name, as_object, as_objects, as_text
from .schema_forms import form_of, with_form
from .tool_calls import CallPiece

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


class ChatCompletions:
    """Serializes requests as `ChatOpenAI` does, and reads the answers.

    Args:
        model: The model of the requests.
    """

    def __init__(self, model: str) -> None:
        self._chat = openai_chat(model, use_responses_api=False)
        self._roles = roles_for(model)

    def serialize(self, request: ModelRequest, *, streams: bool) -> Serialized:
        """``request`` as JSON of Chat Completions; see `ChatApi.serialize`."""
        if request.ask.schema is not None:
            form = form_of(request.ask.schema, request.endpoint.can.schema_form)
            request = request if form.is_format else with_form(form, request)
        settings = _settings(request)
        streaming = _STREAMING if streams else {}
        body = settings_payload(self._chat, request, {**settings, **streaming, "stop": request.stop})
        if request.is_plain and not request.endpoint.can.strict_turns:
            roles = self._roles
            body["messages"] = [{"role": roles[one.type], "content": one.content} for one in request.messages]
        else:
            body["messages"] = chat_messages(request, self._roles)
        return Serialized("/chat/completions", body, HEADERS)

    def reader(self, request: ModelRequest) -> ChatReader:
        """A reader of the answer to ``request``; see `ChatApi.reader`."""
        return ChatReader(
            request.stop,
            has_others=request.ticket.trust.has_others,
            most_choices=request.ticket.trust.most_calls,
        )


def _settings(request: ModelRequest) -> dict[str, Any]:
    """The settings of a request as keyword arguments of `ChatOpenAI`."""
    ask, can, settings = request.ask, request.endpoint.can, request.settings
    extra = dict(settings.get("extra_body", ()))
    if ask.cache_key and can.cache_key:
        extra["prompt_cache_key"] = ask.cache_key
    if ask.schema is not None and (wanted := form_of(ask.schema, can.schema_form).format):
        # In the body, not as `response_format`: that would take the SDK's slow way of parsing the answer itself.
        extra["response_format"] = _nested(wanted)
    found = {**settings, "extra_body": extra}
    if ask.tools:
        found["tools"] = [_tool(tool, is_enforced="strict" not in can.lacks) for tool in ask.tools]
        if ask.tool_choice is not None:
            found["tool_choice"] = tool_choice_of(ask.tool_choice, {"function": {"name": ask.tool_choice}})
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


def openai_chat(model: str, *, use_responses_api: bool) -> ChatOpenAI:
    """LangChain's adapter for ``model``, which reads no setting from the environment."""
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


def settings_payload(chat: ChatOpenAI, request: ModelRequest, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of ``request`` without its messages, which follow at its end, with the model of its endpoint."""
    payload = chat._get_request_payload([], **settings)  # noqa: SLF001 - see decision 14
    extra = payload.pop("extra_body", None) or {}
    payload.pop("messages", payload.pop("input", None))
    return {**payload, **extra, "model": request.endpoint.model_id}


def tool_choice_of(choice: str, named: Mapping[str, Any]) -> str | dict[str, Any]:
    """``choice`` as OpenAI's ``tool_choice``; ``named`` if it is the name of a tool."""
    return choice if choice in {"auto", "none", "required"} else {"type": "function", **named}


# Answers -------------------------------------------------------------------------------------------------------------


class ChatReader:
    """Reads one answer, whole or event by event.

    Args:
        stop: The stop sequences of the request.
        has_others: Whether other choices than the first, and other fields than its text, are read.
        most_choices: The most choices that are read.

    Attributes:
        is_over: Whether the finish reason and then the usage have arrived: no server sends more, but some leave the
            connection open.
    """

    def __init__(
        self, stop: Sequence[str] | None = None, *, has_others: bool = True, most_choices: int = 1000
    ) -> None:
        self._asked = stop or ()
        self._has_others = has_others
        self._most_choices = most_choices
        self._has_reason = self._has_names = self._has_spoken = False
        self._index: object = 0
        self.is_over = False

    def answer(self, document: dict[str, Any]) -> Answer:
        """Parse a whole answer; see `AnswerReader.answer`."""
        choices = document.get("choices")
        if (not choices or document.get("error")) and (error := error_in(document)):
            raise_for(error)
        if not isinstance(choices, list):
            raise BadAnswer(Category.UNREADABLE)
        found = self._of_choices(choices, "message")
        found.metadata = self._metadata(document)
        usage = document.get("usage")
        if usage and isinstance(usage, dict):
            found.usage, found.metadata["token_usage"] = chat_usage(usage), _figures(usage)
        return found

    def event(self, document: dict[str, Any]) -> Answer | None:
        """Parse one event of a stream; see `AnswerReader.event`."""
        choices = document.get("choices")
        if (not choices or document.get("error")) and (error := error_in(document)):
            raise_for(error)
        usage = document.get("usage")
        if not choices or not isinstance(choices, list):
            told = Answer(usage=chat_usage(usage))
            self.is_over = self._has_reason and told.usage is not None
            return told if told.usage is not None else None
        found = self._of_choices(choices, "delta")
        if found.reason is not None:
            self._has_reason, usage = True, usage or _usage_elsewhere(document)
        if found.reason is not None or not self._has_names:
            found.metadata, self._has_names = self._metadata(document), True
        if usage:
            found.usage = chat_usage(usage)
        return found

    def _of_choices(self, choices: Sequence[Any], kind: str) -> Answer:
        if len(choices) > self._most_choices:
            raise ExcessError(f"{self._most_choices:,} choices")
        found: Answer | None = None
        others: list[str | None] = []
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            index = choice.get("index") or 0
            if len(choices) == 1 and not self._has_spoken:
                self._index = index  # some servers count from one
            if found is None and (index == self._index or not as_count(index)):
                found = self._of_choice(choice, kind)
            elif self._has_others:
                others.append(_reason_of_other(choice, kind))
        found = found or Answer()
        found.others = [reason for reason in others if reason] if others else ()
        return found

    def _of_choice(self, choice: Mapping[str, Any], kind: str) -> Answer:
        if error := choice.get("error"):
            raise_for(error)
        message = choice.get(kind)
        if not isinstance(message, dict):
            # Some servers stream one event: the whole message. Others repeat all so far beside each delta.
            message = {} if self._has_spoken else as_object(choice.get("message") or choice.get("delta"))
        content = message.get("content")
        found = Answer(content if isinstance(content, str) else "")
        if content and not found.text:
            found.text, found.thoughts = as_text(content), _thoughts_among(content)
        if reason := choice.get("finish_reason"):
            found.reason = reason if isinstance(reason, str) and reason in GOOD else named(as_name(reason))
            found.stop_sequence = self._stop_in(choice) if self._asked else None
        if calls := message.get("tool_calls"):
            found.calls = [_call(call) for call in as_objects(calls)]
        self._has_spoken = self._has_spoken or bool(content or calls)
        if likely := choice.get("logprobs"):
            found.logprobs = logprobs_of(as_object(likely).get("content"))
        if not message.keys() <= _USUAL:
            self._note_rare(message, found, _EXTRAS[kind])
        return found

    def _stop_in(self, choice: Mapping[str, Any]) -> str | None:
        """The stop sequence that ended the text, as vLLM and similar servers report it; None if the request did not ask for it."""
        sequence = choice.get("stop_reason")
        return sequence if isinstance(sequence, str) and sequence in self._asked else None

    def _note_rare(self, message: Mapping[str, Any], found: Answer, extras: Sequence[str]) -> None:
        """Add to ``found`` the rare parts of an answer: a refusal, a call of the old form, thoughts, audio, sources."""
        if refusal := message.get("refusal"):
            found.refusal = as_text(refusal)
        call = message.get("function_call")  # the form before tools
        if isinstance(call, dict) and call and not found.calls:
            found.calls, self._has_spoken = [_call({"index": 0, "function": call})], True
        if thoughts := message.get("reasoning_content") or message.get("reasoning"):
            found.thoughts = as_text(thoughts)
        if reasoning := message.get("reasoning_details"):
            found.reasoning = as_objects(reasoning)
            found.thoughts = found.thoughts or "".join(map(_thought_of, found.reasoning))
        for name in extras if self._has_others else ():
            if told := message.get(name):
                found.extras[name] = told

    def _metadata(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The model and server that answered, by LangChain's names."""
        found: dict[str, Any] = {"model_provider": "openai"}
        for name, key in _NAMES.items():
            told = document.get(name)
            if told and isinstance(told, str):
                found[key] = told
        for name in _SOURCES if self._has_others else ():
            if told := document.get(name):
                found[name] = told
        return found


def error_in(document: Mapping[str, Any]) -> object:
    """The error that the JSON of an answer reports, in whatever form the server sends it; None without an error."""
    if error := document.get("error"):
        return error
    if document.get("choices"):
        return None
    status = as_object(document.get("base_resp"))  # MiniMax's
    if code := status.get("status_code"):
        return {"code": code, "message": status.get("status_msg")}
    return document if any(isinstance(document.get(name), str) for name in _COMPLAINTS) else None


def _usage_elsewhere(document: Mapping[str, Any]) -> object:
    """The usage, where Groq and Moonshot put it in streams."""
    if beside := document.get("x_groq"):
        return as_object(beside).get("usage")
    choices = document.get("choices")
    return as_object(choices[0]).get("usage") if choices and isinstance(choices, list) else None


def _thoughts_among(parts: object) -> str:
    """The thoughts in a text that comes in parts, as Mistral sends it."""
    return "".join(as_text(part.get("thinking")) for part in as_objects(parts))


def _thought_of(block: Mapping[str, Any]) -> str:
    return as_text(block.get("text")) or as_text(block.get("summary"))


def _reason_of_other(choice: Mapping[str, Any], kind: str) -> str | None:
    """Why a choice beside the first ended: one that declines counts as filtered."""
    declined = as_object(choice.get(kind)).get("refusal")
    return "content_filter" if declined else named(as_name(choice.get("finish_reason")))


def _call(call: Mapping[str, Any]) -> CallPiece:
    function = as_object(call.get("function"))
    return CallPiece(
        place=as_count(call.get("index")),
        id=as_name(call.get("id")),
        name=as_name(function.get("name")),
        arguments=arguments_of(function.get("arguments")),
    )


def arguments_of(value: object) -> str:
    """A call's arguments, or a piece of them, as JSON text: some servers send an object instead of text."""
    return json.dumps(value) if isinstance(value, dict | list) else as_text(value)


def chat_usage(value: object) -> UsageMetadata | None:
    """The token counts in the ``usage`` of Chat Completions as LangChain's ``usage_metadata``; None without any."""
    if not value or not isinstance(value, dict):
        return None
    counts = as_counts(value, _USED)
    inward = as_counts(value.get("prompt_tokens_details"), _USED_INWARD)
    outward = as_counts(value.get("completion_tokens_details"), _USED_OUTWARD)
    if not _OTHER_NAMES.isdisjoint(value):
        counts, inward = _by_other_names(value, counts, inward)
    return usage_of(counts, inward, outward)


def _by_other_names(
    usage: Mapping[str, Any], counts: dict[str, int], inward: dict[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Usage by gateways' other names. Only Anthropic's ``input_tokens`` exclude cached tokens."""
    cached = {**as_counts(usage, _CACHED), **inward}
    told = as_counts(usage, _ANTHROPICS)
    if "input" in told and "input" not in counts:
        told["input"] += cached.get("cache_read", 0) + cached.get("cache_creation", 0)
    return {**told, **counts}, cached


def _figures(usage: Mapping[str, Any], depth: int = 2) -> dict[str, Any]:
    """The numbers in ``usage`` and in its nested objects, by the provider's names."""
    found: dict[str, Any] = {}
    for name, told in usage.items():
        if told is None or isinstance(told, int | float):
            found[name] = told
        elif told and depth and isinstance(told, dict):
            found[name] = _figures(told, depth - 1)
    return found
