"""The strategies that choose one of several endpoints, and the list of all of them."""

from __future__ import annotations

from inspect import isabstract

from .as_written import ORDERED, CustomStrategy, OrderedStrategy
from .balanced import LeastBusyStrategy, LeastUsedStrategy, QuotaResetStrategy, WeightedStrategy
from .base import SelectionContext, SelectionStrategy
from .by_tier import TierAllowance, TierStrategy
from .ladders import ContextLadderStrategy, CostLadderStrategy
from .latency import LatencyStrategy

__all__ = [
    "ORDERED",
    "STRATEGIES",
    "CostLadderStrategy",
    "CustomStrategy",
    "OrderedStrategy",
    "QuotaResetStrategy",
    "SelectionContext",
    "SelectionStrategy",
    "TierAllowance",
    "TierStrategy",
    "WeightedStrategy",
    "index_strategies_by_name",
]


def index_strategies_by_name(*kinds: type[SelectionStrategy]) -> dict[str, type[SelectionStrategy]]:
    """Index strategy classes by their names: the values of ``by`` in the table's ``select`` settings.

    Raises:
        TypeError: A class is abstract, has no name, or has the same name as another class.
    """
    named: dict[str, type[SelectionStrategy]] = {}
    for kind in kinds:
        name = kind.model_fields["by"].default
        if isabstract(kind) or not isinstance(name, str) or name in named:
            raise TypeError(f"{kind.__name__} lacks an order, an effect or its names, or a name of its own")
        named[name] = kind
    return named


STRATEGIES = index_strategies_by_name(
    OrderedStrategy,
    WeightedStrategy,
    LeastUsedStrategy,
    LeastBusyStrategy,
    LatencyStrategy,
    TierStrategy,
    ContextLadderStrategy,
    CostLadderStrategy,
    QuotaResetStrategy,
    CustomStrategy,
)
