"""The typed table: which models serve which feature, and with which settings."""

from __future__ import annotations

from typing import Any

from ..models import capabilities
from ..options import request_kwargs
from ..problems import Problems, did_you_mean
from ..rate_limits import NO_LIMITS, Limits, Rate
from .load import load, parse, table_path
from .overrides import IgnoredOverride, Override
from .schema import Price
from .select import Selection
from .snapshot import (
    OWN,
    Account,
    Chain,
    Endpoint,
    Feature,
    Provider,
    Share,
    Snapshot,
    Tier,
    endpoint_of_user,
)
from .table import Table

__all__ = [
    "NO_LIMITS",
    "OWN",
    "Account",
    "Chain",
    "Endpoint",
    "Feature",
    "IgnoredOverride",
    "Limits",
    "Override",
    "Price",
    "Problems",
    "Provider",
    "Rate",
    "Selection",
    "Share",
    "Snapshot",
    "Table",
    "Tier",
    "did_you_mean",
    "endpoint_of_user",
    "get_route_options",
    "load",
    "parse",
    "table_path",
]


def get_route_options(
    feature: str, model: str, provider: str, *, snapshot: Snapshot | None = None
) -> dict[str, Any]:
    """The options of a feature as keyword arguments of a request to ``model`` at ``provider``.

    Args:
        feature: A feature of the table.
        model: The model, without its provider.
        provider: A provider of the table.
        snapshot: The table; by default the default table, read now.

    Raises:
        UnknownFeatureError: The table has no such feature.
        KeyError: The table has no such provider.
    """
    snapshot = snapshot or load()
    options = snapshot.features[feature].options
    return dict(request_kwargs(options, snapshot.providers[provider].api, capabilities(model)))
