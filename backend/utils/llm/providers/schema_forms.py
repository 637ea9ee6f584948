"""Chooses how a request asks for structured output: by a response format, by a tool, or in the prompt."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_core.messages import SystemMessage

from ..schema_dialects import AZURE, GEMINI, GRAMMAR, MINIMAL, OPENAI

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from ..models import SchemaForm
    from ..schema_dialects import SchemaDialect
    from ..structured import AnswerSchema
    from .ask import CallSettings, ModelRequest

_DIALECTS: Final[Mapping[SchemaForm, SchemaDialect]] = {
    "strict": OPENAI,
    "azure": AZURE,
    "minimal": MINIMAL,
    "grammar": GRAMMAR,
}
_WORDS: Final = "Answer with one JSON object and nothing else, no Markdown."
_ANY_JSON: Final = {"type": "json_object"}


class SchemaInstructions(NamedTuple):
    """How a request asks for an answer that fits a schema: by a response format, by a tool, or in the prompt.

    The endpoint's capabilities decide which of these are used. Unused fields are None, or empty.

    Attributes:
        format: The response format, in the form of the Responses API; for Gemini the schema itself.
        tool: A tool, in OpenAI's form, whose arguments are the answer.
        words: Instructions for the prompt, with the schema.
        is_format: Whether the response format is enough, so that `add_schema_instructions` is not needed.
    """

    format: Mapping[str, Any] | None = None
    tool: Mapping[str, Any] | None = None
    words: str = ""
    is_format: bool = True


@lru_cache(maxsize=512)
def choose_schema_instructions(schema: AnswerSchema, schema_form: SchemaForm) -> SchemaInstructions:
    """Choose how a request to OpenAI's or a similar API asks for ``schema``.

    Args:
        schema: The schema that the answer must fit.
        schema_form: The way of asking for a schema that the endpoint supports.
    """
    if schema.json_schema is None:
        return (
            SchemaInstructions(words=_WORDS, is_format=False)
            if schema_form in {"tool", "prompt"}
            else SchemaInstructions(_ANY_JSON)
        )
    if schema_form in _DIALECTS and schema.is_strict:
        enforced = schema.to_dialect(_DIALECTS[schema_form])
        if enforced is not None:
            return SchemaInstructions({**_described(schema, enforced), "strict": True})
    match schema_form:
        case "tool":
            return SchemaInstructions(tool=_tool(schema), is_format=False)
        case "prompt":
            return SchemaInstructions(words=make_schema_prompt(schema), is_format=False)
        case (
            "json" | "minimal"
        ):  # a gateway may hand even a loose schema to somebody who refuses what is in it
            return SchemaInstructions(_ANY_JSON, words=make_schema_prompt(schema), is_format=False)
        case _:
            return SchemaInstructions(_described(schema, schema.json_schema))


def _described(schema: AnswerSchema, expressed: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "name": schema.name, "schema": expressed}


@lru_cache(maxsize=512)
def choose_gemini_instructions(schema: AnswerSchema) -> SchemaInstructions:
    """Choose how a request to Gemini asks for ``schema``: enforced if Gemini supports it, else in the prompt."""
    enforced = schema.to_dialect(GEMINI)
    if enforced is not None or schema.json_schema is None:
        return SchemaInstructions(enforced)
    return SchemaInstructions(words=make_schema_prompt(schema), is_format=False)


def make_schema_prompt(schema: AnswerSchema) -> str:
    """Make the prompt text that tells the model to answer with JSON that fits ``schema``."""
    return f"{_WORDS} It has to fit this JSON Schema:\n{json.dumps(schema.json_schema, ensure_ascii=False)}"


def _tool(schema: AnswerSchema) -> dict[str, Any]:
    function = {"name": schema.name, "description": "Give the answer.", "parameters": schema.json_schema}
    return {"type": "function", "function": function}


def add_schema_instructions(instructions: SchemaInstructions, request: ModelRequest) -> ModelRequest:
    """Return ``request`` with the answer tool, or the prompt text, of ``instructions`` added.

    The response format is not added here: each API's serializer does that.
    """
    if instructions.tool is not None:
        request = request._replace(ask=_with_answer_tool(request.ask, instructions.tool))
    if instructions.words:
        request = request._replace(messages=_instructed(request.messages, instructions.words))
    return request


def _with_answer_tool(ask: CallSettings, tool: Mapping[str, Any]) -> CallSettings:
    """``ask`` with a tool that takes the answer. If the product has tools, too, the model may choose."""
    taken, function = {_name_of(other) for other in ask.tools}, tool["function"]
    name = function["name"]
    while name in taken:
        name = f"{name[:56]}_answer"
    own = {**tool, "function": {**function, "name": name}}
    return ask._replace(tools=(*ask.tools, own), tool_choice="required" if ask.tools else name)


def _name_of(tool: Mapping[str, Any]) -> object:
    return tool.get("function", tool).get("name")


def _instructed(messages: Sequence[BaseMessage], words: str) -> list[BaseMessage]:
    first = messages[0] if messages else None
    if isinstance(first, SystemMessage) and isinstance(first.content, str):
        return [SystemMessage(f"{first.content}\n\n{words}"), *messages[1:]]
    return [SystemMessage(words), *messages]
