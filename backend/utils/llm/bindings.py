"""The arguments of calls: tools, schemas and options, passed to a call or bound to a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar, cast, overload

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ValidationError
from typing_extensions import override

from .options import NO_OPTIONS, Options
from .providers import CallSettings
from .schema_dialects import OPENAI, rewrite_for_dialect
from .structured import AnswerSchema, parse_response_format, schema_of
from .structured_model import StructuredModel

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    from .structured_model import StructuredAnswer

StructuredOutputMethod = Literal["json_schema", "function_calling", "json_mode"]
T = TypeVar("T")
ToolLike = dict[str, Any] | type | Callable[..., Any] | BaseTool
_CALL_SETTINGS = frozenset(
    {
        "accept",
        "cache_key",
        "call_id",
        "endpoint",
        "fallbacks",
        "parallel_tool_calls",
        "response_format",
        "schema",
        "strict",
        "tool_choice",
        "tools",
    }
)


class BindableChatModel(BaseChatModel, ABC):
    """Base class of chat models whose bound tools and schemas do not depend on the provider of a call."""

    @abstractmethod
    def _bound_to_its_caller(self) -> BindableChatModel:
        """The model for a binding that is called in another context."""

    @override
    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools that it may call. Each call converts them to its provider's format.

        Args:
            tools: Functions, tools, pydantic classes or JSON Schemas.
            tool_choice: ``auto``, ``none``, ``required`` (or ``any``, or True), or the name of the tool to call.
            strict: Whether arguments must fit their schema exactly, where the API can enforce that. A tool whose
                schema OpenAI's strict mode cannot express is sent without ``strict``.
            parallel_tool_calls: Whether one answer may call several tools.
            kwargs: Options for these calls, as for `invoke`.

        Raises:
            ValueError: ``tool_choice`` names a tool that is not among ``tools``.
        """
        formatted = tuple(_formatted(tool, strict=strict) for tool in tools)
        choice = _tool_choice(tool_choice, formatted)
        settings = {
            "tools": formatted,
            "tool_choice": choice,
            "parallel_tool_calls": parallel_tool_calls,
            **kwargs,
        }
        return self._bound_to_its_caller().bind(
            **{key: value for key, value in settings.items() if value is not None}
        )

    @overload
    def with_structured_output(
        self,
        schema: type[T],
        *,
        include_raw: Literal[False] = ...,
        method: StructuredOutputMethod = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, T]: ...
    @overload
    def with_structured_output(
        self,
        schema: dict[str, Any],
        *,
        include_raw: Literal[False] = ...,
        method: StructuredOutputMethod = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any]]: ...
    @overload
    def with_structured_output(
        self,
        schema: type[T],
        *,
        include_raw: Literal[True],
        method: StructuredOutputMethod = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, StructuredAnswer[T]]: ...
    @overload
    def with_structured_output(
        self,
        schema: dict[str, Any],
        *,
        include_raw: Literal[True],
        method: StructuredOutputMethod = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, StructuredAnswer[dict[str, Any]]]: ...
    @overload
    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = ...,
        method: StructuredOutputMethod = ...,
        strict: bool | None = ...,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]: ...
    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: StructuredOutputMethod = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that gives objects of ``schema``. An answer that does not fit is a failed attempt.

        Args:
            schema: A pydantic class, a ``TypedDict`` class, or a JSON Schema with a title.
            include_raw: Whether to return ``{"raw", "parsed", "parsing_error"}`` instead of the object, and not
                raise if the answer does not fit.
            method: ``json_mode`` asks for any JSON and leaves the schema to the prompt. ``function_calling``
                gives the same as ``json_schema``: the adapter of each API chooses how to ask for the schema.
            strict: Whether the endpoint should enforce the schema; by default True for types, False for JSON
                Schemas.
            kwargs: Options for these calls, as for `invoke`. A callable ``accept`` may reject the object: it
                returns False or raises ``ValueError``. It may be async if `ainvoke` or `astream` is used.
        """
        wanted = schema_of(schema, "json_mode" if method == "json_mode" else "json_schema", strict=strict)
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": wanted.json_schema or schema}
        bound = self._bound_to_its_caller().bind(schema=wanted, ls_structured_output_format=traced, **kwargs)
        return StructuredModel(bound, wanted, include_raw=include_raw)


def parse_call_kwargs(kwargs: Mapping[str, Any], feature: str, defaults: CallSettings) -> CallSettings:
    """Parse and check the keyword arguments of a call of ``feature``: tools, schema, options and settings.

    ``cache_key``, ``endpoint`` and ``fallbacks`` come from ``defaults``, the chat model's settings, if
    ``kwargs`` does not have them.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is not known, or ``tool_choice`` names a tool that is not among the tools.
    """
    given, schema = kwargs.get("tools"), kwargs.get("schema")
    tools = () if given is None else _tools(given)
    if schema is None:
        schema = parse_response_format(kwargs.get("response_format"))
    elif not isinstance(schema, AnswerSchema):
        schema = schema_of(schema)
    return CallSettings(
        options=parse_options(kwargs, feature),
        tools=tools,
        tool_choice=_tool_choice(kwargs.get("tool_choice"), tools),
        parallel_tool_calls=_setting(kwargs, "parallel_tool_calls", bool) if tools else None,
        schema=schema,
        cache_key=_setting(kwargs, "cache_key", str) if "cache_key" in kwargs else defaults.cache_key,
        endpoint=_setting(kwargs, "endpoint", str) if "endpoint" in kwargs else defaults.endpoint,
        fallbacks=_setting(kwargs, "fallbacks", bool) is not False
        if "fallbacks" in kwargs
        else defaults.fallbacks,
        call_id=_setting(kwargs, "call_id", str) if "call_id" in kwargs else None,
    )


def parse_stop_sequences(stop: Sequence[str] | str) -> list[str]:
    """Check LangChain's ``stop`` argument, and return it as a list of stop sequences, even if it is a string.

    Raises:
        TypeError: ``stop`` is neither a string nor a list or tuple of strings.
    """
    words = [stop] if isinstance(stop, str) else stop
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise TypeError("stop= takes a list of words")
    return list(words)


def parse_options(kwargs: Mapping[str, Any], feature: str) -> Options:
    """Parse and check the options, such as ``temperature``, among the arguments of a call of ``feature``.

    Raises:
        ValueError: An argument is neither an option nor a setting of a call, such as ``tools``; or its value
            is invalid.
    """
    if not (settings := {key: kwargs[key] for key in kwargs.keys() - _CALL_SETTINGS}):
        return NO_OPTIONS
    try:
        return Options.model_validate(settings)
    except ValidationError as error:
        faults = {str(details["loc"][0]): details["msg"] for details in error.errors()}
        faults |= {"n": "A call has one answer; use batch for another"} if "n" in faults else {}
        wrong = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        known = ", ".join(sorted({*Options.model_fields, *_CALL_SETTINGS}))
        raise ValueError(f"{feature}: options of the call: {wrong}. Known: {known}.") from None


def _setting(kwargs: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    value = kwargs.get(name)
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name}= takes a {kind.__name__}, not {type(value).__name__}")
    return value


def _tools(tools: Sequence[ToolLike]) -> tuple[dict[str, Any], ...]:
    """``tools`` in OpenAI's form, into which `bind_tools` has converted them."""
    if isinstance(tools, str | dict) or not isinstance(tools, Iterable):
        raise TypeError(f"tools= takes a list of tools, not {type(tools).__name__}")
    return tuple(tool if _is_formatted(tool) else _formatted(tool, strict=None) for tool in tools)


def _is_formatted(tool: ToolLike) -> TypeGuard[dict[str, Any]]:
    """Whether ``tool`` is in OpenAI's form: a function with a name, or a built-in tool of a vendor."""
    if not isinstance(tool, dict) or not isinstance(kind := tool.get("type"), str):
        return False
    if kind != "function" or "name" in tool:
        return True
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise TypeError("tools= holds a function without a name")
    return True


def _formatted(tool: ToolLike, *, strict: bool | None) -> dict[str, Any]:
    """``tool`` in OpenAI's form."""
    made = convert_to_openai_tool(tool, strict=False if strict else strict)
    if strict and "function" in made:
        function = made["function"]
        parameters = rewrite_for_dialect({"type": "object", **function.get("parameters", {})}, OPENAI)
        if parameters is not None:
            made["function"] = {**function, "parameters": parameters, "strict": True}
    return made


def _tool_choice(choice: str | dict[str, Any] | bool | None, tools: tuple[dict[str, Any], ...]) -> str | None:
    """``auto``, ``none``, ``required`` or a tool's name, from any form that LangChain accepts."""
    if isinstance(choice, dict):
        choice = cast("str", choice.get("function", choice).get("name", ""))
    if choice is None or choice is False:
        return None
    if choice is True or choice in ("any", "required"):
        return "required"
    names = [tool["function"]["name"] for tool in tools if "function" in tool]
    if choice not in ("auto", "none", *names):
        raise ValueError(f"tool_choice {choice!r} is none of auto, none, required, {', '.join(names)}")
    return choice
