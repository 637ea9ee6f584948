"""Models: what will break next?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .windows import Sums, sums

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from backend.ledger.usage import Used
    from backend.utils.llm.diagnostics.models import ModelInfo
    from backend.utils.llm.diagnostics.retirements import Retiring


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model of the table. See `ModelInfo`.

    Attributes:
        month: What it was used for in the last 30 days.
    """

    endpoint: str
    host: str
    context_window: int
    max_output: int
    abilities: tuple[str, ...]
    input_usd: str | None
    output_usd: str | None
    cached_usd: str | None
    known: bool
    retires_on: date | None
    retires_in_days: int | None
    replacement: str | None
    features: tuple[str, ...]
    month: Sums


@dataclass(frozen=True, slots=True)
class ModelsView:
    """The models of the table, those that go off sale first."""

    today: date
    retiring: tuple[Retiring, ...]
    models: tuple[ModelRow, ...]


def models_view(
    models: Sequence[ModelInfo], retiring: Sequence[Retiring], used: Sequence[Used], today: date
) -> ModelsView:
    """``models`` as they are ``today``, with what was ``used`` of each in the last days."""
    month = {one.key: sums(one.total) for one in used}
    rows = [_row(one, month.get(one.endpoint, Sums())) for one in models]
    rows.sort(key=lambda row: (row.retires_in_days is None, row.retires_in_days or 0, row.endpoint))
    return ModelsView(today, tuple(retiring), tuple(rows))


def _row(info: ModelInfo, month: Sums) -> ModelRow:
    gone = info.retires
    return ModelRow(
        endpoint=info.endpoint,
        host=info.host,
        context_window=info.context_window,
        max_output=info.max_output,
        abilities=info.abilities,
        input_usd=info.input_usd,
        output_usd=info.output_usd,
        cached_usd=info.cached_usd,
        known=info.known,
        retires_on=gone.day if gone else None,
        retires_in_days=gone.days if gone else None,
        replacement=gone.replacement if gone else None,
        features=info.features,
        month=month,
    )
