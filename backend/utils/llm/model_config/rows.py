"""Validates a TOML document row by row: invalid rows become problems, valid ones are kept."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..budgets import BudgetRow
from ..problems import TableProblems, did_you_mean
from ..strategies import SelectionStrategy
from .aliases import SECTION as ALIASES
from .schema import FeatureRow, GroupRow, ModelRow, ProfileRow, ProviderRow, TopLevelRow
from .select import find_strategy_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..problems import Loc

SECTIONS: dict[str, type[BaseModel]] = {
    "budgets": BudgetRow,
    "features": FeatureRow,
    "groups": GroupRow,
    "models": ModelRow,
    "profiles": ProfileRow,
    "providers": ProviderRow,
}

RowT = TypeVar("RowT", bound=BaseModel)


@dataclass(frozen=True)
class TableRows:
    """The valid rows of a table document, by section and name. ``names`` has the names of invalid rows, too."""

    head: TopLevelRow
    budgets: Mapping[str, BudgetRow]
    features: Mapping[str, FeatureRow]
    groups: Mapping[str, GroupRow]
    models: Mapping[str, ModelRow]
    profiles: Mapping[str, ProfileRow]
    providers: Mapping[str, ProviderRow]
    names: Mapping[str, frozenset[str]]


def validate_rows(document: Mapping[str, Any], layer: str, problems: TableProblems) -> TableRows:
    """Return the valid rows of ``document``, and add the errors of its invalid rows to ``problems``."""
    _check_keys(document, layer, problems)
    sections = {name: _section(document, name, layer, problems) for name in SECTIONS}
    head = {key: value for key, value in document.items() if key in TopLevelRow.model_fields}

    def fitted(name: str, row: type[RowT]) -> dict[str, RowT]:
        rows = {
            key: _fit(row, f"{name}.{key}", value, layer, problems) for key, value in sections[name].items()
        }
        return {key: value for key, value in rows.items() if value is not None}

    return TableRows(
        head=_fit(TopLevelRow, "", head, layer, problems) or TopLevelRow(),
        budgets=fitted("budgets", BudgetRow),
        features=fitted("features", FeatureRow),
        groups=fitted("groups", GroupRow),
        models=fitted("models", ModelRow),
        profiles=fitted("profiles", ProfileRow),
        providers=fitted("providers", ProviderRow),
        names={name: frozenset(section) for name, section in sections.items()},
    )


def _check_keys(document: Mapping[str, Any], layer: str, problems: TableProblems) -> None:
    known = {*TopLevelRow.model_fields, *SECTIONS, ALIASES}
    for key in sorted(set(document) - known):
        problems.add(key, "unknown key", layer=layer, fix=did_you_mean(key, known))


def _section(document: Mapping[str, Any], name: str, layer: str, problems: TableProblems) -> dict[str, Any]:
    section = document.get(name, {})
    if isinstance(section, dict):
        return section
    problems.add(name, "must be a section", value=section, layer=layer, fix=f"Write [{name}.NAME].")
    return {}


def _fit(row: type[RowT], path: str, value: object, layer: str, problems: TableProblems) -> RowT | None:
    try:
        return row.model_validate(value)
    except ValidationError as error:
        problems.add_validation_error(
            error,
            layer=layer,
            find_path=lambda loc: ".".join([*filter(None, [path]), *_as_written(loc, value)]),
            find_valid_keys=lambda loc: _known_keys(row, value, loc),
        )
        return None


def _as_written(loc: Loc, written: Any) -> Iterator[str]:
    """``loc`` without list indexes that were not written, because a single value may stand for a list."""
    for part in loc:
        if not isinstance(part, int) or isinstance(written, list):
            yield str(part)
            written = _below(written, part)


def _known_keys(row: Any, written: Any, loc: Loc) -> Iterable[str]:
    """The valid keys at the last place of ``loc``."""
    for part in loc[:-1]:
        row, written = _value_type(row, written, part), _below(written, part)
    return {key for model in _models(row, written) for key in model.model_fields}


def _models(kind: Any, written: Any) -> list[type[BaseModel]]:
    """The row models of a type; for strategies, only the one that is ``written``."""
    strategy = find_strategy_class(written)
    models = [model for model in _types(kind) if issubclass(model, BaseModel)]
    return [strategy] if strategy is not None and SelectionStrategy in models else models


def _value_type(kind: Any, written: Any, part: int | str) -> Any:
    """The type of the value at ``part`` of a ``kind``."""
    for model in _models(kind, written):
        if part in model.model_fields:
            return model.model_fields[str(part)].annotation
    inner = get_args(kind)
    return inner[1] if get_origin(kind) is dict else inner[0]


def _types(kind: Any) -> list[type]:
    """The classes of a type."""
    if get_origin(kind) is Annotated or get_origin(kind) in {Union, UnionType}:
        return [each for inner in get_args(kind) for each in _types(inner)]
    return [kind] if isinstance(kind, type) else []


def _below(written: Any, part: int | str) -> Any:
    try:
        return written[part]
    except (KeyError, IndexError, TypeError):
        return None
