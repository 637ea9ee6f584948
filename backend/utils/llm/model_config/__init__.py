"""The typed table: which models serve which feature, and with which settings."""

from __future__ import annotations

from typing import Any

from ..models import find_capabilities
from ..options import make_request_kwargs
from ..problems import TableProblems, did_you_mean
from ..rate_limits import NO_LIMITS, Limits, RateLimit
from .load import find_table_path, load_table, parse_table
from .overrides import IgnoredOverride, Override
from .schema import TokenPrices
from .select import Selection
from .snapshot import (
    OWN,
    ChainTier,
    Endpoint,
    EndpointChain,
    Feature,
    HouseAccount,
    Provider,
    TableSnapshot,
    TrafficShare,
    make_own_endpoint,
)
from .table import Table

__all__ = [
    "NO_LIMITS",
    "OWN",
    "ChainTier",
    "Endpoint",
    "EndpointChain",
    "Feature",
    "HouseAccount",
    "IgnoredOverride",
    "Limits",
    "Override",
    "Provider",
    "RateLimit",
    "Selection",
    "Table",
    "TableProblems",
    "TableSnapshot",
    "TokenPrices",
    "TrafficShare",
    "did_you_mean",
    "find_table_path",
    "get_route_options",
    "load_table",
    "make_own_endpoint",
    "parse_table",
]


def get_route_options(
    feature: str, model: str, provider: str, *, snapshot: TableSnapshot | None = None
) -> dict[str, Any]:
    """The options of ``feature`` as keyword arguments of a request to ``model`` at ``provider``.

    Args:
        feature: A feature of the table.
        model: The model, without its provider.
        provider: A provider of the table.
        snapshot: The resolved table; by default the default table, read now.

    Raises:
        UnknownFeatureError: The table has no such feature.
        KeyError: The table has no such provider.
    """
    snapshot = snapshot or load_table()
    options = snapshot.features[feature].options
    return dict(make_request_kwargs(options, snapshot.providers[provider].api, find_capabilities(model)))
