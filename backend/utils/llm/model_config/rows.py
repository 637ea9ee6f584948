"""A TOML document, fitted row by row: what does not fit is noted, the rest goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from .problems import Problems, did_you_mean
from .schema import FeatureRow, GroupRow, Head, ModelRow, ProfileRow, ProviderRow

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTIONS: dict[str, type[BaseModel]] = {
    "features": FeatureRow,
    "groups": GroupRow,
    "models": ModelRow,
    "profiles": ProfileRow,
    "providers": ProviderRow,
}

RowT = TypeVar("RowT", bound=BaseModel)


@dataclass(frozen=True)
class Rows:
    """The rows that fit their types, and every name that was written, fitting or not."""

    head: Head
    features: Mapping[str, FeatureRow]
    groups: Mapping[str, GroupRow]
    models: Mapping[str, ModelRow]
    profiles: Mapping[str, ProfileRow]
    providers: Mapping[str, ProviderRow]
    names: Mapping[str, frozenset[str]]


def fit(document: Mapping[str, Any], layer: str, problems: Problems) -> Rows:
    """The rows of ``document``; everything that does not fit goes to ``problems``."""
    _check_keys(document, layer, problems)
    sections = {name: _section(document, name, layer, problems) for name in SECTIONS}
    head = {key: value for key, value in document.items() if key in Head.model_fields}

    def fitted(name: str, row: type[RowT]) -> dict[str, RowT]:
        rows = {
            key: _fit(row, f"{name}.{key}", value, layer, problems) for key, value in sections[name].items()
        }
        return {key: value for key, value in rows.items() if value is not None}

    return Rows(
        head=_fit(Head, "", head, layer, problems) or Head(),
        features=fitted("features", FeatureRow),
        groups=fitted("groups", GroupRow),
        models=fitted("models", ModelRow),
        profiles=fitted("profiles", ProfileRow),
        providers=fitted("providers", ProviderRow),
        names={name: frozenset(section) for name, section in sections.items()},
    )


def _check_keys(document: Mapping[str, Any], layer: str, problems: Problems) -> None:
    known = {*Head.model_fields, *SECTIONS}
    for key in sorted(set(document) - known):
        problems.add(key, "unknown key", layer=layer, fix=did_you_mean(key, known))


def _section(document: Mapping[str, Any], name: str, layer: str, problems: Problems) -> dict[str, Any]:
    section = document.get(name, {})
    if isinstance(section, dict):
        return section
    problems.add(name, "must be a section", value=section, layer=layer, fix=f"Write [{name}.NAME].")
    return {}


def _fit(row: type[RowT], path: str, value: object, layer: str, problems: Problems) -> RowT | None:
    try:
        return row.model_validate(value)
    except ValidationError as error:
        problems.add_validation(path, error, layer=layer, known=_field_names(row))
        return None


def _field_names(row: type[BaseModel]) -> set[str]:
    nested = (field.annotation for field in row.model_fields.values())
    inner = (
        set(kind.model_fields) for kind in nested if isinstance(kind, type) and issubclass(kind, BaseModel)
    )
    return set(row.model_fields).union(*inner)
