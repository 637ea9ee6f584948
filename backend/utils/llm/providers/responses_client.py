"""`ChatOpenAI` that speaks Responses. Imported only when a client is built.

It words requests as the adapter does. The answers it reads itself: the adapter leaves every item of them in the
message's content, tells no reason to finish, and drops how likely the tokens were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from typing_extensions import override

from .responses_answers import StreamReader, result_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage


class ResponsesChat(ChatOpenAI):
    """The adapter's class, whose answers look like those of Chat Completions."""

    use_responses_api: bool | None = True

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        payload = self._get_request_payload(messages, **kwargs)
        return result_of(self.root_client.responses.create(**payload), stop)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        payload = self._get_request_payload(messages, **kwargs)
        return result_of(await self.root_async_client.responses.create(**payload), stop)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        payload = self._get_request_payload(messages, **kwargs, stream=True)
        reader = StreamReader(stop)
        with self.root_client.responses.create(**payload) as events:
            for event in events:
                if (chunk := reader.read(event)) is not None:
                    yield ChatGenerationChunk(message=chunk)

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        payload = self._get_request_payload(messages, **kwargs, stream=True)
        reader = StreamReader(stop)
        async with await self.root_async_client.responses.create(**payload) as events:
            async for event in events:
                if (chunk := reader.read(event)) is not None:
                    yield ChatGenerationChunk(message=chunk)
