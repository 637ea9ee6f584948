"""What is between `ainvoke` and a client, without any I/O: ours and LangChain's over the same canned client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from typing_extensions import override

from backend.utils.llm import get_llm, use

from ..answers import OPENAI_MODEL, PIECES, TEXT
from .langchain import way_of
from .ours import FEATURE, patchbay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.messages.ai import UsageMetadata

    from ..shapes import Shape
    from . import Way

_SHAPES = frozenset({"plain", "stream"})


class OursWithin:
    """Ours whole: the decision, the attempt loop, the receipt, the record."""

    def __init__(self, url: str) -> None:
        opened = patchbay(url)
        opened.runtime.clients = _Canned()  # type: ignore[assignment]  # it has what attempts need
        self._in_force = use(opened)
        self._in_force.__enter__()

    def way(self, shape: Shape) -> Way | None:
        """Where the client's part is nothing."""
        return way_of(lambda: get_llm(FEATURE), shape) if shape in _SHAPES else None


class BareWithin:
    """What LangChain does for any chat model."""

    def __init__(self, _url: str) -> None:
        self._chat = CannedChat()

    def way(self, shape: Shape) -> Way | None:
        """Where the client's part is nothing."""
        return way_of(lambda: self._chat, shape) if shape in _SHAPES else None


class CannedChat(BaseChatModel):
    """Answers at once, with what a client makes of the provider's answer."""

    @property
    @override
    def _llm_type(self) -> str:
        return "canned"

    @override
    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return _result()

    @override
    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return _result()

    @override
    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        yield from map(_chunk, PIECES)
        yield _last_chunk()

    @override
    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in PIECES:
            yield _chunk(piece)
        yield _last_chunk()


class _Canned:
    """In the place of `ChatClients`, and the client itself: the same one for every endpoint."""

    def __contains__(self, endpoint: object) -> bool:
        return True

    def get_client(self, *_: object) -> _Canned:
        return self

    def generate(self, _request: object) -> AIMessage:
        return _message()

    async def agenerate(self, _request: object) -> AIMessage:
        return _message()

    def stream(self, _request: object) -> Iterator[ChatGenerationChunk]:
        yield from map(_chunk, PIECES)
        yield _last_chunk()

    async def astream(self, _request: object) -> AsyncIterator[ChatGenerationChunk]:
        for piece in PIECES:
            yield _chunk(piece)
        yield _last_chunk()


_TOLD = {"model_name": OPENAI_MODEL, "finish_reason": "stop"}
_USAGE: UsageMetadata = {"input_tokens": 200, "output_tokens": 160, "total_tokens": 360}


def _message() -> AIMessage:
    return AIMessage(TEXT, response_metadata=dict(_TOLD), usage_metadata=_USAGE)


def _result() -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=_message())])


def _chunk(piece: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=piece))


def _last_chunk() -> ChatGenerationChunk:
    return ChatGenerationChunk(
        message=AIMessageChunk(content="", response_metadata=dict(_TOLD), usage_metadata=_USAGE)
    )
