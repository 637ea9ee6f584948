"""The page "Models": the models of the table, and which of them their providers withdraw next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .windows import Sums, sums

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from backend.ledger.usage import GroupSums
    from backend.utils.llm.diagnostics.models import ModelInfo
    from backend.utils.llm.diagnostics.retirements import Retiring


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model of the table, with the usage of the last 30 days."""

    info: ModelInfo
    month: Sums


@dataclass(frozen=True, slots=True)
class ModelsView:
    """Everything that the page shows: models that will be withdrawn soon come first."""

    today: date
    retiring: tuple[Retiring, ...]
    models: tuple[UsedModel, ...]


def models_view(
    models: Sequence[ModelInfo], retiring: Sequence[Retiring], used: Sequence[GroupSums], today: date
) -> ModelsView:
    """Build the page on the day ``today``.

    Args:
        models: The models of the table.
        retiring: The announced withdrawals.
        used: The usage of each model in the last 30 days.
        today: The present day.
    """
    month = {one.key: sums(one.total) for one in used}
    found = [UsedModel(info, month.get(info.endpoint, Sums())) for info in sorted(models, key=_sale_ends)]
    return ModelsView(today, tuple(retiring), tuple(found))


def _sale_ends(info: ModelInfo) -> tuple[bool, date | None, str]:
    gone = info.retires
    return gone is None, gone.day if gone else None, info.endpoint
