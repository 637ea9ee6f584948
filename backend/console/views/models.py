"""The page "Models": the configured models, and which of them their providers withdraw next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .windows import UsageTotals, to_usage_totals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from backend.ledger.usage import GroupSums
    from backend.utils.llm.diagnostics.models import ModelInfo
    from backend.utils.llm.diagnostics.retirements import RetirementImpact


@dataclass(frozen=True, slots=True)
class ModelWithUsage:
    """A configured model, with its usage in the last 30 days."""

    info: ModelInfo
    month: UsageTotals


@dataclass(frozen=True, slots=True)
class ModelsView:
    """The data of the page "Models": all configured models, those that are withdrawn soonest first."""

    today: date
    retiring: tuple[RetirementImpact, ...]
    models: tuple[ModelWithUsage, ...]


def make_models_view(
    models: Sequence[ModelInfo], retiring: Sequence[RetirementImpact], usage: Sequence[GroupSums], today: date
) -> ModelsView:
    """Make the data of the page "Models".

    Args:
        models: The configured models.
        retiring: The announced withdrawals of models by their providers.
        usage: The usage of each model in the last 30 days.
        today: The present day.
    """
    month = {sums.key: to_usage_totals(sums.total) for sums in usage}
    found = [
        ModelWithUsage(info, month.get(info.endpoint, UsageTotals()))
        for info in sorted(models, key=_sale_ends)
    ]
    return ModelsView(today, tuple(retiring), tuple(found))


def _sale_ends(info: ModelInfo) -> tuple[bool, date | None, str]:
    gone = info.retires
    return gone is None, gone.day if gone else None, info.endpoint
