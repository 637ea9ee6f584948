"""Tools reach Gemini with all that clients say of their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

SCHEMAS: dict[str, dict[str, Any]] = {
    "a text or nothing": {"type": ["string", "null"]},
    "one of two": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    "a reference": {"$ref": "#/$defs/Word"},
    "a map": {"type": "object", "additionalProperties": {"type": "string"}},
    "a list of anything": {"type": "array"},
    "numbers to choose from": {"enum": [1, 2, None]},
    "anything": {},
}


def declared(provider: LoopbackProvider, schema: dict[str, Any] | None) -> dict[str, Any]:
    """The declaration that Gemini gets of a tool with these arguments."""
    function = {"name": "look_up", "description": "Looks up.", "parameters": schema}
    patchbay = loopback_patchbay(provider, {"chat": "gemini:gemini-3.5-flash"})
    patchbay.get_llm("chat").invoke("hi", tools=[{"type": "function", "function": function}])
    patchbay.close()
    (tool,) = provider.requests[-1].body["tools"]
    (found,) = tool["functionDeclarations"]
    return dict(found)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_loses_nothing_but_the_name_of_its_dialect(
    provider: LoopbackProvider, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    schema = {
        "type": "object",
        "properties": {"word": SCHEMAS[kind]},
        "$defs": {"Word": {"const": "x"}},
        "additionalProperties": False,
    }

    found = declared(provider, {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})

    assert found == {"name": "look_up", "description": "Looks up.", "parametersJsonSchema": schema}
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "object", "properties": {}, "additionalProperties": False}]
)
def test_a_tool_without_arguments_is_declared_without_a_schema(
    provider: LoopbackProvider, schema: dict[str, Any] | None
) -> None:
    assert declared(provider, schema) == {"name": "look_up", "description": "Looks up."}
