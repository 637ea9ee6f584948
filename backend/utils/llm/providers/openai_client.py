"""`ChatOpenAI` on our transport, which reads nothing from the environment. Imported only when a client is built.

As it comes, the class loses three things that a Chat Completions server says: a refusal in a stream, a choice beside
the first, and what went wrong behind a 200.
"""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from openai import APIError, BaseModel
from pydantic import PrivateAttr, SecretStr
from typing_extensions import override

from . import bounded, joining
from .direct import Direct
from .plain_answers import plain_answer
from .plain_answers import read as read_warily
from .plain_streams import PlainStream
from .told import OTHERS_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage, BaseMessageChunk
    from langchain_core.outputs import ChatResult

    from ..transport import SigningTransport

PATH = "/chat/completions"
STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
ChatT = TypeVar("ChatT", bound="DirectChat")


class DirectChat(ChatOpenAI):
    """The adapter's class, which may send its requests past the SDK."""

    _direct: Direct | None = PrivateAttr(default=None)
    _is_wary: bool = PrivateAttr(default=False)

    def be_wary(self) -> None:
        """Before `send_directly`: whoever sends answers is a stranger."""
        self._is_wary = True

    def send_directly(self, transport: SigningTransport) -> None:
        """From now on: past the SDK, on ``transport``."""
        told = self.root_client.default_headers
        headers = {name: value for name, value in told.items() if isinstance(value, str)}
        raising = self.root_client._make_status_error_from_response  # noqa: SLF001 - the SDK's own exception
        reading, joining = (read_warily, None) if self._is_wary else (bounded.read, self._joining)
        self._direct = Direct(transport, str(self.root_client.base_url), headers, raising, reading, joining)

    @staticmethod
    def _joining(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
        return joining.chat(first, second)

    def _worded(
        self, messages: list[BaseMessage], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The body and the headers of a request, as the SDK takes them out of what the adapter hands to it."""
        payload = self._get_request_payload(messages, **kwargs)
        seconds, extra = payload.pop("timeout", None), payload.pop("extra_body", None)
        headers = {**payload.pop("extra_headers", {}), "x-stainless-read-timeout": str(seconds)}
        return {**payload, **(extra or {})}, headers


class OpenAIChat(DirectChat):
    """Chat Completions, with nothing lost."""

    use_responses_api: bool | None = False

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._direct is None:
            return super()._generate(messages, stop, run_manager, **kwargs)
        told = self._direct.ask(PATH, *self._worded(messages, {**kwargs, "stop": stop}))
        return self._create_chat_result(plain_answer(told) if self._is_wary else told)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._direct is None:
            return await super()._agenerate(messages, stop, run_manager, **kwargs)
        told = await self._direct.aask(PATH, *self._worded(messages, {**kwargs, "stop": stop}))
        return self._create_chat_result(plain_answer(told) if self._is_wary else told)

    @override
    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        if self._direct is None:
            yield from super()._stream(messages, stop, *args, **kwargs)
            return
        worded = self._worded(messages, {**kwargs, **STREAMING, "stop": stop})
        plain = PlainStream() if self._is_wary else HouseStream()
        with closing(self._direct.events(PATH, *worded)) as events:
            for event in events:
                if (chunk := self._read(event, plain)) is not None:
                    yield chunk
        if (last := self._last(plain)) is not None:
            yield last

    @override
    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        if self._direct is None:
            async for chunk in super()._astream(messages, stop, *args, **kwargs):
                yield chunk
            return
        worded = self._worded(messages, {**kwargs, **STREAMING, "stop": stop})
        plain = PlainStream() if self._is_wary else HouseStream()
        async with aclosing(self._direct.aevents(PATH, *worded)) as events:
            async for event in events:
                if (made := self._read(event, plain)) is not None:
                    yield made
        if (last := self._last(plain)) is not None:
            yield last

    def _read(self, told: dict[str, Any], plain: PlainStream | HouseStream) -> ChatGenerationChunk | None:
        """What an event adds to the answer; of a stranger's, what it adds to those before.

        Raises:
            APIError: If it tells an error.
            OwnEndpointError: If the stranger tells too much.
            BadAnswer: If the house's provider does.
        """
        raise_for(told.get("error"))
        return self._made(plain.add(told))

    def _last(self, plain: PlainStream | HouseStream) -> ChatGenerationChunk | None:
        """What is left when no more comes."""
        if isinstance(plain, PlainStream):
            return self._made(plain.rest())
        rest = plain.rest()
        return None if rest is None else ChatGenerationChunk(message=rest)

    def _made(self, told: dict[str, Any] | None) -> ChatGenerationChunk | None:
        return None if told is None else self._convert_chunk_to_generation_chunk(told, AIMessageChunk, None)

    @override
    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type[BaseMessageChunk],
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        choices = chunk.get("choices") or []
        first = [choice for choice in choices if not choice.get("index")]
        made = super()._convert_chunk_to_generation_chunk(
            {**chunk, "choices": first}, default_chunk_class, base_generation_info
        )
        if made is not None and isinstance(made.message, AIMessageChunk):
            for choice in first:
                _keep_refusal(made.message, choice.get("delta") or {})
            others = [choice.get("finish_reason") for choice in choices if choice.get("index")]
            if told := [reason for reason in others if reason]:
                made.message.response_metadata[OTHERS_KEY] = told
        return made

    @override
    def _create_chat_result(
        self, response: dict[str, Any] | BaseModel, generation_info: dict[str, Any] | None = None
    ) -> ChatResult:
        told = response if isinstance(response, dict) else vars(response)
        raise_for(told.get("error"))
        if isinstance(response, dict):
            choices = response.get("choices") or ()
            bounded.few(choices, *((choice.get("message") or {}).get("tool_calls") for choice in choices))
        result = super()._create_chat_result(response, generation_info)
        if isinstance(response, dict):
            for generation, choice in zip(result.generations, response["choices"], strict=True):
                _keep_refusal(generation.message, choice["message"])
        return result


class HouseStream:
    """Hands on what comes, but for what of long arguments has to wait."""

    def __init__(self) -> None:
        self._arguments = bounded.Arguments()

    def add(self, event: dict[str, Any]) -> dict[str, Any]:
        """``event``, which is changed."""
        choices = event.get("choices") or ()
        bounded.few(choices)
        for choice in choices:
            for piece in (choice.get("delta") or {}).get("tool_calls") or ():
                function = piece.get("function") or {}
                if not choice.get("index") and isinstance(text := function.get("arguments"), str):
                    function["arguments"] = self._arguments.add(piece.get("index"), text)
        return event

    def rest(self) -> AIMessageChunk | None:
        """What had to wait."""
        return self._arguments.rest()


def _keep_refusal(message: BaseMessage, delta: Mapping[str, Any]) -> None:
    if refusal := delta.get("refusal"):
        message.additional_kwargs["refusal"] = refusal


def raise_for(error: object) -> None:
    """Raise what stands under ``error`` in an answer, as the SDK does for one in a stream; nothing if nothing does.

    Raises:
        APIError: Its ``body`` is what stood there.
    """
    if not error:
        return
    told = error.model_dump(warnings=False) if isinstance(error, BaseModel) else error
    body = told if isinstance(told, dict) else {"message": str(told)}
    raise APIError(str(body.get("message")), httpx2.Request("POST", "https://provider.invalid"), body=body)


def openai_chat(kind: type[ChatT], model: str, base_url: str, key: str, transport: SigningTransport) -> ChatT:
    """A client of ``model``. Every setting that it would read from the environment is given, or taken back."""
    wire: Any = transport  # one object with the shape of all four kinds of transport, a subclass of none
    chat = kind(
        model=model,
        api_key=SecretStr(key),
        base_url=base_url,
        http_client=httpx2.Client(transport=wire, follow_redirects=False, trust_env=False),
        http_async_client=httpx2.AsyncClient(transport=wire, follow_redirects=False, trust_env=False),
        http_socket_options=(),
        max_retries=0,
        openai_proxy=None,
        output_version=None,
        stream_usage=True,
        stream_chunk_timeout=None,
    )
    for client in (chat.root_client, chat.root_async_client):
        client._custom_headers = {}  # noqa: SLF001 - OPENAI_CUSTOM_HEADERS: there is no setting to say none
    return chat
