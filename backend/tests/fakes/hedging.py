"""A patchbay that hedges at once, without the calls that it would have to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.utils.llm.state.tail_latency import CALLS_PER_HEDGE, ENOUGH

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay


def learn(patchbay: Patchbay, seconds: float, hedges: int = 1, feature: str = "f") -> None:
    """So many hedges are earned, and each endpoint is known to answer within ``seconds``."""
    traffic = patchbay.health.traffic
    with traffic.lock:
        for _ in range(CALLS_PER_HEDGE * hedges):
            traffic.hedge_budget.record_call(feature)
        for endpoint in patchbay.table.snapshot.chain(feature, "premium"):
            for _ in range(ENOUGH):
                for what in ("total", "first_token"):
                    traffic.tail_latency.recent_latencies(feature, str(endpoint), what).record_answer(seconds)
