"""How full the limits are in this process, as values without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..state.rate_limiter import MeteredScope
    from ..state.traffic import TrafficState


class LimitInfo(BaseModel):
    """A rate limit, and how much of it is used now.

    Attributes:
        whose: What the limit holds for, in words, such as ``to openai:gpt-6-luna``.
        what: The unit counted; ``at once`` for requests in flight.
        per: The period; None for requests in flight.
        used: The amount used.
        most: The limit.
        waiting: How many calls wait for any limit of the same scope.
    """

    model_config = ConfigDict(frozen=True)

    whose: str
    what: Literal["requests", "tokens", "at once"]
    per: str | None
    used: int
    most: int
    waiting: int

    @property
    def used_share(self) -> float:
        """The used part of the limit: 1 is full. It is above 1 if requests used more tokens than they reserved."""
        return self.used / self.most


def make_limit_infos(meters: Iterable[MeteredScope], traffic: TrafficState) -> tuple[LimitInfo, ...]:
    """Describe how much of each limit of ``meters`` is used, by the counts in ``traffic``; the fullest first."""
    with traffic.lock:
        found = [
            LimitInfo(whose=meter.name, **usage._asdict())
            for meter in meters
            for usage in traffic.rate_limiter.list_limit_usage(meter)
        ]
    return tuple(sorted(found, key=lambda limit: -limit.used_share))
