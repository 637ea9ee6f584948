"""Limits: rates such as ``"60/minute"``, and the limits of a key, an endpoint or a feature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from typing_extensions import override

from .problems import did_you_mean, make_rule_error

Period = Literal["second", "minute", "hour", "day", "month"]
SECONDS: dict[Period, float] = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
    "month": 2_592_000.0,
}
"""The seconds in each period. Months are counted by the calendar, in UTC; here a month has 30 days."""
_WRITTEN = re.compile(r"([0-9]{1,15}(?:_[0-9]{1,15})*) ?/ ?([a-z]+)")
_IN_WORDS = re.compile(r"([0-9][0-9_,]*) *(?:/|per|a|an|each|every)? *([a-z]+)", re.IGNORECASE)
_RULE = 'must be written like "90000/minute", per second, minute, hour, day or month'


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit on the number of requests or tokens in a period, such as ``90000/minute``."""

    amount: int
    per: Period

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse a rate written as ``amount/period``, such as ``90000/minute``; a `RateLimit` is returned unchanged.

        Raises:
            ValueError: ``value`` is no such rate.
        """
        if isinstance(value, cls):
            return value
        found = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise make_rule_error(_RULE, _meant(value))
        period: Period | None = next((known for known in SECONDS if known == found[2]), None)
        if period is None:
            raise make_rule_error(f"there is no period {found[2]!r}", did_you_mean(found[2], SECONDS))
        if (amount := int(found[1])) < 1:
            raise make_rule_error("must let out at least 1", "Leave it out if nothing is limited.")
        return cls(amount, period)

    @property
    def is_calendar_quota(self) -> bool:
        """Whether the count restarts with each calendar day or month, like a quota; else the window slides."""
        return self.per in {"day", "month"}

    @override
    def __str__(self) -> str:
        return f"{self.amount}/{self.per}"


def _meant(written: object) -> str:
    """A guess at the intended rate."""
    if isinstance(written, int) and not isinstance(written, bool) and written > 0:
        return f'Did you mean "{written}/minute"?'
    found = _IN_WORDS.fullmatch(written.strip()) if isinstance(written, str) else None
    period = found and found[2].lower().removesuffix("s")
    if found is None or period not in SECONDS:
        return ""
    return f'Did you mean "{re.sub("[_,]", "", found[1])}/{period}"?'


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _one_for_each_period(rates: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
    periods = [rate.per for rate in rates]
    for period in SECONDS:
        if periods.count(period) > 1:
            raise make_rule_error(f"says twice how much is let out per {period}", "Keep the smaller one.")
    return rates


RateField = Annotated[RateLimit, BeforeValidator(RateLimit.parse), PlainSerializer(str)]
Rates = Annotated[tuple[RateField, ...], BeforeValidator(_as_list), AfterValidator(_one_for_each_period)]


class Limits(BaseModel):
    """The limits on requests of one key, endpoint or feature. Empty or None is no limit.

    Attributes:
        requests: The most requests in each period.
        tokens: The most tokens in each period, prompt and answer together.
        concurrency: The most requests in flight at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Rates = ()
    tokens: Rates = ()
    concurrency: int | None = Field(default=None, gt=0)

    @property
    def is_unlimited(self) -> bool:
        """Whether no limit is set at all."""
        return not (self.requests or self.tokens or self.concurrency)


NO_LIMITS = Limits()
