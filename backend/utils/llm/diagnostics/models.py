"""The models of a table: abilities, prices, retirements, and the features that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..models import LACKS, is_known
from ..pricing import price_on
from ..receipt import Usage
from .retirements import Retires, endpoint_uses, retirement_as_of

if TYPE_CHECKING:
    from datetime import date

    from ..model_config import Endpoint, Snapshot

MILLION = 1_000_000


class ModelInfo(BaseModel):
    """An endpoint of the table, and its model.

    Attributes:
        context_window: The most tokens of prompt and answer together.
        max_output: The most tokens of an answer.
        abilities: Which of ``tools``, ``structured_output``, ``images``, ``audio``, ``video``, ``pdf`` the model has.
        input_usd: US dollars for a million tokens of short prompts, as decimal text; None if unknown.
        output_usd: US dollars for a million tokens of answers, as decimal text; ``cached_usd`` for tokens read from a
            cache.
        known: Whether the model is in the facade's list of models; if not, its abilities are assumed.
        retires: When the vendor stops serving the model; None if no day is announced.
        features: The features that use the endpoint in any profile.
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
    """Every endpoint in a chain of ``snapshot``, sorted by name."""
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
        retires=retirement_as_of(str(endpoint), gone, today) if gone else None,
        features=features,
    )


def _per_million(endpoint: Endpoint, usage: Usage, today: date) -> str | None:
    """The price of a short request's tokens: many models cost more for long prompts."""
    price = price_on(today, endpoint, usage)
    return None if price is None else f"{(price * (MILLION // 1_000)).normalize():f}"
