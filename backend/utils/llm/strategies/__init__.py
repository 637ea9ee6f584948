"""The strategies that choose one of several endpoints, and the list of all of them."""

from __future__ import annotations

from inspect import isabstract

from .as_written import ORDERED, Custom, Ordered
from .balanced import LeastBusy, LeastUsed, Quota, Weighted
from .base import SelectionContext, Strategy
from .by_tier import Allowance, ByTier
from .ladders import ContextLadder, CostLadder
from .latency import Latency

__all__ = [
    "ORDERED",
    "STRATEGIES",
    "Allowance",
    "ByTier",
    "CostLadder",
    "Custom",
    "Ordered",
    "Quota",
    "SelectionContext",
    "Strategy",
    "Weighted",
    "by_name",
]


def by_name(*kinds: type[Strategy]) -> dict[str, type[Strategy]]:
    """Index the strategy classes by their names, which are the values of ``by`` in the table.

    Raises:
        TypeError: A class is abstract, has no name, or has the name of another one.
    """
    named: dict[str, type[Strategy]] = {}
    for kind in kinds:
        name = kind.model_fields["by"].default
        if isabstract(kind) or not isinstance(name, str) or name in named:
            raise TypeError(f"{kind.__name__} lacks an order, an effect or its names, or a name of its own")
        named[name] = kind
    return named


STRATEGIES = by_name(
    Ordered,
    Weighted,
    LeastUsed,
    LeastBusy,
    Latency,
    ByTier,
    ContextLadder,
    CostLadder,
    Quota,
    Custom,
)
