"""Costs of attempts, in US dollars; None where no price is known.

Prices come from the ``genai-prices`` package as it is installed; nothing is fetched at run time. Its own computation
covers every kind of usage that any provider bills, and takes half as long as the rest of a call. Here only four kinds of
tokens are priced, with its prices; the tests compare the two for every model that it knows.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from .forks import delay_forks
from .interruptions import find_interruption
from .receipt import TokenUsage

if TYPE_CHECKING:
    from datetime import date

    from genai_prices.types import ModelInfo, ModelPrice

    from .model_config import Endpoint, TokenPrices

log = logging.getLogger(__name__)

_PRICE_LIST = "genai-prices"
_PRICE_LIST_NAMES = {"gemini": "google"}
"""Providers that the price list calls by another name than the table does."""
_PER = Decimal(1_000_000)
_PICO = 12
"""Decimal places of a cost: it is counted in pico-dollars."""


def compute_cost(endpoint: Endpoint, usage: TokenUsage | None, when: datetime) -> Decimal | None:
    """Compute the cost of ``usage`` at ``endpoint`` at the time ``when``, in US dollars.

    None if price or usage is unknown. A price in the table takes precedence over the price list. The cost is
    rounded to whole pico-dollars. Errors of the price list are only logged, so that no answer is lost
    because of its price.
    """
    if usage is None:
        return None
    try:
        if endpoint.price is not None:
            found = _at_own_price(usage, endpoint.price) if _is_ordinary(usage) else None
        elif (known := _known(*endpoint.price_list_id)) is None:
            return None
        else:
            prices = known.get_prices(when)
            is_plain = _is_ordinary(usage) and _is_by_token(prices)
            found = (
                _reckoned(usage, prices)
                if is_plain
                else compute_cost_with_genai_prices(*endpoint.price_list_id, usage, when)
            )
        return found if found is None or found == (whole := round(found, _PICO)) else whole
    except Exception as error:
        if find_interruption(error) is not None:
            raise
        _warn_once(type(error).__name__)
        return None


def describe_price_source(endpoint: Endpoint, table_hash: str) -> str:
    """Name the source of the endpoint's price, such as ``genai-prices 0.2.3`` or ``table 0123456789ab``.

    Args:
        endpoint: The endpoint.
        table_hash: The hash of the table, for an endpoint whose price the table sets.
    """
    if endpoint.price is not None:
        return f"table {table_hash}"
    listed = f"{_PRICE_LIST} {price_list_version()}"
    is_told = endpoint.billed_as is not None or endpoint.provider.priced_as is not None
    return f"{listed} as {':'.join(endpoint.price_list_id)}" if is_told else listed


@lru_cache(maxsize=1)
@delay_forks()
def price_list_version() -> str | None:
    """The installed version of the price list, the package genai-prices; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(_PRICE_LIST)
    except PackageNotFoundError:
        return None


def max_request_cost(
    endpoint: Endpoint, prompt_tokens: int, max_answer_tokens: int | None, day: date
) -> Decimal | None:
    """Compute the most that one request could cost on ``day``, in US dollars; None if the price is unknown.

    Args:
        endpoint: The endpoint of the request.
        prompt_tokens: The prompt's length in tokens.
        max_answer_tokens: The longest answer in tokens; None if only the model limits it.
        day: The day whose prices apply.
    """
    return compute_cost_on_day(
        day, endpoint, TokenUsage(input=prompt_tokens, output=max_answer_tokens or endpoint.can.max_output)
    )


def compute_cost_on_day(day: date, endpoint: Endpoint, usage: TokenUsage) -> Decimal | None:
    """Compute the cost of ``usage``, in US dollars, at the start of ``day`` in UTC; None if it is unknown."""
    return compute_cost(endpoint, usage, datetime.combine(day, time(), UTC))


def compute_cost_with_genai_prices(
    provider: str, model: str, usage: TokenUsage, when: datetime
) -> Decimal | None:
    """Compute the cost in US dollars with the function of the package genai-prices itself, which is slow.

    None if the package has no such model, or finds the token counts contradictory.
    """
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
@delay_forks()
def _known(provider: str, model: str) -> ModelInfo | None:
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError as error:  # remembered: to look for it again takes longer than to reckon
        _warn_once(type(error).__name__)
        return None
    try:
        return get_snapshot().find_provider_model(model, None, _listed(provider), None)[1]
    except LookupError:
        return None


def _listed(provider: str) -> str:
    return _PRICE_LIST_NAMES.get(provider, provider)


@lru_cache(maxsize=16)
def _warn_once(fault: str) -> None:
    """Log each kind of fault once. Calls are answered nevertheless."""
    log.warning(
        "the price list cannot be read (%s): costs are unknown, and capped calls find no endpoint", fault
    )


def _at_own_price(usage: TokenUsage, price: TokenPrices) -> Decimal:
    """The cost by the table's own price. Prompt tokens without a separate price cost as much as the others."""
    fresh = usage.input - usage.cached - usage.cache_write
    cached = price.input if price.cache_read is None else price.cache_read
    written = price.input if price.cache_write is None else price.cache_write
    total = fresh * price.input + usage.output * price.output
    return (total + usage.cached * cached + usage.cache_write * written) / _PER


def _is_ordinary(usage: TokenUsage) -> bool:
    """Whether no count is negative, or larger than the count that it is part of."""
    least = min(usage.output, usage.cached, usage.cache_write)
    return least >= 0 and usage.cached + usage.cache_write <= usage.input


def _is_by_token(prices: ModelPrice) -> bool:
    """Whether ``prices`` has a price for tokens, and none for requests."""
    listed = vars(prices)
    return (
        bool(listed.get("input_mtok") and listed.get("output_mtok")) and listed.get("requests_kcount") is None
    )


def _reckoned(usage: TokenUsage, prices: ModelPrice) -> Decimal:
    plain = _rate(prices.input_mtok, usage)
    fresh = usage.input - usage.cached - usage.cache_write
    total = fresh * plain + usage.output * _rate(prices.output_mtok, usage)
    if usage.cached:
        total += usage.cached * _rate(prices.cache_read_mtok, usage, plain)
    if usage.cache_write:
        total += usage.cache_write * _rate(prices.cache_write_mtok, usage, plain)
    return total / _PER


def _rate(price: object, usage: TokenUsage, otherwise: Decimal = Decimal(0)) -> Decimal:
    """Dollars per million tokens. Many models cost more for prompts above a certain length."""
    if price is None:
        return otherwise
    if isinstance(price, Decimal):
        return price
    rate: Decimal = price.base  # type: ignore[attr-defined]
    for tier in price.tiers:  # type: ignore[attr-defined]
        if usage.input > tier.start:
            rate = tier.price
    return rate
