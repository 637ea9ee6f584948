"""The four ways to call a model, as one axis of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from langchain_core.runnables import Runnable


Driver: TypeAlias = Callable[[Any, Any], AIMessage]
"""Takes a model and a prompt."""


def joined(chunks: Iterable[Any]) -> AIMessage:
    """The message that a stream adds up to."""
    whole: AIMessageChunk | None = None
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


T = TypeVar("T")


def on_a_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it gives on a loop of its own. `asyncio.run` would also print it, message by message, until Python 3.12."""
    with asyncio.Runner() as runner:
        return runner.get_loop().run_until_complete(coroutine)


def invoke(model: Runnable[Any, Any], prompt: Any) -> AIMessage:
    answer = model.invoke(prompt)
    assert isinstance(answer, AIMessage)
    return answer


def ainvoke(model: Runnable[Any, Any], prompt: Any) -> AIMessage:
    answer = on_a_loop(model.ainvoke(prompt))
    assert isinstance(answer, AIMessage)
    return answer


def stream(model: Runnable[Any, Any], prompt: Any) -> AIMessage:
    return joined(model.stream(prompt))


def astream(model: Runnable[Any, Any], prompt: Any) -> AIMessage:
    async def collect() -> list[Any]:
        return [chunk async for chunk in model.astream(prompt)]

    return joined(on_a_loop(collect()))


DRIVERS = [invoke, ainvoke, stream, astream]
STREAMS = [stream, astream]
