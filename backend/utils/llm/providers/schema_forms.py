"""How a request asks for an answer of a schema: by a response format, by a tool to call, or in the prompt."""

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
    from ..schema_dialects import Dialect
    from ..structured import Schema
    from .ask import Ask, ModelRequest

_DIALECTS: Final[Mapping[SchemaForm, Dialect]] = {
    "strict": OPENAI,
    "azure": AZURE,
    "minimal": MINIMAL,
    "grammar": GRAMMAR,
}
_WORDS: Final = "Answer with one JSON object and nothing else, no Markdown."
_ANY_JSON: Final = {"type": "json_object"}


class Form(NamedTuple):
    """How a request tells the model which schema its answer must fit: by a response format, a tool to call, or the prompt.

    Which way an endpoint supports is one of its capabilities. Parts of the request that are not needed are None, or
    empty.

    Attributes:
        format: The response format, as Responses writes it; for Gemini the schema itself.
        tool: A tool, in OpenAI's form, whose arguments are the answer.
        words: Instructions with the schema, to be added to the prompt.
        is_format: Whether the response format alone tells the schema, so that `with_form` changes nothing.
    """

    format: Mapping[str, Any] | None = None
    tool: Mapping[str, Any] | None = None
    words: str = ""
    is_format: bool = True


@lru_cache(maxsize=512)
def form_of(schema: Schema, kind: SchemaForm) -> Form:
    """Choose how a request of OpenAI's APIs asks for ``schema``, at an endpoint that supports ``kind``."""
    if schema.json_schema is None:
        return Form(words=_WORDS, is_format=False) if kind in {"tool", "prompt"} else Form(_ANY_JSON)
    if kind in _DIALECTS and schema.is_strict:
        enforced = schema.expressed_in(_DIALECTS[kind])
        if enforced is not None:
            return Form({**_described(schema, enforced), "strict": True})
    match kind:
        case "tool":
            return Form(tool=_tool(schema), is_format=False)
        case "prompt":
            return Form(words=schema_prompt(schema), is_format=False)
        case (
            "json" | "minimal"
        ):  # a gateway may hand even a loose schema to somebody who refuses what is in it
            return Form(_ANY_JSON, words=schema_prompt(schema), is_format=False)
        case _:
            return Form(_described(schema, schema.json_schema))


def _described(schema: Schema, expressed: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "name": schema.name, "schema": expressed}


@lru_cache(maxsize=512)
def gemini_form_of(schema: Schema) -> Form:
    """How a request to Gemini asks for ``schema``: enforced if Gemini's dialect can express it, else in the prompt."""
    enforced = schema.expressed_in(GEMINI)
    if enforced is not None or schema.json_schema is None:
        return Form(enforced)
    return Form(words=schema_prompt(schema), is_format=False)


def schema_prompt(schema: Schema) -> str:
    """Instructions for the prompt to answer with JSON that fits ``schema``."""
    return f"{_WORDS} It has to fit this JSON Schema:\n{json.dumps(schema.json_schema, ensure_ascii=False)}"


def _tool(schema: Schema) -> dict[str, Any]:
    function = {"name": schema.name, "description": "Give the answer.", "parameters": schema.json_schema}
    return {"type": "function", "function": function}


def with_form(form: Form, request: ModelRequest) -> ModelRequest:
    """Add to ``request`` what ``form`` needs beside a response format: the answer tool, or instructions in the prompt."""
    if form.tool is not None:
        request = request._replace(ask=_with_answer_tool(request.ask, form.tool))
    if form.words:
        request = request._replace(messages=_instructed(request.messages, form.words))
    return request


def _with_answer_tool(ask: Ask, tool: Mapping[str, Any]) -> Ask:
    """``ask`` with a tool that takes the answer. If the product has tools, too, the model may choose."""
    taken, function = {_name_of(one) for one in ask.tools}, tool["function"]
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
