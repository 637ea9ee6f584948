"""LangChain's own clients, bare and in LangChain's wrappers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ..answers import ANTHROPIC_MODEL, GEMINI_MODEL, OPENAI_MODEL
from ..shapes import TOOLS, schema
from . import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.runnables import Runnable

    from ..shapes import Shape


class _Dressed:
    """A client, and what is put around each runnable that it gives."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._chat = self._client()

    def _client(self) -> Any:
        return openai(self._url)

    def way(self, shape: Shape) -> Way | None:
        """Every shape, by a runnable that is made once."""
        model = self._runnable(lambda chat: runnable_of(chat, shape))
        return way_of(lambda: model, shape)

    def _runnable(self, make: Callable[[Any], Runnable[Any, Any]]) -> Runnable[Any, Any]:
        return make(self._chat)


class Bare(_Dressed):
    """`ChatOpenAI` as it comes."""


class BareGemini(_Dressed):
    """`ChatGoogleGenerativeAI` as it comes."""

    @override
    def _client(self) -> Any:
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(model=GEMINI_MODEL, base_url=self._url, google_api_key="k")


class BareAnthropic(_Dressed):
    """`ChatAnthropic` as it comes."""

    @override
    def _client(self) -> Any:
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model=ANTHROPIC_MODEL, base_url=self._url, api_key="k")


class WithRetry(_Dressed):
    """LangChain's retries, which are not needed here."""

    @override
    def _runnable(self, make: Callable[[Any], Runnable[Any, Any]]) -> Runnable[Any, Any]:
        return make(self._chat).with_retry(stop_after_attempt=3)


class WithFallbacks(_Dressed):
    """LangChain's fallbacks, which are not needed here."""

    @override
    def _runnable(self, make: Callable[[Any], Runnable[Any, Any]]) -> Runnable[Any, Any]:
        return make(self._chat).with_fallbacks([make(self._client())])


def openai(url: str) -> Any:
    """A default client, which tells the usage of streams, as ours does."""
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=OPENAI_MODEL, base_url=f"{url}/v1", api_key="k", stream_usage=True)


def runnable_of(chat: Any, shape: Shape) -> Runnable[Any, Any]:
    """What is invoked."""
    made: Runnable[Any, Any] = chat
    if shape == "structured":
        made = chat.with_structured_output(schema())
    if shape == "tools":
        made = chat.bind_tools(TOOLS)
    return made


def way_of(model: Callable[[], Any], shape: Shape) -> Way:
    """Invoke what ``model`` gives, or read its stream to the end."""
    if shape == "stream":

        async def acall(prompt: str) -> list[Any]:
            return [chunk async for chunk in model().astream(prompt)]

        return Way(acall, lambda prompt: list(model().stream(prompt)), _joined)
    return Way(lambda prompt: model().ainvoke(prompt), lambda prompt: model().invoke(prompt), _READERS[shape])


def _joined(chunks: list[Any]) -> str:
    if not any(chunk.usage_metadata for chunk in chunks):
        raise ValueError("the stream tells no usage")
    return "".join(chunk.text for chunk in chunks)


def _called(message: Any) -> list[Any]:
    (call,) = message.tool_calls
    return [call["name"], call["args"]]


_READERS: dict[Shape, Callable[[Any], object]] = {
    "plain": lambda message: message.text,
    "structured": lambda found: found.model_dump(),
    "tools": _called,
}
