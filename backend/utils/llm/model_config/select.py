"""The notation of a strategy: its name alone, or a table with its name and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainValidator

from ..problems import did_you_mean, rule_error
from ..strategies import STRATEGIES, Strategy


def strategy_of(written: object) -> type[Strategy] | None:
    """The class of the strategy that the value of a ``select`` names; None if there is none.

    ``"latency"`` is short for ``{ by = "latency" }``.
    """
    by = written.get("by") if isinstance(written, Mapping) else written
    return STRATEGIES.get(by) if isinstance(by, str) else None


def _selection(written: object) -> Strategy:
    if isinstance(written, Strategy):
        return written
    if not isinstance(written, str | Mapping):
        raise rule_error('must be the name of a strategy, or a table { by = "…" }', _known_to(None))
    by = written.get("by") if isinstance(written, Mapping) else written
    kind = strategy_of(written)
    if by is None:
        raise rule_error("does not say by what: by is missing", _known_to(None))
    if kind is None:
        raise rule_error(f"there is no strategy {by!r}", _known_to(by))
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    if needed and isinstance(written, str):
        shown = ", ".join([f'by = "{by}"', *(f"{name} = …" for name in needed)])
        raise rule_error(f"{by} needs more than its name", f"Write a table: {{ {shown} }}.")
    return kind.model_validate({"by": by} if isinstance(written, str) else written)


def _known_to(by: object) -> str:
    return did_you_mean(by if isinstance(by, str) else "", STRATEGIES)


Selection = Annotated[Strategy, PlainValidator(_selection)]
