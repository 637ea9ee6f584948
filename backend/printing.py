"""How a receipt reads in a terminal."""

from __future__ import annotations

from typing import Any


def receipt_line(receipt: dict[str, Any]) -> str:
    """One line: the feature, who served it with whose key, tokens in and out, time, cost, attempts."""
    attempts = receipt["attempts"]
    usage = attempts[-1]["usage"] or {}
    cost = receipt["cost_usd"]
    return "  ".join(
        [
            f"{receipt['feature']} <- {receipt['endpoint']}",
            f"served by {receipt['served_model'] or 'a model that it does not name'}",
            f"{receipt['key_owner']}'s key",
            f"{usage.get('input', '?')} -> {usage.get('output', '?')} tokens",
            f"{sum(attempt['duration_ms'] for attempt in attempts):.0f} ms",
            "cost unknown" if cost is None else f"${cost}",
            f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}",
        ]
    )
