"""The typed table: which model serves which feature, and under which terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .load import load, parse, table_path
from .snapshot import Chain, Endpoint, Feature, Provider, Snapshot, Tier
from .table import Table

if TYPE_CHECKING:
    from ..options import Options

__all__ = [
    "Chain",
    "Endpoint",
    "Feature",
    "Provider",
    "Snapshot",
    "Table",
    "Tier",
    "get_route_options",
    "load",
    "parse",
    "table_path",
]


def get_route_options(snapshot: Snapshot, feature: str) -> Options:
    """The options in force for ``feature``."""
    return snapshot.feature(feature).options
