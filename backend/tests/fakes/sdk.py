"""The vendors' own clients in the place of ours, on our transport: what they send and read is what ours is compared with."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Self, cast

import anthropic
import httpx
import httpx2
from google.genai import Client
from google.genai.types import HttpOptions
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from pydantic import SecretStr, model_validator

from backend.utils.llm.failures import to_chat_finish_reason
from backend.utils.llm.providers import anthropic_api, chat_completions, gemini_api, responses_api
from backend.utils.llm.providers.answer import to_ai_message
from backend.utils.llm.providers.answer_stream import ChunkBuilder
from backend.utils.llm.transport import ERROR_STATUS, HOUSE, TICKET_HEADER, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from backend.utils.llm.model_config import Endpoint
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.providers import ModelRequest
    from backend.utils.llm.transport import AsyncResponse, Response, SigningTransport

KEY = "sk-the-transport-signs"


def send_through_sdk(patchbay: Patchbay) -> None:
    """From now on ``patchbay`` asks its providers through the vendors' clients."""
    patchbay.runtime.clients = cast("Any", _Clients(patchbay.runtime.transport))


class _Clients:
    def __init__(self, transport: SigningTransport) -> None:
        self._transport = SdkTransport(transport)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return True

    def get_client(self, endpoint: Endpoint, seconds: float | None = None) -> Any:
        if endpoint.provider.api == "gemini":
            return _Gemini(endpoint, self._transport)
        if endpoint.provider.api == "anthropic":
            return _Anthropic(endpoint, self._transport)
        kind = _Responses if endpoint.api_mode == "responses" else _Chat
        return kind(endpoint, self._transport)


class SdkTransport:
    """One object with the shape of all four kinds of HTTP transport, which sends on a `SigningTransport`."""

    def __init__(self, transport: SigningTransport) -> None:
        self._transport = transport

    def handle_request(self, request: Any) -> Any:
        return _answer(request, self._transport.send(*_taken_from(request, request.read())))

    async def handle_async_request(self, request: Any) -> Any:
        return _answer(request, await self._transport.asend(*_taken_from(request, await request.aread())))

    def close(self) -> None: ...

    async def aclose(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def _taken_from(request: Any, content: bytes) -> tuple[str | None, Request]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    number = headers.pop(TICKET_HEADER, None)
    return number, Request(str(request.url), headers, content, request.method)


def _answer(request: Any, response: Response | AsyncResponse) -> Any:
    family: Any = httpx2 if isinstance(request, httpx2.Request) else httpx
    headers = dict(response.headers)
    if response.status >= ERROR_STATUS:
        return family.Response(response.status, headers=headers, content=response.content)
    return family.Response(response.status, headers=headers, stream=_Body(response))


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream, httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    def close(self) -> None:
        self._body.close()

    async def aclose(self) -> None:
        self._body.close()


# OpenAI --------------------------------------------------------------------------------------------------------------


def _openai_chat(endpoint: Endpoint, transport: Any, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=endpoint.model_id,
        api_key=SecretStr(KEY),
        base_url=endpoint.provider.base_url,
        http_client=httpx2.Client(transport=transport, trust_env=False),
        http_async_client=httpx2.AsyncClient(transport=transport, trust_env=False),
        http_socket_options=(),
        max_retries=0,
        openai_proxy=None,
        output_version=None,
        stream_usage=True,
        stream_chunk_timeout=None,
        **more,
    )


class _Chat:
    """`ChatOpenAI` over Chat Completions."""

    def __init__(self, endpoint: Endpoint, transport: Any) -> None:
        self._chat: Any = _openai_chat(endpoint, transport, use_responses_api=False)

    def generate(self, request: ModelRequest) -> AIMessage:
        return _in_our_shape(self._chat._generate(list(request.messages), **_openai(request)))

    async def agenerate(self, request: ModelRequest) -> AIMessage:
        return _in_our_shape(await self._chat._agenerate(list(request.messages), **_openai(request)))

    def stream(self, request: ModelRequest) -> Iterator[ChatGenerationChunk]:
        once: set[str] = set()
        with closing(self._chat._stream(list(request.messages), **_openai(request))) as chunks:
            for chunk in chunks:
                yield _chunk_in_our_shape(chunk, once)

    async def astream(self, request: ModelRequest) -> AsyncIterator[ChatGenerationChunk]:
        once: set[str] = set()
        async with aclosing(self._chat._astream(list(request.messages), **_openai(request))) as chunks:
            async for chunk in chunks:
                yield _chunk_in_our_shape(chunk, once)


def _openai(request: ModelRequest) -> dict[str, Any]:
    settings = chat_completions._settings(request)
    return {**settings, "stop": request.stop, "timeout": request.seconds, "extra_headers": _ticket(request)}


def _ticket(request: ModelRequest) -> dict[str, str]:
    return {TICKET_HEADER: request.ticket.number}


class _Responses:
    """OpenAI's SDK over Responses: the adapter gives no reason to finish, so its answers are read by our reader."""

    def __init__(self, endpoint: Endpoint, transport: Any) -> None:
        self._chat: Any = _openai_chat(endpoint, transport, use_responses_api=True)

    def _payload(self, request: ModelRequest, **more: Any) -> dict[str, Any]:
        settings = responses_api._settings(request)
        body = self._chat._get_request_payload(list(request.messages), **settings, **more)
        body |= body.pop("extra_body", {})
        known: dict[str, Any] = {
            name: body.pop(name) for name in ("model", "input", "stream", "store") if name in body
        }
        return {**known, "extra_body": body, "timeout": request.seconds, "extra_headers": _ticket(request)}

    def generate(self, request: ModelRequest) -> AIMessage:
        response = self._chat.root_client.responses.create(**self._payload(request))
        return to_ai_message(
            responses_api.ResponsesAnswerReader(request.stop).parse_answer(_plain(response)), HOUSE
        )

    async def agenerate(self, request: ModelRequest) -> AIMessage:
        response = await self._chat.root_async_client.responses.create(**self._payload(request))
        return to_ai_message(
            responses_api.ResponsesAnswerReader(request.stop).parse_answer(_plain(response)), HOUSE
        )

    def stream(self, request: ModelRequest) -> Iterator[ChatGenerationChunk]:
        reading = _Reading(request)
        with self._chat.root_client.responses.create(**self._payload(request, stream=True)) as events:
            for event in events:
                yield from reading.read(event)
        yield from reading.flush()

    async def astream(self, request: ModelRequest) -> AsyncIterator[ChatGenerationChunk]:
        reading = _Reading(request)
        async with await self._chat.root_async_client.responses.create(
            **self._payload(request, stream=True)
        ) as events:
            async for event in events:
                for chunk in reading.read(event):
                    yield chunk
        for chunk in reading.flush():
            yield chunk


class _Reading:
    def __init__(self, request: ModelRequest) -> None:
        self._reader = responses_api.ResponsesAnswerReader(request.stop)
        self._stream = ChunkBuilder(HOUSE)

    def read(self, event: Any) -> Iterator[ChatGenerationChunk]:
        if (piece := self._reader.parse_event(_plain(event))) is not None:
            self._stream.add_event(piece)
        if (chunk := self._stream.take_chunk()) is not None:
            yield chunk

    def flush(self) -> Iterator[ChatGenerationChunk]:
        if (chunk := self._stream.flush()) is not None:
            yield chunk


def _plain(told: Any) -> Any:
    return told.model_dump(warnings=False) if hasattr(told, "model_dump") else told


# Gemini --------------------------------------------------------------------------------------------------------------


class _GeminiChat(ChatGoogleGenerativeAI):
    @model_validator(mode="after")
    def validate_environment(self) -> Any:
        transport: Any = (self.client_args or {})["transport"]
        self.client = Client(
            vertexai=False,
            api_key=KEY,
            http_options=HttpOptions(
                api_version="v1beta",
                base_url=str(self.base_url),
                httpx_client=httpx.Client(transport=transport, trust_env=False),
                httpx_async_client=httpx.AsyncClient(transport=transport, trust_env=False),
            ),
        )
        return self

    @property
    def async_client(self) -> Any:
        return self.client.aio if self.client is not None else None


class _Gemini:
    """`ChatGoogleGenerativeAI`."""

    def __init__(self, endpoint: Endpoint, transport: Any) -> None:
        self._chat: Any = _GeminiChat(
            model=endpoint.model_id,
            google_api_key=SecretStr(KEY),
            base_url=endpoint.provider.base_url,
            client_args={"transport": transport},
            max_retries=1,
            output_version=None,
            temperature=None,
            vertexai=False,
        )

    def generate(self, request: ModelRequest) -> AIMessage:
        return _in_our_shape(self._chat._generate(list(request.messages), **_gemini(request)))

    async def agenerate(self, request: ModelRequest) -> AIMessage:
        return _in_our_shape(await self._chat._agenerate(list(request.messages), **_gemini(request)))

    def stream(self, request: ModelRequest) -> Iterator[ChatGenerationChunk]:
        once: set[str] = set()
        with closing(self._chat._stream(list(request.messages), **_gemini(request))) as chunks:
            for chunk in chunks:
                yield _chunk_in_our_shape(chunk, once)

    async def astream(self, request: ModelRequest) -> AsyncIterator[ChatGenerationChunk]:
        once: set[str] = set()
        async with aclosing(self._chat._astream(list(request.messages), **_gemini(request))) as chunks:
            async for chunk in chunks:
                yield _chunk_in_our_shape(chunk, once)


def _gemini(request: ModelRequest) -> dict[str, Any]:
    settings = gemini_api._settings(request.ask, request)
    http_options = {"headers": _ticket(request)}
    return {**settings, "stop": request.stop, "timeout": request.seconds, "http_options": http_options}


# Anthropic -----------------------------------------------------------------------------------------------------------


class _Anthropic:
    """`ChatAnthropic`."""

    def __init__(self, endpoint: Endpoint, transport: Any) -> None:
        self._chat: Any = ChatAnthropic(
            model=endpoint.model_id, max_tokens=endpoint.can.max_output, api_key=SecretStr(KEY), max_retries=0
        )
        told: dict[str, Any] = {"api_key": KEY, "base_url": endpoint.provider.base_url, "max_retries": 0}
        self._chat.__dict__["_client"] = anthropic.Client(
            http_client=httpx2.Client(transport=transport, trust_env=False), **told
        )
        self._chat.__dict__["_async_client"] = anthropic.AsyncClient(
            http_client=httpx2.AsyncClient(transport=transport, trust_env=False), **told
        )

    def generate(self, request: ModelRequest) -> AIMessage:
        messages, settings = _anthropic(request)
        return _in_our_shape(self._chat._generate(*messages, **settings))

    async def agenerate(self, request: ModelRequest) -> AIMessage:
        messages, settings = _anthropic(request)
        return _in_our_shape(await self._chat._agenerate(*messages, **settings))

    def stream(self, request: ModelRequest) -> Iterator[ChatGenerationChunk]:
        once: set[str] = set()
        messages, settings = _anthropic(request)
        with closing(self._chat._stream(*messages, **settings)) as chunks:
            for chunk in chunks:
                yield _chunk_in_our_shape(chunk, once)

    async def astream(self, request: ModelRequest) -> AsyncIterator[ChatGenerationChunk]:
        once: set[str] = set()
        messages, settings = _anthropic(request)
        async with aclosing(self._chat._astream(*messages, **settings)) as chunks:
            async for chunk in chunks:
                yield _chunk_in_our_shape(chunk, once)


def _anthropic(request: ModelRequest) -> tuple[tuple[Any], dict[str, Any]]:
    request, schema = anthropic_api.choose_schema_enforcement(request)
    ask = request.ask
    settings = dict(request.settings)
    if schema is not None:
        settings["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if ask.tools:
        choice = {"required": "any"}.get(ask.tool_choice or "", ask.tool_choice)
        bound: Any = ChatAnthropic(model=request.endpoint.model_id).bind_tools(ask.tools, tool_choice=choice)
        settings |= bound.kwargs
    headers = _ticket(request) | {"anthropic-version": anthropic_api.VERSION}
    more = {"stop": request.stop, "timeout": request.seconds, "extra_headers": headers}
    return (list(request.messages),), settings | more


# Shapes --------------------------------------------------------------------------------------------------------------


def _in_our_shape(result: ChatResult) -> AIMessage:
    """The first generation: its text one string, all that is told of it in its metadata, and no more of the rest than counts."""
    if not result.generations:
        return AIMessage("")
    first, *others = result.generations
    message = cast("AIMessage", first.message)
    message.response_metadata = _metadata(
        {**(result.llm_output or {}), **(first.generation_info or {}), **message.response_metadata},
        called=bool(message.tool_calls),
    )
    if reasons := [str((other.generation_info or {}).get("finish_reason")) for other in others]:
        message.response_metadata["other_finish_reasons"] = reasons
    _with_plain_content(message)
    return message


def _chunk_in_our_shape(chunk: ChatGenerationChunk, once: set[str]) -> ChatGenerationChunk:
    message = cast("AIMessage", chunk.message)
    if message.tool_calls:
        once.add("calls")
    told = _metadata({**(chunk.generation_info or {}), **message.response_metadata}, called="calls" in once)
    message.response_metadata = {name: value for name, value in told.items() if name not in once}
    once.update(message.response_metadata)
    _with_plain_content(message)
    return ChatGenerationChunk(message=chunk.message)


_NOT_TOLD = {
    "prompt_feedback",
    "stop_reason",
    "stop_sequence",
    "stop_details",
    "role",
    "type",
}


def _metadata(told: dict[str, Any], *, called: bool) -> dict[str, Any]:
    found = {name: value for name, value in told.items() if name not in _NOT_TOLD and value != []}
    reason = found["finish_reason"] = to_chat_finish_reason(
        found.get("finish_reason") or told.get("stop_reason")
    )
    if found.get("model_provider") == "anthropic":
        found = {
            name: value for name, value in found.items() if name not in {"model", "model_provider", "usage"}
        }
    if reason == "stop" and called and found.get("model_provider") == "google_genai":
        found["finish_reason"] = "tool_calls"
    if (told.get("prompt_feedback") or {}).get("block_reason"):
        found["finish_reason"] = "content_filter"
    return {name: value for name, value in found.items() if value is not None}


def _with_plain_content(message: AIMessage) -> None:
    message.content = str(message.text)
    message.additional_kwargs.pop("function_call", None)
