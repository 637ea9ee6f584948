"""A model whose answers must fit a schema, as a runnable that returns the parsed objects."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import TypedDict, override

from .errors import CallError
from .execution.tracing import has_callbacks
from .structured import PARSED_KEY

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from .structured import AnswerSchema

T = TypeVar("T")


class StructuredAnswer(TypedDict, Generic[T]):
    """What `with_structured_output(include_raw=True)` returns, in LangChain's form.

    Attributes:
        raw: The message, which has the receipt.
        parsed: The object; None if the answer does not fit, or calls one of the application's tools.
        parsing_error: Why the answer does not fit; None if it does.
    """

    raw: AIMessage
    parsed: T | None
    parsing_error: CallError | None


class StructuredModel(Runnable[LanguageModelInput, Any]):
    """A runnable that returns a model's answers as objects of ``schema``; in traces, its runs are chains.

    Used instead of LangChain's sequence of model and parser, which takes twice as long.

    Args:
        model: The model to which ``schema`` is bound.
        schema: The schema.
        include_raw: Whether to return a `StructuredAnswer`, even if the answer does not fit.
    """

    def __init__(
        self, model: Runnable[LanguageModelInput, AIMessage], schema: AnswerSchema, *, include_raw: bool
    ) -> None:
        self._model = model
        self._schema = schema
        self._include_raw = include_raw
        self.name = schema.name

    @property
    @override
    def InputType(self) -> Any:
        return self._model.InputType

    @property
    @override
    def OutputType(self) -> Any:
        given = self._schema.source[0]
        return given if isinstance(given, type) and not self._include_raw else dict[str, Any]

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if has_callbacks(config):
            return self._call_with_config(partial(self._answer, **kwargs), input, config)
        return self._answer(input, config, **kwargs)

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        if has_callbacks(config):
            return await self._acall_with_config(partial(self._aanswer, **kwargs), input, config)
        return await self._aanswer(input, config, **kwargs)

    def _answer(self, input: LanguageModelInput, config: RunnableConfig | None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's name
        try:
            return self._result(self._model.invoke(input, config, **kwargs))
        except CallError as error:
            if self._include_raw and error.answer is not None:
                return StructuredAnswer(raw=error.answer, parsed=None, parsing_error=error)
            raise

    async def _aanswer(self, input: LanguageModelInput, config: RunnableConfig | None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's name
        try:
            return self._result(await self._model.ainvoke(input, config, **kwargs))
        except CallError as error:
            if self._include_raw and error.answer is not None:
                return StructuredAnswer(raw=error.answer, parsed=None, parsing_error=error)
            raise

    def _result(self, message: AIMessage) -> Any:
        """The parsed object of ``message``, or a `StructuredAnswer` with both.

        Raises:
            ValueError: The answer has no object, because it calls a tool of the product.
        """
        held = message.additional_kwargs
        if self._include_raw:
            return StructuredAnswer(raw=message, parsed=held.get(PARSED_KEY), parsing_error=None)
        if PARSED_KEY not in held:
            raise ValueError(
                "The model called a tool instead of answering; include_raw=True hands on its message."
            )
        return held[PARSED_KEY]
