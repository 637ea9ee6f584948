from __future__ import annotations

from backend.utils.llm import Patchbay, Table
from backend.utils.llm.diagnostics.limits import make_limit_infos
from backend.utils.llm.rate_limits import Limits, RateLimit
from backend.utils.llm.state.rate_limiter import MeteredScope
from backend.utils.llm.state.traffic import TrafficState

LIMITS = Limits(
    requests=(RateLimit(10, "minute"), RateLimit(1_000, "day")),
    tokens=(RateLimit(2_000, "minute"),),
    concurrency=2,
)
METER = MeteredScope("endpoint x", "to openai:gpt-6-luna", LIMITS)


def test_limits_that_nothing_counts_against_are_empty() -> None:
    found = make_limit_infos([METER], TrafficState(lambda: 0.0))

    assert [(limit.what, limit.per, limit.used, limit.most) for limit in found] == [
        ("requests", "minute", 0, 10),
        ("requests", "day", 0, 1_000),
        ("tokens", "minute", 0, 2_000),
        ("at once", None, 0, 2),
    ]


def test_the_fullest_comes_first_and_looking_changes_nothing() -> None:
    traffic = TrafficState(lambda: 0.0)
    with traffic.lock:
        traffic.rate_limiter.count_request([METER], 1_900, 1, 60.0)
        traffic.rate_limiter.join_queue(METER.scope, 7, 30.0, 500)

    found = make_limit_infos([METER], traffic)

    assert found == make_limit_infos([METER], traffic)
    assert [(limit.what, limit.per, limit.used, limit.waiting) for limit in found] == [
        ("tokens", "minute", 1_900, 1),
        ("at once", None, 1, 1),
        ("requests", "minute", 1, 1),
        ("requests", "day", 1, 1),
    ]


def test_models_of_the_table_are_told_with_what_uses_them() -> None:
    found = {model.endpoint: model for model in Patchbay(Table(environ={})).get_models()}

    luna = found["openai:gpt-6-luna"]
    assert (luna.known, luna.input_usd, luna.output_usd) == (True, "0.1", "0.5")
    assert "conv_folder" in luna.features
    assert found["openai:gpt-5.1"].retires is not None
    assert found["local:smollm2-135m-instruct"].features == ()
