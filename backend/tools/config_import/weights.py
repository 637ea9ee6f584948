"""Rounds shares to the integer weights of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 1000
_WHOLE = 100


def to_integer_weights(shares: Sequence[float]) -> list[int]:
    """Round ``shares`` to integers from 1 to 1000 that have nearly the same proportions."""
    if all(share == round(share) and 1 <= share <= _MOST for share in shares):
        return [round(share) for share in shares]
    parts = [share * _WHOLE / sum(shares) for share in shares]
    scale = max(1.0, 1 / min(parts)) if min(parts) > 0 else 1.0
    return [min(max(round(part * scale), 1), _MOST) for part in parts]
