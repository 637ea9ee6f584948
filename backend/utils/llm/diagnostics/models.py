"""The models of a table: what they can do, what they cost, until when they are on sale, and which features use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..models import LACKS, is_known
from ..pricing import price_on
from ..receipt import Usage
from .retirements import Retires, endpoint_uses, seen

if TYPE_CHECKING:
    from datetime import date

    from ..model_config import Endpoint, Snapshot

MILLION = 1_000_000


class ModelInfo(BaseModel):
    """An endpoint of the table, and its model.

    Attributes:
        context_window: Prompt and answer together, in tokens.
        max_output: The longest answer, in tokens.
        abilities: What it can do: ``tools``, ``structured_output``, ``images``, ``audio``, ``video``, ``pdf``.
        input_usd: Dollars for a million tokens of short prompts, as a decimal number in a text; None if unknown.
        output_usd: The same of answers, and ``cached_usd`` of what is read from a cache.
        known: Whether anything is known of the model; else what it can do is assumed.
        retires: When its vendor stops serving it; None if no day is announced.
        features: Those that use it in any profile.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    host: str
    context_window: int
    max_output: int
    abilities: tuple[str, ...]
    input_usd: str | None
    output_usd: str | None
    cached_usd: str | None
    known: bool
    retires: Retires | None
    features: tuple[str, ...]


def model_infos(snapshot: Snapshot, today: date) -> tuple[ModelInfo, ...]:
    """Every endpoint that a chain of ``snapshot`` names, by its name."""
    uses = endpoint_uses(snapshot)
    found = (
        _info(endpoint, tuple(sorted({feature for feature, _ in used})), today)
        for endpoint, used in uses.items()
    )
    return tuple(sorted(found, key=lambda one: one.endpoint))


def _info(endpoint: Endpoint, features: tuple[str, ...], today: date) -> ModelInfo:
    can, gone = endpoint.can, endpoint.retirement
    return ModelInfo(
        endpoint=str(endpoint),
        host=endpoint.provider.host,
        context_window=can.context_window,
        max_output=can.max_output,
        abilities=tuple(name for name in LACKS if getattr(can, name)),
        input_usd=_per_million(endpoint, Usage(input=1_000), today),
        output_usd=_per_million(endpoint, Usage(output=1_000), today),
        cached_usd=_per_million(endpoint, Usage(input=1_000, cached=1_000), today),
        known=is_known(endpoint.model),
        retires=seen(str(endpoint), gone, today) if gone else None,
        features=features,
    )


def _per_million(endpoint: Endpoint, usage: Usage, today: date) -> str | None:
    """Of a short request: many models cost more for long prompts."""
    price = price_on(today, endpoint, usage)
    return None if price is None else f"{(price * (MILLION // 1_000)).normalize():f}"
