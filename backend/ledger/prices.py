"""A file of prices, for costs that are to be reckoned anew."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.utils.llm.model_config.schema import Price

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PICO_A_TOKEN: Final = 10**6
"""A dollar for a million tokens, in pico-dollars for one."""


class UnusablePricesError(Exception):
    """The file of prices cannot be used; says why, in one line."""

    code = "unusable_prices"


class Rates(NamedTuple):
    """Pico-dollars for a token of an endpoint."""

    endpoint: str
    input: int
    output: int
    cached: int
    cache_write: int


class Prices(BaseModel):
    """Prices of endpoints.

    Attributes:
        version: What rows that were reckoned with them are marked with.
        prices: By endpoint, ``provider:model``: dollars for a million tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, Field(min_length=1, max_length=100)]
    prices: Annotated[dict[str, Price], Field(min_length=1)]

    def rates(self) -> Iterator[Rates]:
        """Those of each endpoint. What is not priced apart costs what the rest of the prompt does.

        Raises:
            UnusablePricesError: One is finer than a millionth of a dollar for a million tokens.
        """
        for endpoint, price in self.prices.items():
            read = price.input if price.cache_read is None else price.cache_read
            written = price.input if price.cache_write is None else price.cache_write
            figures = (price.input, price.output, read, written)
            yield Rates(endpoint, *(_pico(endpoint, each) for each in figures))


def read_prices(path: Path) -> Prices:
    """The prices of the file ``path``, JSON or TOML, as its name ends.

    Raises:
        UnusablePricesError: If it cannot be read, or is no file of prices.
    """
    try:
        return Prices.model_validate(_document(path))
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
