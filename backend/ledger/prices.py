"""Reads a price file, from which the costs of old attempts are computed again."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.utils.llm.model_config.schema import TokenPrices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PICO_A_TOKEN: Final = 10**6
"""A dollar for a million tokens, in pico-dollars for one."""


class UnusablePricesError(Exception):
    """The price file cannot be used. The message says why, in one line."""

    code = "unusable_prices"


class TokenRates(NamedTuple):
    """The prices of one endpoint, in pico-dollars (10⁻¹² dollars) per token."""

    endpoint: str
    input: int
    output: int
    cached: int
    cache_write: int


class PriceFile(BaseModel):
    """The content of a price file, for computing the costs of old attempts again.

    Attributes:
        version: A name for these prices, stored with each row whose cost was computed from them.
        prices: Dollars per million tokens, by endpoint (``provider:model``).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(min_length=1, max_length=100)]
    prices: Annotated[dict[str, TokenPrices], Field(min_length=1)]

    def to_token_rates(self) -> Iterator[TokenRates]:
        """Convert the prices of each endpoint to pico-dollars per token.

        Without prices of their own, cached tokens and cache writes cost as much as other input tokens.

        Raises:
            UnusablePricesError: A price is finer than a millionth of a dollar per million tokens.
        """
        for endpoint, price in self.prices.items():
            read = price.input if price.cache_read is None else price.cache_read
            written = price.input if price.cache_write is None else price.cache_write
            figures = (price.input, price.output, read, written)
            yield TokenRates(endpoint, *(_pico(endpoint, each) for each in figures))


def read_price_file(path: Path) -> PriceFile:
    """Read the price file at ``path``: JSON if its suffix is ``.json``, otherwise TOML.

    Raises:
        UnusablePricesError: The file cannot be read, or is not a price file.
    """
    try:
        return PriceFile.model_validate(_document(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnusablePricesError(f"{path}: {where}: {first['msg']}.") from error
    except (OSError, ValueError) as error:
        raise UnusablePricesError(f"{path} cannot be read: {error}.") from error


def _document(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text, parse_float=Decimal)
    return tomllib.loads(text, parse_float=Decimal)


def _pico(endpoint: str, dollars: Decimal) -> int:
    pico = dollars * _PICO_A_TOKEN
    if pico != int(pico):
        raise UnusablePricesError(f"{endpoint}: {dollars} is finer than a millionth of a dollar.")
    return int(pico)
