"""`ChatOpenAI` that speaks Responses. Imported only when a client is built.

It words requests as the adapter does. The answers it reads itself: the adapter leaves every item of them in the
message's content, tells no reason to finish, and drops how likely the tokens were.
"""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from langchain_core.outputs import ChatGenerationChunk, ChatResult
from typing_extensions import override

from . import joining
from .openai_client import DirectChat, raise_for
from .responses_answers import StreamReader, result_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage
    from pydantic import BaseModel


PATH = "/responses"


class ResponsesChat(DirectChat):
    """The adapter's class, whose answers look like those of Chat Completions."""

    use_responses_api: bool | None = True

    @staticmethod
    @override
    def _joining(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
        return joining.responses(first, second)

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._direct is not None:
            return result_of(self._direct.ask(PATH, *self._worded(messages, kwargs)), stop)
        payload = self._get_request_payload(messages, **kwargs)
        return result_of(_plain(self.root_client.responses.create(**payload)), stop)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._direct is not None:
            return result_of(await self._direct.aask(PATH, *self._worded(messages, kwargs)), stop)
        payload = self._get_request_payload(messages, **kwargs)
        return result_of(_plain(await self.root_async_client.responses.create(**payload)), stop)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reader = StreamReader(stop)
        with closing(self._events(messages, {**kwargs, "stream": True})) as events:
            for event in events:
                if (chunk := reader.read(event)) is not None:
                    yield ChatGenerationChunk(message=chunk)
        if (rest := reader.rest()) is not None:
            yield ChatGenerationChunk(message=rest)

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reader = StreamReader(stop)
        async with aclosing(self._aevents(messages, {**kwargs, "stream": True})) as events:
            async for event in events:
                if (chunk := reader.read(event)) is not None:
                    yield ChatGenerationChunk(message=chunk)
        if (rest := reader.rest()) is not None:
            yield ChatGenerationChunk(message=rest)

    def _events(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Generator[dict[str, Any]]:
        if self._direct is not None:
            with closing(self._direct.events(PATH, *self._worded(messages, kwargs))) as events:
                yield from map(_read, events)
            return
        with self.root_client.responses.create(**self._get_request_payload(messages, **kwargs)) as told:
            yield from map(_plain, told)

    async def _aevents(
        self, messages: list[BaseMessage], kwargs: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any]]:
        if self._direct is not None:
            async with aclosing(self._direct.aevents(PATH, *self._worded(messages, kwargs))) as events:
                async for event in events:
                    yield _read(event)
            return
        payload = self._get_request_payload(messages, **kwargs)
        async with await self.root_async_client.responses.create(**payload) as told:
            async for one in told:
                yield _plain(one)


def _read(told: dict[str, Any]) -> dict[str, Any]:
    raise_for(told.get("error"))
    return told


def _plain(told: BaseModel) -> dict[str, Any]:
    """What the SDK made an object of, as it was."""
    return told.model_dump(warnings=False)
