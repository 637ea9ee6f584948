"""How much processor time it takes to choose one of twenty endpoints, and whether the prompt's length matters.

    PYTHONPATH=. .venv/bin/python benchmarks/choosing.py

Nothing is sent. Prints a table in Markdown, in about a minute. *Choose* is what a strategy adds to a call: the order of
twenty healthy candidates, and what the choice leaves behind. *Plan* is the whole decision: the same twenty found, tested
against what the call needs, and ordered.
"""

from __future__ import annotations

import gc
import json
import time
from datetime import date
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage

from backend.utils.llm.caller import Caller
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.needs import prepare_history_and_needs
from backend.utils.llm.options import Options
from backend.utils.llm.providers import CallSettings
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.selection import make_selection_context, order_candidates, record_choice
from backend.utils.llm.state.health import HealthTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.utils.llm.routing.route import Needs

TWENTY = [f"pool:model-{number}" for number in range(20)]
TODAY = date(2026, 11, 21)
CALLER = Caller(user_id="ann", conversation_id="c1", tier="pro")
STRATEGIES = {
    "ordered": '"ordered"',
    "weighted": '{ by = "weighted", weights = { "pool:model-3" = 3 } }',
    "least_used": '"least_used"',
    "least_busy": '"least_busy"',
    "latency": '"latency"',
    "tier": f'{{ by = "tier", default = "pro", tiers = {{ pro = {json.dumps(TWENTY)} }} }}',
    "context": '"context"',
    "cost": '"cost"',
    "quota": '"quota"',  # of the provider's own key
}
ROUNDS, TIMES = 15, 400


def main() -> None:
    """Measure every strategy with a prompt of a kilobyte and of a megabyte, in turns, and print the table."""
    short, long = (_needs(size) for size in (1_000, 1_000_000))
    print("| select | choose, 1 MB | plan, 1 MB | choose, 1 MB : 1 KB | plan, 20 endpoints : 1 |")
    print("|---|---|---|---|---|")
    for name, select in STRATEGIES.items():
        choose_short, choose_long = _choosing(select, short), _choosing(select, long)
        plan_twenty, plan_one = _planning(select, long, TWENTY), _planning('"ordered"', long, TWENTY[:1])
        a, b, c, d = _micros(choose_short, choose_long, plan_twenty, plan_one)
        print(f"| `{name}` | {b:.1f} µs | {c:.0f} µs | {b / a:.2f} | {c / d:.1f} |")
    measuring = [lambda size=size: _needs(size) for size in (1_000, 1_000_000)]
    small, big = _micros(*measuring)
    print(f"\nEstimating the tokens of a prompt: {small:.1f} µs for 1 KB, {big:.1f} µs for 1 MB.")


def _needs(size: int) -> Needs:
    return prepare_history_and_needs([HumanMessage("x" * size)], CallSettings(Options()))[1]


def _choosing(select: str, needs: Needs) -> Callable[[], object]:
    health = HealthTracker(time.monotonic)
    snapshot = parse_table(_table(select, TWENTY), environ={"POOL_KEY": "k"})
    route = plan_route(snapshot, "f", CALLER, needs, today=TODAY, health=health)
    situation = make_selection_context(needs, CALLER, health.traffic)
    for candidate in route.candidates:
        health.traffic.targets.record_answer(candidate.traffic_key, "total", 0.5)

    def choose() -> None:
        with health.traffic.lock:
            first = order_candidates(route.candidates, situation)[0]
            record_choice(first, route.candidates, situation)

    return choose


def _planning(select: str, needs: Needs, endpoints: list[str]) -> Callable[[], object]:
    health = HealthTracker(time.monotonic)
    snapshot = parse_table(_table(select, endpoints), environ={"POOL_KEY": "k"})
    return lambda: plan_route(snapshot, "f", CALLER, needs, today=TODAY, health=health)


def _table(select: str, endpoints: list[str]) -> str:
    return f"""
[providers.pool]
api = "openai"
base_url = "https://pool.example/v1"
api_key_env = "POOL_KEY"
limits = {{ requests = "1000000000/day" }}
[profiles.premium]
f = {json.dumps(endpoints)}
[profiles.byok]
extends = "premium"
[features.f]
select = {select}
{"".join(f'[models."{endpoint}"]{chr(10)}context_window = 2000000{chr(10)}' for endpoint in endpoints)}
"""


def _micros(*functions: Callable[[], object]) -> list[float]:
    """Processor time of one call of each, in microseconds: the median of rounds that take turns."""
    gc.disable()
    rounds = [[_once(function) for function in functions] for _ in range(ROUNDS)]
    gc.enable()
    return [sorted(times)[ROUNDS // 2] for times in zip(*rounds, strict=True)]


def _once(function: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(TIMES):
        function()
    return (time.process_time() - began) / TIMES * 1e6


if __name__ == "__main__":
    main()
