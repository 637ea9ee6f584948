"""The notation of a strategy: its name alone, or a table with its name and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainValidator

from ..problems import did_you_mean, make_rule_error
from ..strategies import STRATEGIES, SelectionStrategy


def find_strategy_class(select_value: object) -> type[SelectionStrategy] | None:
    """Find the class of the strategy that the value of a ``select`` key names; None for an unknown strategy.

    ``"latency"`` is short for ``{ by = "latency" }``.
    """
    by = select_value.get("by") if isinstance(select_value, Mapping) else select_value
    return STRATEGIES.get(by) if isinstance(by, str) else None


def _selection(written: object) -> SelectionStrategy:
    if isinstance(written, SelectionStrategy):
        return written
    if not isinstance(written, str | Mapping):
        raise make_rule_error('must be the name of a strategy, or a table { by = "…" }', _known_to(None))
    by = written.get("by") if isinstance(written, Mapping) else written
    kind = find_strategy_class(written)
    if by is None:
        raise make_rule_error("does not say by what: by is missing", _known_to(None))
    if kind is None:
        raise make_rule_error(f"there is no strategy {by!r}", _known_to(by))
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    if needed and isinstance(written, str):
        shown = ", ".join([f'by = "{by}"', *(f"{name} = …" for name in needed)])
        raise make_rule_error(f"{by} needs more than its name", f"Write a table: {{ {shown} }}.")
    return kind.model_validate({"by": by} if isinstance(written, str) else written)


def _known_to(by: object) -> str:
    return did_you_mean(by if isinstance(by, str) else "", STRATEGIES)


Selection = Annotated[SelectionStrategy, PlainValidator(_selection)]
