"""OpenAI's SDK alone: what is under `ChatOpenAI`, and gives no LangChain messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..answers import OPENAI_MODEL
from ..shapes import TOOLS, schema
from . import Way

if TYPE_CHECKING:
    from ..shapes import Shape


class OpenAISDK:
    """`AsyncOpenAI` and `OpenAI` as they come."""

    def __init__(self, url: str) -> None:
        from openai import AsyncOpenAI, OpenAI

        settings: Any = {"base_url": f"{url}/v1", "api_key": "k"}
        self._async: Any = AsyncOpenAI(**settings)
        self._sync: Any = OpenAI(**settings)

    def way(self, shape: Shape) -> Way | None:
        """Every shape."""
        if shape == "stream":
            return self._stream()
        if shape == "structured":
            asynchronous, synchronous = self._async.chat.completions.parse, self._sync.chat.completions.parse
            more: dict[str, Any] = {"response_format": schema()}
        else:
            asynchronous, synchronous = (
                self._async.chat.completions.create,
                self._sync.chat.completions.create,
            )
            more = {"tools": TOOLS} if shape == "tools" else {}
        return Way(
            lambda prompt: asynchronous(**_request(prompt), **more),
            lambda prompt: synchronous(**_request(prompt), **more),
            _READERS[shape],
        )

    def _stream(self) -> Way:
        more = {"stream": True, "stream_options": {"include_usage": True}}

        async def acall(prompt: str) -> list[Any]:
            stream = await self._async.chat.completions.create(**_request(prompt), **more)
            return [chunk async for chunk in stream]

        return Way(
            acall,
            lambda prompt: list(self._sync.chat.completions.create(**_request(prompt), **more)),
            _joined,
        )


def _request(prompt: str) -> dict[str, Any]:
    return {"model": OPENAI_MODEL, "messages": [{"role": "user", "content": prompt}]}


def _joined(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _called(answer: Any) -> list[Any]:
    (call,) = answer.choices[0].message.tool_calls
    return [call.function.name, json.loads(call.function.arguments)]


_READERS = {
    "plain": lambda answer: answer.choices[0].message.content,
    "structured": lambda answer: answer.choices[0].message.parsed.model_dump(),
    "tools": _called,
}
