"""How one of several endpoints is chosen: a file for each strategy, and here the list of all."""

from __future__ import annotations

from inspect import isabstract

from .base import Choosable, SelectionContext, Strategy
from .by_tier import Allowance, ByTier
from .context_ladder import ContextLadder
from .cost_ladder import CostLadder
from .custom import Custom
from .latency import Latency
from .least_busy import LeastBusy
from .least_used import LeastUsed
from .ordered import ORDERED, Ordered
from .quota import Quota
from .weighted import Weighted

__all__ = [
    "ORDERED",
    "STRATEGIES",
    "Allowance",
    "ByTier",
    "Choosable",
    "ContextLadder",
    "CostLadder",
    "Custom",
    "Latency",
    "LeastBusy",
    "LeastUsed",
    "Ordered",
    "Quota",
    "SelectionContext",
    "Strategy",
    "Weighted",
    "by_name",
]


def by_name(*kinds: type[Strategy]) -> dict[str, type[Strategy]]:
    """``kinds`` by what ``by`` says in the table.

    Raises:
        TypeError: If one of them is not whole, or has no name, or that of another.
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
