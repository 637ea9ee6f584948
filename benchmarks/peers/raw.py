"""HTTP clients alone: the floor, which gives what `json.loads` gives."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..answers import OPENAI_MODEL
from ..shapes import TOOLS, schema
from . import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..shapes import Shape

MOST_CONNECTIONS = 1000
_DATA, _DONE = "data: ", "data: [DONE]"


class Httpx2:
    """Its two clients, with as many connections as the SDKs allow themselves."""

    def __init__(self, url: str) -> None:
        import httpx2

        limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=100)
        self._async = httpx2.AsyncClient(base_url=url, timeout=60, limits=limits)
        self._sync = httpx2.Client(base_url=url, timeout=60, limits=limits)

    def way(self, shape: Shape) -> Way | None:
        """Every shape."""
        if shape == "stream":
            return Way(self._astream, self._stream, _joined)
        finish = _FINISH[shape]

        async def acall(prompt: str) -> Any:
            answer = await self._async.post(_PATH, json=_request(prompt, shape))
            return finish(answer.raise_for_status().json())

        def call(prompt: str) -> Any:
            answer = self._sync.post(_PATH, json=_request(prompt, shape))
            return finish(answer.raise_for_status().json())

        return Way(acall, call, _READERS[shape])

    async def _astream(self, prompt: str) -> list[Any]:
        async with self._async.stream("POST", _PATH, json=_request(prompt, "stream")) as answer:
            return [json.loads(line[len(_DATA) :]) async for line in answer.aiter_lines() if _is_event(line)]

    def _stream(self, prompt: str) -> list[Any]:
        with self._sync.stream("POST", _PATH, json=_request(prompt, "stream")) as answer:
            return [json.loads(line[len(_DATA) :]) for line in answer.iter_lines() if _is_event(line)]


class Aiohttp:
    """A session, which belongs to the loop in which it is first used."""

    def __init__(self, url: str) -> None:
        import aiohttp

        self._aiohttp: Any = aiohttp
        self._url = url + _PATH
        self._session: Any = None

    def way(self, shape: Shape) -> Way | None:
        """Every shape, but nothing synchronous."""
        if shape == "stream":
            return Way(self._astream, None, _joined)
        finish = _FINISH[shape]

        async def acall(prompt: str) -> Any:
            async with self._post(prompt, shape) as answer:
                answer.raise_for_status()
                return finish(await answer.json())

        return Way(acall, None, _READERS[shape])

    async def _astream(self, prompt: str) -> list[Any]:
        async with self._post(prompt, "stream") as answer:
            lines = [line.decode() async for line in answer.content]
            return [json.loads(line[len(_DATA) :]) for line in lines if _is_event(line)]

    def _post(self, prompt: str, shape: Shape) -> Any:
        if self._session is None:
            connector = self._aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
            self._session = self._aiohttp.ClientSession(connector=connector)
        return self._session.post(self._url, json=_request(prompt, shape))


_PATH = "/v1/chat/completions"


def _request(prompt: str, shape: Shape) -> dict[str, Any]:
    return {"model": OPENAI_MODEL, "messages": [{"role": "user", "content": prompt}], **_MORE[shape]()}


def _response_format() -> dict[str, Any]:
    described = {"name": "Summary", "schema": schema().model_json_schema()}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def _is_event(line: str) -> bool:
    return line.startswith(_DATA) and not line.startswith(_DONE)


def _joined(chunks: list[Any]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])


def _called(answer: Any) -> list[Any]:
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    return [call["function"]["name"], json.loads(call["function"]["arguments"])]


def _validated(answer: Any) -> Any:
    return schema().model_validate_json(answer["choices"][0]["message"]["content"])


_MORE: dict[Shape, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "stream": lambda: {"stream": True, "stream_options": {"include_usage": True}},
    "structured": _response_format,
    "tools": lambda: {"tools": TOOLS},
}
_FINISH: dict[Shape, Callable[[Any], Any]] = {
    "plain": lambda answer: answer,
    "structured": _validated,
    "tools": lambda answer: answer,
}
_READERS: dict[Shape, Callable[[Any], object]] = {
    "plain": lambda answer: answer["choices"][0]["message"]["content"],
    "structured": lambda found: found.model_dump(),
    "tools": _called,
}
