"""What an attempt cost, in US dollars; None where no price is known.

Prices come from the ``genai-prices`` package as it is installed; nothing is fetched at run time. Its own reckoning goes
over every kind of usage that any provider bills, and takes half as long as the rest of a call. Four kinds of tokens
are reckoned here, from its prices; the tests compare the two over every model that it knows.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from .forks import unforked
from .receipt import Usage

if TYPE_CHECKING:
    from datetime import date

    from genai_prices.types import ModelInfo, ModelPrice

    from .model_config import Endpoint

_PRICE_LIST_NAMES = {"gemini": "google"}
"""Providers that the price list calls by another name than the table does."""
_PER = Decimal(1_000_000)


def cost(provider: str, model: str, usage: Usage | None, when: datetime) -> Decimal | None:
    """The price of ``usage`` on ``when``; None if the model, or the usage, is unknown."""
    known = _known(provider, model) if usage is not None else None
    if usage is None or known is None:
        return None
    prices = known.get_prices(when)
    if _is_ordinary(usage) and _is_by_token(prices):
        return _reckoned(usage, prices)
    return looked_up(provider, model, usage, when)


def most_usd(endpoint: Endpoint, prompt: int, answer: int | None, day: date) -> Decimal | None:
    """The most that one request could cost on ``day``, in US dollars; None if that is unknown.

    Args:
        endpoint: Where it would go.
        prompt: The prompt's length in tokens.
        answer: The longest answer in tokens; None if there is no limit but the model's.
        day: The day whose prices count.
    """
    return price_on(day, endpoint, Usage(input=prompt, output=answer or endpoint.can.max_output))


def price_on(day: date, endpoint: Endpoint, usage: Usage) -> Decimal | None:
    """The price of ``usage`` of ``endpoint`` as a day begins, in US dollars; None if it is unknown."""
    return cost(endpoint.provider.name, endpoint.model_id, usage, datetime.combine(day, time(), UTC))


def looked_up(provider: str, model: str, usage: Usage, when: datetime) -> Decimal | None:
    """The same by the price list's own reckoning."""
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
    )
    try:
        price = genai_prices.calc_price(
            tokens, model, provider_id=_listed(provider), genai_request_timestamp=when
        )
    except (LookupError, ValueError):  # no such model, or counts that its price list finds contradictory
        return None
    return price.total_price


@lru_cache(maxsize=1024)
@unforked()
def _known(provider: str, model: str) -> ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, _listed(provider), None)[1]
    except LookupError:
        return None


def _listed(provider: str) -> str:
    return _PRICE_LIST_NAMES.get(provider, provider)


def _is_ordinary(usage: Usage) -> bool:
    """Whether no kind is less than nothing, or more than what it is part of."""
    least = min(usage.output, usage.cached, usage.cache_write)
    return least >= 0 and usage.cached + usage.cache_write <= usage.input


def _is_by_token(prices: ModelPrice) -> bool:
    """Whether it has a price for tokens, and none for a request."""
    told = vars(prices)
    return bool(told.get("input_mtok") and told.get("output_mtok")) and told.get("requests_kcount") is None


def _reckoned(usage: Usage, prices: ModelPrice) -> Decimal:
    plain = _rate(prices.input_mtok, usage)
    fresh = usage.input - usage.cached - usage.cache_write
    total = fresh * plain + usage.output * _rate(prices.output_mtok, usage)
    if usage.cached:
        total += usage.cached * _rate(prices.cache_read_mtok, usage, plain)
    if usage.cache_write:
        total += usage.cache_write * _rate(prices.cache_write_mtok, usage, plain)
    return total / _PER


def _rate(price: object, usage: Usage, otherwise: Decimal = Decimal(0)) -> Decimal:
    """Dollars for a million tokens. Many models cost more from a certain length of the prompt on."""
    if price is None:
        return otherwise
    if isinstance(price, Decimal):
        return price
    rate: Decimal = price.base  # type: ignore[attr-defined]
    for tier in price.tiers:  # type: ignore[attr-defined]
        if usage.input > tier.start:
            rate = tier.price
    return rate
