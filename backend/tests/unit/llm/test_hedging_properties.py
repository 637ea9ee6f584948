"""Whatever endpoints do and callers bring, a hedged call keeps the bounds of any call, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.simulation import World
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.tail_latency import CALLS_PER_HEDGE, ENOUGH

from .test_dispatch_properties import ENDPOINTS, ENDS_A_CALL, assert_bounds, callers, replies

if TYPE_CHECKING:
    from backend.tests.fakes.simulation import Called

C = FailureCategory
whole = replies.map(lambda reply: reply._replace(partial=None))


@st.composite
def hedged_histories(draw: st.DrawFn) -> World:
    """A few calls of a feature that hedges, after a tenth of a second or a second; all over."""
    chain = draw(st.lists(st.sampled_from(ENDPOINTS), min_size=1, max_size=4, unique=True))
    row = f"""
        [features.f]
        hedge = true
        select = "{draw(st.sampled_from(["ordered", "least_busy", "latency"]))}"
        deadline = {draw(st.sampled_from([1.0, 7.0, 120.0]))}
        attempts = {draw(st.integers(1, 3))}
        max_attempts = {draw(st.integers(1, 6))}
        on_refusal = "{draw(st.sampled_from(["raise", "next"]))}"
        on_invalid_output = "{draw(st.sampled_from(["raise", "next"]))}"
        limits = {{ concurrency = {draw(st.integers(1, 4))} }}
    """
    world = World(
        {"f": chain}, row, behaves={one: draw(st.lists(whole, min_size=1, max_size=6)) for one in chain}
    )
    tails = world.health.traffic.tail_latency
    usual = draw(st.sampled_from([0.1, 1.0]))
    for endpoint in chain:
        for _ in range(ENOUGH):
            tails.recent_latencies("f", endpoint, "total").record_answer(usual)
    for _ in range(CALLS_PER_HEDGE * draw(st.integers(0, 5))):
        world.health.traffic.hedge_budget.record_call("f")
    for _ in range(draw(st.integers(1, 8))):
        world.start(caller=draw(callers), at=draw(st.sampled_from([0.0, 0.5, 3.0, 31.0, 100.0])))
    world.run()
    return world


@given(world=hedged_histories())
def test_every_call_keeps_its_bounds(world: World) -> None:
    feature = world.snapshot.features["f"]
    for called in world.calls:
        assert_bounds(called, feature)
        assert [attempt.hedge for attempt in called.attempts] == [step.hedge for step in called.steps]
        assert {step.candidate.endpoint_circuit for step in called.steps} <= {
            candidate.endpoint_circuit for candidate in (*called.route.candidates, *called.route.resting)
        }


@given(world=hedged_histories())
def test_the_second_request_may_be_a_hedge_and_no_other(world: World) -> None:
    for called in world.calls:
        hedges = [place for place, step in enumerate(called.steps) if step.hedge]
        assert hedges in ([], [1])
        for place in hedges:
            first, hedge = called.steps[0].candidate, called.steps[place].candidate
            assert hedge.endpoint != first.endpoint
            assert not called.steps[place].probe
            assert hedge.owner == "user" or called.route.policy != "byok_only"


@given(world=hedged_histories())
def test_what_ends_a_call_ends_it_with_a_hedge_too(world: World) -> None:
    for called in world.calls:
        if not called.attempts:
            continue
        first, owner = called.attempts[0], called.steps[0].candidate.owner
        is_refused_user = first.category is C.CREDENTIAL and owner == "user"
        if first.outcome == "failed" and (first.category in ENDS_A_CALL or is_refused_user):
            assert _begun_after(called) == 0
            # Unless its hedge answered, which it can only before that.
            assert called.error is not None


def _begun_after(called: Called) -> int:
    """How many requests began when the first had failed."""
    failed_at = called.attempts[0].started + called.attempts[0].duration
    return sum(attempt.started >= failed_at and not attempt.hedge for attempt in called.attempts[1:])


@given(world=hedged_histories())
def test_nothing_is_left_under_way(world: World) -> None:
    traffic = world.health.traffic
    assert all(load.in_flight.count(world.now) == 0 for load in traffic.targets._loads.values())
    assert all(count.in_flight.count(world.now) == 0 for count in traffic.rate_limiter._counts.values())
    assert all(not count.reserved for count in traffic.rate_limiter._counts.values())
