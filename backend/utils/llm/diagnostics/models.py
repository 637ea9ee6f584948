"""The models of a table: abilities, prices, retirements, and the features that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..models import LACKS, is_known_model
from ..pricing import compute_cost_on_day
from ..receipt import TokenUsage
from .retirements import EndpointRetirement, find_endpoint_uses, make_endpoint_retirement

if TYPE_CHECKING:
    from datetime import date

    from ..model_config import Endpoint, TableSnapshot

MILLION = 1_000_000


class ModelInfo(BaseModel):
    """An endpoint of the table, with its model's capabilities, prices and retirement.

    Attributes:
        context_window: The most tokens of prompt and answer together.
        max_output: The most tokens of an answer.
        abilities: Which of ``tools``, ``structured_output``, ``images``, ``audio``, ``video``, ``pdf`` the
            model has.
        input_usd: US dollars for a million tokens of short prompts, as decimal text; None if unknown.
        output_usd: US dollars for a million tokens of answers, in the same form.
        cached_usd: US dollars for a million prompt tokens read from a cache, in the same form.
        known: Whether the model is in our list of models; if not, its abilities are assumed.
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
    retires: EndpointRetirement | None
    features: tuple[str, ...]


def make_model_infos(snapshot: TableSnapshot, today: date) -> tuple[ModelInfo, ...]:
    """Describe every endpoint that ``snapshot`` (the table) uses for any feature or the demo, sorted by name."""
    uses = find_endpoint_uses(snapshot)
    found = (
        _info(endpoint, tuple(sorted({feature for feature, _ in used})), today)
        for endpoint, used in uses.items()
    )
    return tuple(sorted(found, key=lambda model: model.endpoint))


def _info(endpoint: Endpoint, features: tuple[str, ...], today: date) -> ModelInfo:
    can, gone = endpoint.can, endpoint.retirement
    return ModelInfo(
        endpoint=str(endpoint),
        host=endpoint.provider.host,
        context_window=can.context_window,
        max_output=can.max_output,
        abilities=tuple(name for name in LACKS if getattr(can, name)),
        input_usd=_per_million(endpoint, TokenUsage(input=1_000), today),
        output_usd=_per_million(endpoint, TokenUsage(output=1_000), today),
        cached_usd=_per_million(endpoint, TokenUsage(input=1_000, cached=1_000), today),
        known=is_known_model(endpoint.model),
        retires=make_endpoint_retirement(str(endpoint), gone, today) if gone else None,
        features=features,
    )


def _per_million(endpoint: Endpoint, usage: TokenUsage, today: date) -> str | None:
    """The price of a short request's tokens: many models cost more for long prompts."""
    price = compute_cost_on_day(today, endpoint, usage)
    return None if price is None else f"{(price * (MILLION // 1_000)).normalize():f}"
