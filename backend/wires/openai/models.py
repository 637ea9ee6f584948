"""Writes the list of models in the form of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..responders import ListedModel

_CREATED: Final = 0
"""Nobody knows since when there is a feature; clients want a number."""


def to_openai_model(model: ListedModel) -> dict[str, Any]:
    """Translate ``model`` into an entry of OpenAI's list of models."""
    made = {"id": model.name, "object": "model", "created": _CREATED, "owned_by": "patchbay"}
    return {**made, "description": model.about} if model.about else made


def to_openai_model_list(models: Iterable[ListedModel]) -> dict[str, Any]:
    """Build the response body of OpenAI's ``GET /v1/models``."""
    return {"object": "list", "data": [to_openai_model(model) for model in models]}
