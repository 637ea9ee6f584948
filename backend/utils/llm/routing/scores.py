"""The scores of answers, by which cost ladders choose where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..strategies import CostLadderStrategy
from .candidates import choice_scope_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model_config import TableSnapshot
    from ..state.traffic import TrafficState
    from ..types import KeyOwner


def record_score(
    snapshot: TableSnapshot, traffic: TrafficState, receipt: Mapping[str, Any], score: float
) -> bool:
    """Record a quality ``score`` from 0 to 1 for the answer of ``receipt``, for the strategy ``cost``.

    Returns True if the score was recorded; False if no tier with that strategy has the endpoint that
    answered.

    Raises:
        ValueError: ``score`` is no number from 0 to 1.
        UnknownFeatureError: The receipt's feature is no longer in the table.
    """
    if not 0 <= score <= 1:
        raise ValueError(f"a score is a figure from 0 to 1, not {score!r}")
    endpoint = receipt["endpoint"]
    found = find_cost_ladder_scopes(
        snapshot, receipt["feature"], receipt["profile"], endpoint, receipt["key_owner"]
    )
    with traffic.lock:
        for scope in found:
            traffic.quality_scores.record_score(scope, endpoint, score)
    return bool(found)


def find_cost_ladder_scopes(
    snapshot: TableSnapshot, feature: str, profile: str, endpoint: str, owner: KeyOwner
) -> list[str]:
    """List the scopes of the tiers with the strategy ``cost`` that contain ``endpoint``.

    Only the chain of ``feature`` in ``profile`` is searched.

    Raises:
        UnknownFeatureError: The table has no such feature.
    """
    named = snapshot.features[feature]
    chain = snapshot.chain(feature, profile) if profile in snapshot.chains else None
    return [
        choice_scope_name(named, tier, number, owner)
        for number, tier in enumerate(chain.tiers if chain else ())
        if isinstance(tier.select, CostLadderStrategy) and endpoint in map(str, tier.endpoints)
    ]
