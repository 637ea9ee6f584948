"""A LangChain chat model that follows a script, without any I/O, to test code that is given a model.

>>> model = ScriptedChatModel(script=["hi", {"title": "Lunch"}, TimeoutError()])
>>> model.invoke("Hello").text
'hi'
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, Field, PrivateAttr
from typing_extensions import override

from .wire import estimate_tokens, split_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.tools import BaseTool


class ScriptExhaustedError(AssertionError):
    """The model was called more often than its script has entries."""

    def __init__(self, calls: int) -> None:
        super().__init__(f"script exhausted after {calls} calls")
        self.calls = calls


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call of the scripted model.

    Attributes:
        messages: The messages of the call.
        kwargs: All arguments bound to the model or passed with the call, such as ``tools``.
    """

    messages: tuple[BaseMessage, ...]
    kwargs: Mapping[str, Any]


class ScriptedChatModel(BaseChatModel):
    """A LangChain chat model for tests: each call returns the next entry of its script. Thread-safe.

    An entry is a text; an ``AIMessage``; a dict, list or Pydantic object, returned as JSON, or as the
    arguments of the tool that ``tool_choice`` forces; or an exception (an object or a class), which is
    raised. A streamed call yields a chunk for each word, and the usage with the last chunk.

    Attributes:
        script: The entries.
        repeat_last: Whether further calls repeat the last entry instead of raising an error.

    Raises:
        ScriptExhaustedError: By a call after the last entry, unless ``repeat_last``.
    """

    script: list[Any] = Field(default_factory=list, repr=False)
    repeat_last: bool = False
    model: str = "scripted"
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    streaming: bool = False

    _calls: list[ScriptedCall] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def calls(self) -> tuple[ScriptedCall, ...]:
        """All calls of the model so far, in order, including those that raised an error."""
        with self._lock:
            return tuple(self._calls)

    @property
    @override
    def _llm_type(self) -> str:
        return "scripted"

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools. Its recorded calls have ``tools``, in OpenAI's form, and ``tool_choice``."""
        declared = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=declared, tool_choice=tool_choice, **kwargs)

    @override
    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Return the model with a schema. Its recorded calls have the schema as ``ls_structured_output_format``.

        The next entry of the script is the answer: a dict, a Pydantic object, or JSON as text. A Pydantic
        ``schema`` validates the answer; with any other schema the answer is only parsed.
        """
        form = {"schema": convert_to_json_schema(schema), "kwargs": kwargs}
        model = self.bind(ls_structured_output_format=form)
        parser: Runnable[Any, Any] = (
            PydanticOutputParser(pydantic_object=schema)
            if isinstance(schema, type) and is_basemodel_subclass(schema)
            else JsonOutputParser()
        )
        return _with_raw(model, parser) if include_raw else model | parser

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, stop, kwargs))])

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, stop, kwargs))])

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._next(messages, stop, kwargs)):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(self._next(messages, stop, kwargs)):
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _next(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> AIMessage:
        stops = {} if stop is None else {"stop": stop}
        with self._lock:
            served = len(self._calls)
            self._calls.append(ScriptedCall(tuple(messages), {**kwargs, **stops}))
        if served >= len(self.script) and not (self.repeat_last and self.script):
            raise ScriptExhaustedError(served)
        entry = self.script[min(served, len(self.script) - 1)]
        return _complete(
            _message(entry, kwargs, served), messages, model=str(kwargs.get("model") or self.model)
        )


def _message(entry: object, kwargs: Mapping[str, Any], number: int) -> AIMessage:
    if isinstance(entry, BaseException) or (isinstance(entry, type) and issubclass(entry, BaseException)):
        raise entry
    if isinstance(entry, AIMessage):
        return entry.model_copy(deep=True)
    if isinstance(entry, str):
        return AIMessage(entry)
    value = entry.model_dump(mode="json") if isinstance(entry, BaseModel) else entry
    name = _forced_tool(kwargs)
    if name is not None and isinstance(value, dict):
        return AIMessage(
            "", tool_calls=[{"name": name, "args": value, "id": f"call_{number}", "type": "tool_call"}]
        )
    return AIMessage(json.dumps(value, ensure_ascii=False, default=str))


def _forced_tool(kwargs: Mapping[str, Any]) -> str | None:
    names = [tool["function"]["name"] for tool in kwargs.get("tools") or ()]
    choice = kwargs.get("tool_choice")
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    if choice in names:
        return str(choice)
    return names[0] if names and choice in {"any", "required", True} else None


def _complete(message: AIMessage, messages: Sequence[BaseMessage], *, model: str) -> AIMessage:
    """The message with the fields of a provider's: the model's name, a finish reason, and usage."""
    finish = "tool_calls" if message.tool_calls else "stop"
    message.response_metadata = {"model_name": model, "finish_reason": finish, **message.response_metadata}
    if message.usage_metadata is None:
        asked = estimate_tokens("".join(message.text for message in messages))
        answered = estimate_tokens(
            message.text + "".join(json.dumps(call["args"]) for call in message.tool_calls)
        )
        message.usage_metadata = UsageMetadata(
            input_tokens=asked, output_tokens=answered, total_tokens=asked + answered
        )
    return message


def _chunks(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """The message in chunks of a word. Tool calls, metadata and usage come with the last; other content in one piece."""
    pieces: Sequence[Any] = (
        split_words(message.content) if isinstance(message.content, str) else (message.content,)
    )
    for piece in pieces:
        yield ChatGenerationChunk(message=AIMessageChunk(content=piece, id=message.id))
    calls = [
        ToolCallChunk(
            name=call["name"],
            args=json.dumps(call["args"], ensure_ascii=False),
            id=call["id"],
            index=index,
            type="tool_call_chunk",
        )
        for index, call in enumerate(message.tool_calls)
    ]
    last = AIMessageChunk(
        content="",
        id=message.id,
        tool_call_chunks=calls,
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        additional_kwargs=message.additional_kwargs,
        chunk_position="last",
    )
    yield ChatGenerationChunk(message=last)


def _with_raw(model: Runnable[Any, AIMessage], parser: Runnable[Any, Any]) -> Runnable[Any, dict[str, Any]]:
    """A runnable for ``raw``, ``parsed`` and ``parsing_error``, as LangChain's models give them."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
