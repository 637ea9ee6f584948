"""Which arm of a split a caller is in: always the same one, in every process."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..caller import Caller
    from ..model_config import Feature, Share

_WHOLE = 100.0


def share_of(feature: Feature, caller: Caller, dice: float) -> Share | None:
    """The endpoint on trial that ``caller`` gets first; None for the control.

    By a hash of the user, or else of the conversation or the tenant, keyed by what is tried: another feature's trial
    draws other users, and a share that grows keeps those who were in it. Where nobody is named, by ``dice``.
    """
    unit = caller.user_id or caller.conversation_id or caller.tenant_id
    point = _WHOLE * (_hashed(unit, feature) if unit else dice)
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
