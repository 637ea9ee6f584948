"""How much of its limits this process has used, as values that may be shown to anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..state.rate_limiter import Meter
    from ..state.traffic import Traffic


class LimitInfo(BaseModel):
    """A limit, and how full it is now.

    Attributes:
        whose: What it holds for, in words: ``to openai:gpt-6-luna``.
        what: What is counted; ``at once`` is of requests that are under way.
        per: The period; None of what is counted at once.
        waiting: How many calls wait for room under any limit of the same.
    """

    model_config = ConfigDict(frozen=True)

    whose: str
    what: Literal["requests", "tokens", "at once"]
    per: str | None
    used: int
    most: int
    waiting: int

    @property
    def share(self) -> float:
        """The used part of the limit; 1 is full."""
        return self.used / self.most


def limit_infos(meters: Iterable[Meter], traffic: Traffic) -> tuple[LimitInfo, ...]:
    """Every limit of ``meters``, the fullest first."""
    with traffic.lock:
        found = [
            LimitInfo(
                whose=meter.name,
                what=one.what,
                per=one.per,
                used=one.used,
                most=one.most,
                waiting=one.waiting,
            )
            for meter in meters
            for one in traffic.rate_limiter.levels(meter)
        ]
    return tuple(sorted(found, key=lambda one: -one.share))
