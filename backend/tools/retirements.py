"""Describes the retirements of models in words, for the log and the command line."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.utils.llm.diagnostics.retirements import EndpointRetirement, RetirementImpact

HORIZON: Final = timedelta(days=90)
"""How far ahead a retirement is reported."""


def make_retirement_headline(impacts: Iterable[RetirementImpact], within: timedelta = HORIZON) -> str | None:
    """Make a line that names the features whose models are off sale, or will be so ``within`` this time from now.

    None if there are no such models.
    """
    near = [model for model in impacts if timedelta(days=model.days) <= within]
    features = sorted({feature for model in near for feature in model.features})
    if not features:
        return None
    first = min((model for model in near if model.features), key=lambda model: model.day)
    return (
        f"Off sale within {within.days} days, or already: models of {', '.join(features)}. "
        f"First {first.endpoint} {describe_retirement(first)}.{make_replacement_sentence(first)} `python -m backend check` lists all."
    )


def describe_retirement(model: EndpointRetirement) -> str:
    """Describe when a model goes off sale, such as ``on 2026-12-01, in 5 days``."""
    match model.days:
        case 0:
            distance = "today"
        case days if days > 0:
            distance = f"in {_days(days)}"
        case days:
            distance = f"{_days(-days)} ago"
    return f"on {model.day}, {distance}"


def make_replacement_sentence(model: EndpointRetirement) -> str:
    """Make a sentence with a leading space that names the vendor's recommended replacement. Empty if there is none."""
    return f" Its vendor names {model.replacement} instead." if model.replacement else ""


def _days(count: int) -> str:
    return f"{count} day{'s' * (count != 1)}"
