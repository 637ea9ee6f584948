"""Describes request bodies of vendors' protocols in the OpenAPI document, mainly their required fields."""

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


def describe_request_body(**required_fields: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a JSON request body for the OpenAPI document. Pass the result as ``openapi_extra`` of a route.

    Args:
        required_fields: The JSON schema of each required field, by name. Other fields are allowed, too.
    """
    schema = {"type": "object", "required": [*required_fields], "properties": {**_MAY, **required_fields}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
