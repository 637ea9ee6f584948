"""How full the limits are in this process, as values without secrets."""

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
        whose: What the limit holds for, in words: ``to openai:gpt-6-luna``.
        what: The unit counted; ``at once`` for requests in flight.
        per: The period; None for requests in flight.
        waiting: How many calls wait for room under any limit with the same scope.
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
    """How much of each limit in ``meters`` is used, by the counts in ``traffic``, the fullest first."""
    with traffic.lock:
        found = [
            LimitInfo(whose=meter.name, **one._asdict())
            for meter in meters
            for one in traffic.rate_limiter.levels(meter)
        ]
    return tuple(sorted(found, key=lambda one: -one.share))
