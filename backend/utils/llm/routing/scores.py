"""The scores of answers, by which cost ladders choose where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..strategies import CostLadder
from .candidates import scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model_config import Snapshot
    from ..state.traffic import Traffic
    from ..types import KeyOwner


def add_score(snapshot: Snapshot, traffic: Traffic, receipt: Mapping[str, Any], score: float) -> bool:
    """Record a ``score`` from 0 to 1 for the answer that ``receipt`` describes, so that cost ladders can use it.

    True if it was recorded; False if no cost ladder uses the endpoint that answered.

    Raises:
        ValueError: ``score`` is no number from 0 to 1.
        UnknownFeatureError: The receipt's feature is no longer in the table.
    """
    if not 0 <= score <= 1:
        raise ValueError(f"a score is a figure from 0 to 1, not {score!r}")
    endpoint = receipt["endpoint"]
    found = ladders(snapshot, receipt["feature"], receipt["profile"], endpoint, receipt["key_owner"])
    with traffic.lock:
        for scope in found:
            traffic.quality_scores.add(scope, endpoint, score)
    return bool(found)


def ladders(snapshot: Snapshot, feature: str, profile: str, endpoint: str, owner: KeyOwner) -> list[str]:
    """The scopes of the cost ladders that have ``endpoint`` as a rung, for ``feature`` in ``profile``.

    Raises:
        UnknownFeatureError: The table has no such feature.
    """
    named = snapshot.features[feature]
    chain = snapshot.chain(feature, profile) if profile in snapshot.chains else None
    return [
        scope_of(named, tier, number, owner)
        for number, tier in enumerate(chain.tiers if chain else ())
        if isinstance(tier.select, CostLadder) and endpoint in map(str, tier.endpoints)
    ]
