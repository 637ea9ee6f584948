"""A model that never stops talking, and notes when nobody listens any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class EndlessModel(BaseChatModel):
    """Streams for ever. ``closed`` is set when its stream has been closed."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    _closed: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @property
    def closed(self) -> asyncio.Event:
        return self._closed

    @property
    @override
    def _llm_type(self) -> str:
        return "endless"

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("it never comes to an end")

    @override
    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        try:
            while True:
                yield ChatGenerationChunk(message=AIMessageChunk(content="more "))
                await asyncio.sleep(0)
        finally:
            self._closed.set()


class BreakingModel(EndlessModel):
    """Says something, then breaks."""

    error: Exception

    @override
    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="On Mon"))
        raise self.error


class SilentModel(EndlessModel):
    """Is asked, which sets ``asked``, and never says anything."""

    _asked: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @property
    def asked(self) -> asyncio.Event:
        return self._asked

    @override
    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        self._asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self._closed.set()
        yield ChatGenerationChunk(message=AIMessageChunk(content=""))
