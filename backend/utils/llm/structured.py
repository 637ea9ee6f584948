"""A schema goes in, a validated object comes out, whichever API serves.

The schema is turned into JSON Schema once. Each API gets it in its own way (see `providers`); the answer is validated
here, on the raw text, never by an SDK.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_function
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from .errors import CallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage

Method = Literal["json_schema", "json_mode"]
PARSED_KEY = "parsed"
"""Where a structured answer's object stands in a message's ``additional_kwargs``."""

_FENCE = "```"
_MOST_PLACES = 20
"""Of an answer that does not fit. A model that gets more than these wrong is told how many."""


class UnfitAnswerError(ValueError):
    """The text is not JSON, or not of the schema. Its message never repeats the text."""


@dataclass(frozen=True)
class Schema:
    """What an answer has to look like.

    Attributes:
        name: The schema's title, as the API wants it.
        json_schema: As JSON Schema; None if any JSON object will do.
        strict_schema: The same in OpenAI's strict dialect: every property required, none added.
        parse: Turns the answer's text into the object; raises `UnfitAnswerError`.
    """

    name: str
    method: Method
    json_schema: dict[str, Any] | None
    strict_schema: dict[str, Any] | None
    parse: Callable[[str], Any]

    @override
    def __hash__(self) -> int:
        return id(self)


def schema_of(schema: object, method: Method = "json_schema", *, strict: bool | None = None) -> Schema:
    """The `Schema` of a pydantic class, a ``TypedDict`` class or a JSON Schema with a title.

    Args:
        schema: The type, or the JSON Schema itself.
        method: ``json_schema`` holds the model to the schema; ``json_mode`` only to JSON.
        strict: Whether OpenAI should enforce it; by default yes for types that its strict dialect can express (no
            maps with free keys), no for a JSON Schema, which may hold keywords that it lacks.
    """
    return _of_type(schema, method, strict) if isinstance(schema, type) else _build(schema, method, strict)


def schema_of_response_format(response_format: Any) -> Schema | None:
    """OpenAI's ``response_format``, as `create_agent` passes it; or a type or a JSON Schema itself."""
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return schema_of({"title": "answer", "type": "object"}, "json_mode")
    if kind != "json_schema":
        return schema_of(response_format)
    described = response_format["json_schema"]
    schema = {"title": described.get("name", "answer"), **described["schema"]}
    return schema_of(schema, strict=described.get("strict"))


@lru_cache(maxsize=512)
def _of_type(schema: type, method: Method, strict: bool | None) -> Schema:  # noqa: FBT001 - cache key
    return _build(schema, method, strict)


def _build(schema: Any, method: Method, strict: bool | None) -> Schema:  # noqa: FBT001 - private
    parse = _parser(schema)
    if method == "json_mode":
        return Schema("json", method, None, None, parse)
    if isinstance(schema, dict):
        schema = {"title": "answer", **schema}
    plain = convert_to_json_schema(schema)
    if strict is None:
        strict = isinstance(schema, type) and plain.get("type") == "object" and not _has_open_maps(plain)
    function = convert_to_openai_function(schema, strict=True) if strict else None
    return Schema(
        name=re.sub(r"\W", "_", plain.get("title", "answer"), flags=re.ASCII)[:64],
        method=method,
        json_schema=plain,
        strict_schema=function["parameters"] if function else None,
        parse=parse,
    )


def _has_open_maps(schema: Any) -> bool:
    """Whether a part of ``schema`` is a map with free keys, which the strict dialect would turn into an empty one."""
    if isinstance(schema, list):
        return any(map(_has_open_maps, schema))
    if not isinstance(schema, dict):
        return False
    return bool(schema.get("additionalProperties")) or any(map(_has_open_maps, schema.values()))


def _parser(schema: Any) -> Callable[[str], Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return lambda text: _checked(schema.model_validate_json, text)
    if hasattr(schema, "parse_raw"):  # pydantic.v1
        return lambda text: _checked(schema.parse_raw, text)
    return lambda text: _checked(_object, text)


def _checked(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(_without_fence(text))
    except ValidationError as error:
        raise UnfitAnswerError(_places(error)) from None
    except (ValueError, RecursionError) as error:
        raise UnfitAnswerError(type(error).__name__) from None


def _without_fence(text: str) -> str:
    """What stands in a block of Markdown, if ``text`` is one. An expression would take the cube of its length."""
    stripped = text.strip()
    is_fenced = len(stripped) >= 2 * len(_FENCE) and stripped.startswith(_FENCE) and stripped.endswith(_FENCE)
    return stripped[len(_FENCE) : -len(_FENCE)].removeprefix("json").strip() if is_fenced else text


def _places(error: ValidationError) -> str:
    """Where the answer does not fit, and how."""
    if error.error_count() > _MOST_PLACES:
        return f"wrong in {error.error_count()} places"
    told = error.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(f"{'.'.join(map(str, one['loc'])) or 'answer'}: {one['type']}" for one in told)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise UnfitAnswerError("not a JSON object")
    return cast("dict[str, Any]", value)


# Models that are held to a schema ------------------------------------------------------------------------------------


class Objects(Runnable[LanguageModelInput, Any]):
    """A model that is held to a schema, as a runnable that gives its objects.

    A sequence of model and parser would do the same in twice the time, and in a thread of its own when it is awaited.
    """

    def __init__(self, model: Runnable[LanguageModelInput, AIMessage]) -> None:
        self._model = model

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return _parsed(self._model.invoke(input, config, **kwargs))

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return _parsed(await self._model.ainvoke(input, config, **kwargs))


def with_raw(model: Runnable[LanguageModelInput, AIMessage]) -> Runnable[LanguageModelInput, dict[str, Any]]:
    """The same with the raw message, as LangChain has it: an answer that does not fit is not raised, but told beside it."""

    def invoke(given: LanguageModelInput, config: RunnableConfig) -> dict[str, Any]:
        try:
            return _fitting(model.invoke(given, config))
        except CallError as error:
            return _unfit(error)

    async def ainvoke(given: LanguageModelInput, config: RunnableConfig) -> dict[str, Any]:
        try:
            return _fitting(await model.ainvoke(given, config))
        except CallError as error:
            return _unfit(error)

    return RunnableLambda(invoke, ainvoke)


def _parsed(message: AIMessage) -> Any:
    return message.additional_kwargs.get(PARSED_KEY)


def _fitting(raw: AIMessage) -> dict[str, Any]:
    return {"raw": raw, "parsed": _parsed(raw), "parsing_error": None}


def _unfit(error: CallError) -> dict[str, Any]:
    if error.answer is None:
        raise error
    return {"raw": error.answer, "parsed": None, "parsing_error": error}
