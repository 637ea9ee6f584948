"""The list of models, in Anthropic's form: https://platform.claude.com/docs/en/api/models/list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..responders import Model

_CREATED: Final = "1970-01-01T00:00:00Z"
"""As Anthropic says it of a model of which nobody knows since when it is there."""


def model_info(model: Model) -> dict[str, Any]:
    """``model`` as an object of the list."""
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.about or model.name,
        "created_at": _CREATED,
        "lifecycle": "active",
    }


def model_page(models: Sequence[Model]) -> dict[str, Any]:
    """``models`` as a list of one page."""
    ends = (
        {"first_id": models[0].name, "last_id": models[-1].name}
        if models
        else {"first_id": None, "last_id": None}
    )
    return {"data": [model_info(model) for model in models], "has_more": False, **ends}
