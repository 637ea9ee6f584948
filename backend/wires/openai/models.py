"""The list of models, in OpenAI's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..responders import Model

_CREATED: Final = 0
"""Nobody knows since when there is a feature; clients want a number."""


def model_object(model: Model) -> dict[str, Any]:
    """One ``model`` in the form that OpenAI's list of models has."""
    made = {"id": model.name, "object": "model", "created": _CREATED, "owned_by": "patchbay"}
    return {**made, "description": model.about} if model.about else made


def model_list(models: Iterable[Model]) -> dict[str, Any]:
    """The response body that lists ``models``."""
    return {"object": "list", "data": [model_object(model) for model in models]}
