"""pydantic-ai's FallbackModel over two models, asked directly: without an agent, which does more."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers import OPENAI_MODEL
from ..shapes import TOOLS, schema
from . import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..shapes import Shape


class Fallback:
    """The second model is not needed here. Each thread calls in its own event loop, and the client belongs to one."""

    def __init__(self, url: str) -> None:
        from pydantic_ai import direct, messages
        from pydantic_ai.models import ModelRequestParameters
        from pydantic_ai.models.fallback import FallbackModel
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.output import OutputObjectDefinition
        from pydantic_ai.providers.openai import OpenAIProvider
        from pydantic_ai.tools import ToolDefinition

        self._direct: Any = direct
        self._request: Any = messages.ModelRequest
        self._model = FallbackModel(
            *(
                OpenAIChatModel(OPENAI_MODEL, provider=OpenAIProvider(base_url=f"{url}/v1", api_key=key))
                for key in ("k1", "k2")
            )
        )
        tools = [
            ToolDefinition(
                name=tool["function"]["name"],
                description=tool["function"]["description"],
                parameters_json_schema=tool["function"]["parameters"],
            )
            for tool in TOOLS
        ]
        summary = OutputObjectDefinition(name="Summary", json_schema=schema().model_json_schema())
        self._parameters: dict[Shape, Any] = {
            "plain": None,
            "stream": None,
            "structured": ModelRequestParameters(output_mode="native", output_object=summary),
            "tools": ModelRequestParameters(function_tools=tools),
        }

    def way(self, shape: Shape) -> Way | None:
        """Every shape."""
        if shape == "stream":
            return Way(self._astream, self._stream, _joined, is_for_threads=False)
        finish, more = _FINISH[shape], {"model_request_parameters": self._parameters[shape]}

        async def acall(prompt: str) -> Any:
            return finish(await self._direct.model_request(self._model, self._messages(prompt), **more))

        def call(prompt: str) -> Any:
            return finish(self._direct.model_request_sync(self._model, self._messages(prompt), **more))

        return Way(acall, call, _READERS[shape], is_for_threads=False)

    async def _astream(self, prompt: str) -> list[Any]:
        async with self._direct.model_request_stream(self._model, self._messages(prompt)) as stream:
            return [event async for event in stream]

    def _stream(self, prompt: str) -> list[Any]:
        with self._direct.model_request_stream_sync(self._model, self._messages(prompt)) as stream:
            return list(stream)

    def _messages(self, prompt: str) -> list[Any]:
        return [self._request.user_text_prompt(prompt)]


def _joined(events: list[Any]) -> str:
    texts = []
    for event in events:
        if event.event_kind == "part_start":
            texts.append(event.part.content)
        if event.event_kind == "part_delta":
            texts.append(event.delta.content_delta)
    return "".join(texts)


def _text(response: Any) -> str:
    return "".join(part.content for part in response.parts if part.part_kind == "text")


def _called(response: Any) -> list[Any]:
    (call,) = [part for part in response.parts if part.part_kind == "tool-call"]
    return [call.tool_name, call.args_as_dict()]


_FINISH: dict[Shape, Callable[[Any], Any]] = {
    "plain": lambda response: response,
    "structured": lambda response: schema().model_validate_json(_text(response)),
    "tools": lambda response: response,
}
_READERS: dict[Shape, Callable[[Any], object]] = {
    "plain": _text,
    "structured": lambda found: found.model_dump(),
    "tools": _called,
}
