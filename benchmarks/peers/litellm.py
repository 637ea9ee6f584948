"""LiteLLM's Router over two deployments of the same model."""

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

_ALIAS = "model"


class SimpleShuffle:
    """Any of the two, by chance: the Router's default."""

    strategy = "simple-shuffle"

    def __init__(self, url: str) -> None:
        from litellm import Router

        deployment = {"model": f"openai/{OPENAI_MODEL}", "api_base": f"{url}/v1"}
        self._router: Any = Router(
            model_list=[
                {"model_name": _ALIAS, "litellm_params": {**deployment, "api_key": key}}
                for key in ("k1", "k2")
            ],
            routing_strategy=self.strategy,
        )

    def way(self, shape: Shape) -> Way | None:
        """Every shape."""
        if shape == "stream":
            return Way(self._astream, self._stream, _joined)
        finish, more = _FINISH[shape], _MORE[shape]()

        async def acall(prompt: str) -> Any:
            return finish(await self._router.acompletion(**_request(prompt), **more))

        return Way(
            acall,
            lambda prompt: finish(self._router.completion(**_request(prompt), **more)),
            _READERS[shape],
        )

    async def _astream(self, prompt: str) -> list[Any]:
        stream = await self._router.acompletion(**_request(prompt), **_MORE["stream"]())
        return [chunk async for chunk in stream]

    def _stream(self, prompt: str) -> list[Any]:
        return list(self._router.completion(**_request(prompt), **_MORE["stream"]()))


class LatencyBased(SimpleShuffle):
    """The quicker of the two."""

    strategy = "latency-based-routing"


def _request(prompt: str) -> dict[str, Any]:
    return {"model": _ALIAS, "messages": [{"role": "user", "content": prompt}]}


def _joined(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _called(answer: Any) -> list[Any]:
    (call,) = answer.choices[0].message.tool_calls
    return [call.function.name, json.loads(call.function.arguments)]


def _validated(answer: Any) -> Any:
    return schema().model_validate_json(answer.choices[0].message.content)


_MORE: dict[Shape, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "stream": lambda: {"stream": True, "stream_options": {"include_usage": True}},
    "structured": lambda: {"response_format": schema()},
    "tools": lambda: {"tools": TOOLS},
}
_FINISH: dict[Shape, Callable[[Any], Any]] = {
    "plain": lambda answer: answer,
    "structured": _validated,
    "tools": lambda answer: answer,
}
_READERS: dict[Shape, Callable[[Any], object]] = {
    "plain": lambda answer: answer.choices[0].message.content,
    "structured": lambda found: found.model_dump(),
    "tools": _called,
}
