"""The arm of a split for a caller, which is the same at every call and in every process."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from .route import Candidate, CandidateRejection, RejectionCode

if TYPE_CHECKING:
    from ..caller import Caller
    from ..model_config import Feature, TrafficShare
    from ..state.traffic import TrafficState

_WHOLE = 100.0


def find_trial_endpoint(
    feature: Feature, caller: Caller, traffic: TrafficState
) -> tuple[TrafficShare | None, list[CandidateRejection]]:
    """Find the endpoint on trial that is tried first for ``caller``, and list the trials that have ended.

    Returns:
        The endpoint with its share; None if the caller is in the control group, or if its trial has ended.
        And a rejection for each trial that has ended.
    """
    ended = {
        share: traffic.experiments.trial_stop_reason(feature.name, str(share)) for share in feature.split
    }
    layer = f"{feature.layer}, features.{feature.name}.split"
    over = [
        CandidateRejection(
            Candidate(share.endpoint, "house", "", layer),
            RejectionCode.SPLIT_OVER,
            f"its trial was stopped: {reason}",
        )
        for share, reason in ended.items()
        if reason is not None
    ]
    share = assign_trial_share(feature, caller, traffic.round_robin.variant_random_number)
    return (None if share is None or ended[share] is not None else share), over


def assign_trial_share(feature: Feature, caller: Caller, random_draw: float) -> TrafficShare | None:
    """Assign ``caller`` to an endpoint on trial or the control group (None), by the shares of the split.

    The choice is a hash of the user, conversation or tenant, keyed by the trial. So each trial gets other
    users, and a share that grows keeps its users. Without these ids, ``random_draw`` (0 to 1) decides.
    """
    unit = caller.user_id or caller.conversation_id or caller.tenant_id
    point = _WHOLE * (_hashed(unit, feature) if unit else random_draw)
    for share in feature.split:
        if point < share.percent:
            return share
        point -= share.percent
    return None


def _hashed(unit: str, feature: Feature) -> float:
    tried = " ".join([feature.name, *(str(share.endpoint) for share in feature.split)])
    key = blake2b(tried.encode(), digest_size=16).digest()
    digest = blake2b(unit.encode(errors="replace"), digest_size=8, key=key).digest()
    return int.from_bytes(digest) / 2.0**64
