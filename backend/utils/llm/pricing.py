"""What an attempt cost, in US dollars; None where no price is known.

Prices come from the ``genai-prices`` package as it is installed; nothing is fetched at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from .receipt import Usage

_PRICE_LIST_NAMES = {"gemini": "google"}
"""Providers that the price list calls by another name than the table does."""


def cost(provider: str, model: str, usage: Usage | None, when: datetime) -> Decimal | None:
    """The price of ``usage`` on ``when``; None if the model, or the usage, is unknown."""
    if usage is None:
        return None
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached,
        cache_write_tokens=usage.cache_write,
    )
    try:
        price = genai_prices.calc_price(
            tokens,
            model,
            provider_id=_PRICE_LIST_NAMES.get(provider, provider),
            genai_request_timestamp=when,
        )
    except (LookupError, ValueError):  # no such model, or counts that its price list finds contradictory
        return None
    return price.total_price
