"""The request bodies of wires in the OpenAPI description: only their required fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT: Final[Mapping[str, Any]] = {"type": "string"}
OBJECTS: Final[Mapping[str, Any]] = {"type": "array", "items": {"type": "object"}, "minItems": 1}
NUMBER: Final[Mapping[str, Any]] = {"type": "integer", "minimum": 1}
_MAY: Final[Mapping[str, Any]] = {
    "stream": {"type": "boolean"},
    "tools": {"type": "array", "items": {"type": "object"}},
}


def body_with(**needed: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a JSON body with these required fields for OpenAPI; it may have other fields, too.

    The result is the ``openapi_extra`` of a route.
    """
    schema = {"type": "object", "required": [*needed], "properties": {**_MAY, **needed}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
