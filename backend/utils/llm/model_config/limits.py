"""How much may go out: rates such as ``"60/minute"``, and what a key, an endpoint or a feature is held to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from typing_extensions import override

Period = Literal["second", "minute", "hour", "day", "month"]
SECONDS: dict[Period, float] = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "month": 2_592_000.0,
}
"""Of each period. A month counts from its first day to the next one's, in UTC; 30 days stand for its length."""
_WRITTEN = re.compile(rf"([1-9][0-9_]*) ?/ ?({'|'.join(SECONDS)})")


@dataclass(frozen=True, slots=True)
class Rate:
    """So much in each period: ``90000/minute``."""

    amount: int
    per: Period

    @classmethod
    def read(cls, written: object) -> Self:
        """The rate that is written ``amount/period``.

        Raises:
            ValueError: If it is no such thing.
        """
        if isinstance(written, cls):
            return written
        found = _WRITTEN.fullmatch(written.strip()) if isinstance(written, str) else None
        if found is None:
            raise ValueError(f'must be written like "90000/minute", per {", ".join(SECONDS)}')
        return cls(int(found[1]), found[2])  # type: ignore[arg-type]

    @property
    def resets(self) -> bool:
        """Whether it starts anew with each day or month, as quotas do; else it slides, as throttles do."""
        return self.per in {"day", "month"}

    @override
    def __str__(self) -> str:
        return f"{self.amount}/{self.per}"


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


RateField = Annotated[Rate, BeforeValidator(Rate.read), PlainSerializer(str)]
Rates = Annotated[tuple[RateField, ...], BeforeValidator(_as_list)]


class Limits(BaseModel):
    """What is let out at most. Nothing that is left out is limited.

    Attributes:
        requests: Requests in each period.
        tokens: Tokens in each period, prompt and answer together.
        concurrency: Requests that are under way at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Rates = ()
    tokens: Rates = ()
    concurrency: int | None = Field(None, gt=0)

    @property
    def is_none(self) -> bool:
        """Whether nothing is limited."""
        return not (self.requests or self.tokens or self.concurrency)


NO_LIMITS = Limits()
