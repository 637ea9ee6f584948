"""The list of models, in Anthropic's form: https://platform.claude.com/docs/en/api/models/list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..faults import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..responders import ListedModel

_LIMIT: Final = re.compile("[1-9][0-9]{0,2}|1000")
_CREATED: Final = "1970-01-01T00:00:00Z"
"""As Anthropic says it of a model of which nobody knows since when it is there."""


def to_anthropic_model(model: ListedModel) -> dict[str, Any]:
    """Translate ``model`` into an entry of Anthropic's list of models."""
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.about or model.name,
        "created_at": _CREATED,
        "lifecycle": "active",
    }


class ModelPageQuery(NamedTuple):
    """Which page of Anthropic's list of models a client asks for.

    Attributes:
        limit: The most models on the page; None for all.
        after_id: The page begins after this model; None to begin with the first model.
        before_id: The page ends before this model; None to end with the last model.
    """

    limit: int | None = None
    after_id: str | None = None
    before_id: str | None = None


def parse_model_page_query(limit: str | None, after_id: str | None, before_id: str | None) -> ModelPageQuery:
    """Parse the query parameters of Anthropic's list of models.

    Raises:
        InvalidRequestError: ``limit`` is no number from 1 to 1000.
    """
    if limit is not None and _LIMIT.fullmatch(limit) is None:
        raise InvalidRequestError("limit: This has to be a number from 1 to 1000.", "limit")
    return ModelPageQuery(None if limit is None else int(limit), after_id, before_id)


def to_anthropic_model_page(models: Sequence[ListedModel], page: ModelPageQuery) -> dict[str, Any]:
    """Build the response body with one page of ``models``, in Anthropic's form.

    Raises:
        InvalidRequestError: ``after_id`` or ``before_id`` names an unknown model.
    """
    names = [model.name for model in models]
    start = 0 if page.after_id is None else _place(page.after_id, names, "after_id") + 1
    end = len(names) if page.before_id is None else _place(page.before_id, names, "before_id")
    asked = models[start:end]
    is_last_part = page.before_id is not None and page.after_id is None
    found = asked if page.limit is None else asked[-page.limit :] if is_last_part else asked[: page.limit]
    ends = (
        {"first_id": found[0].name, "last_id": found[-1].name}
        if found
        else dict.fromkeys(("first_id", "last_id"))
    )
    return {
        "data": [to_anthropic_model(model) for model in found],
        "has_more": len(found) < len(asked),
        **ends,
    }


def _place(name: str, names: Sequence[str], field: str) -> int:
    if name not in names:
        raise InvalidRequestError(f"{field}: There is no such model.", field)
    return names.index(name)
