"""Outages, with many callers at once: how much is sent, how long it takes, and how the end is noticed."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.simulation import HANG, Behaviour, Called, Reply, World, fails, ok, users_own
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.errors import LLMError, ProviderDownError
from backend.utils.llm.failures import FailureCategory

if TYPE_CHECKING:
    from collections.abc import Iterable

C = FailureCategory
DOWN = fails(C.SERVER, 503, seconds=0.05)
CALLS = 1000
RESERVE = 10


def load(world: World, calls: int, every: float, feature: str = "f") -> list[Called]:
    """So many calls, one after the other at this distance; 0 is all at once."""
    for number in range(calls):
        world.start(feature, at=world.now + number * every)
    return world.run()


def p95(calls: Iterable[Called]) -> float:
    seconds = sorted(called.seconds for called in calls)
    return seconds[int(0.95 * len(seconds))]


def most_at_once(world: World, endpoint: str) -> int:
    """The most probes of ``endpoint`` that were under way at the same time."""
    edges = [
        edge
        for request in world.sent_to(endpoint)
        if request.is_probe
        for edge in ((request.started, 1), (request.ended, -1))
    ]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


class TestTotalOutage:
    """A thousand calls that nobody answers."""

    @pytest.mark.parametrize("every", [0.0, 0.1, 5.0])
    @pytest.mark.parametrize(
        "fault",
        [
            DOWN,
            fails(C.CONNECT),
            fails(C.SERVER, 504, seconds=5),
            fails(C.RATE_LIMIT, 429),
            fails(C.RATE_LIMIT, 429, hint=2.0),
        ],
        ids=["503", "refused", "slow 504", "429", "429 with a hint"],
    )
    def test_retries_are_a_tenth_of_the_calls_and_the_reserve_at_most(
        self, fault: Reply, every: float
    ) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fault})

        calls = load(world, CALLS, every)

        assert all(called.error is not None for called in calls)
        assert len(world.requests) <= CALLS * 1.1 + RESERVE

    @pytest.mark.parametrize("chain", [["red:m", "blue:m"], ["red:m", "red:n"]], ids=" ".join)
    def test_each_endpoint_of_a_chain_is_spared(self, chain: list[str]) -> None:
        world = World({"f": chain}, behaves=dict.fromkeys(chain, DOWN))

        calls = load(world, CALLS, 0.1)

        assert all(called.error is not None for called in calls)
        for endpoint in chain:
            assert len(world.sent_to(endpoint)) <= CALLS * 1.1 + RESERVE

    def test_what_asks_to_be_left_alone_for_a_minute_is(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(C.RATE_LIMIT, 429, hint=60.0)})

        load(world, CALLS, 1.0)

        # Who comes in the last fifteen seconds waits for the end of the minute, and they all come at once.
        assert len(world.requests) <= 1 + CALLS / 60 * 16 + RESERVE


class TestDeadPrimary:
    """A chain whose first endpoint is gone, and ten callers a second."""

    @pytest.mark.parametrize(
        ("fault", "requests"),
        [(DOWN, 12), (fails(C.CONNECT), 12), (fails(C.SERVER, 500, seconds=2), 60)],
        ids=["503", "refused", "slow 500"],
    )
    def test_once_the_breaker_is_open_calls_take_as_long_as_the_fallback(
        self, fault: Reply, requests: int
    ) -> None:
        chances = random.Random(3)  # noqa: S311
        latencies: list[Reply] = [ok(chances.uniform(0.5, 3.0)) for _ in range(3000)]
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fault, "blue:m": latencies})

        calls = load(world, 3000, 0.1)

        # The time that the fallback took of each call is what the last of its attempts took.
        later = [called for called in calls if called.started > 5]
        alone = sorted(called.attempts[-1].duration.total_seconds() for called in later)
        assert p95(later) == pytest.approx(alone[int(0.95 * len(alone))], abs=0.01)
        assert all(called.receipt is not None for called in calls)
        assert len(world.sent_to("red:m")) <= requests

    @pytest.mark.parametrize("timeout", [6, 20])
    def test_if_it_hangs_too(self, timeout: int) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            f'[models."red:m"]\noptions = {{ timeout = {timeout} }}',
            behaves={"red:m": HANG, "blue:m": ok(1.0)},
            lag=0.005,
        )

        calls = load(world, 3000, 0.1)

        later = [called for called in calls if called.started > timeout + 1]
        assert p95(later) == pytest.approx(1.0)
        assert all(called.receipt is not None for called in calls)
        assert most_at_once(world, "red:m") == 1

    @pytest.mark.parametrize("timeout", [6, 50])
    def test_requests_that_were_under_way_when_it_opened_do_not_keep_it_open_for_minutes(
        self, timeout: int
    ) -> None:
        # It hangs for eight seconds; the calls that met it run into their time-outs one after the other.
        behaves: dict[str, Behaviour] = {"red:m": {0.0: HANG, 8.0: ok(1.0)}, "blue:m": ok(1.0)}
        world = World(
            {"f": ["red:m", "blue:m"]},
            f'[models."red:m"]\noptions = {{ timeout = {timeout} }}',
            behaves=behaves,
        )

        load(world, 1000, 0.1)

        opened = timeout + 1
        assert any(opened < request.started < opened + 35 for request in world.sent_to("red:m"))

    def test_a_primary_that_fails_often_is_left_alone_as_well(self) -> None:
        chances = random.Random(5)  # noqa: S311
        sometimes = [DOWN if chances.random() < 0.7 else ok(0.05) for _ in range(3000)]
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": sometimes, "blue:m": ok(1.0)})

        load(world, 3000, 0.1)

        assert len(world.sent_to("red:m")) < 100

    def test_a_primary_that_fails_now_and_then_is_not(self) -> None:
        chances = random.Random(5)  # noqa: S311
        mostly = [DOWN if chances.random() < 0.05 else ok(0.05) for _ in range(4000)]
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": mostly, "blue:m": ok(1.0)})

        calls = load(world, 3000, 0.1)

        assert sum(called.tried[-1] == "red:m" for called in calls) > 2950

    @pytest.mark.parametrize("every", [0.1, 1.0])
    def test_a_primary_that_asks_for_fewer_requests_without_a_hint_gets_fewer(self, every: float) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            behaves={"red:m": fails(C.RATE_LIMIT, 429, seconds=0.05), "blue:m": ok(1.0)},
        )

        calls = load(world, CALLS, every)

        # Thirty seconds of peace after each three requests, and some that were under way.
        assert len(world.sent_to("red:m")) <= 15 + calls[-1].ended / 30 * 10
        assert p95(calls) == pytest.approx(1.0, abs=0.1)


class TestRecovery:
    """How the end of an outage is noticed."""

    @pytest.mark.parametrize("outage", [10.0, 40.0, 100.0, 500.0])
    def test_the_first_probe_after_it_is_the_last(self, outage: float) -> None:
        behaves: dict[str, Behaviour] = {"red:m": {0.0: DOWN, outage: ok(0.5)}, "blue:m": ok(1.0)}
        world = World({"f": ["red:m", "blue:m"]}, behaves=behaves)

        calls = load(world, int(outage + 320) * 4, 0.25)

        after = [request for request in world.sent_to("red:m") if request.started >= outage]
        assert [request.is_probe for request in after].count(True) == 1
        assert after[0].is_probe
        assert after[0].started <= outage + min(300, outage + 30) + 1
        since = [called for called in calls if called.started > after[0].ended]
        assert {called.tried[0] for called in since} == {"red:m"}
        assert not any(called.receipt.degraded for called in since if called.receipt)

    def test_without_an_alternative_the_first_call_after_it_is_served(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": {0.0: DOWN, 10.0: ok(0.5)}})

        calls = load(world, 100, 0.2)

        before = [called for called in calls if called.ended < 10]
        after = [called for called in calls if called.started >= 10]
        assert all(isinstance(called.error, LLMError) for called in before)
        assert all(called.receipt is not None for called in after)
        assert p95(after) <= 1.0

    def test_a_short_outage_that_many_hurried_calls_met_is_over_soon_for_those_with_an_alternative(
        self,
    ) -> None:
        # `g` has nothing else and probes the open breaker before its time; `f` may not have to stay away for minutes.
        behaves: dict[str, Behaviour] = {"red:m": {0.0: DOWN, 3.0: ok(0.5)}, "blue:m": ok(1.0)}
        world = World({"f": ["red:m", "blue:m"], "g": "red:m"}, behaves=behaves)
        for number in range(28):
            world.start("g", at=number * 0.1)
        world.run(until=10)

        calls = load(world, 600, 0.1)

        assert any(3 < request.started < 45 for request in world.sent_to("red:m"))
        assert calls[-1].tried == ["red:m"]


class TestTwentyAtOnce:
    """Twenty callers meet a half-open breaker."""

    def meeting(self, chain: str | list[str], more: str = "", *, reply: Reply, lag: float = 0.0) -> World:
        world = World({"f": chain}, more, behaves={"red:m": reply, "blue:m": ok(1.0)}, lag=lag)
        world.open(world.circuit())
        world.pass_time(31)
        load(world, 20, 0.0)
        return world

    @pytest.mark.parametrize("seconds", [0.05, 3.0, 14.0])
    def test_one_probes_and_when_it_was_answered_all_are_served(self, seconds: float) -> None:
        world = self.meeting("red:m", reply=ok(seconds))

        assert [request.is_probe for request in world.requests] == [True] + [False] * 19
        assert all(called.receipt is not None for called in world.calls)
        assert max(called.seconds for called in world.calls) <= 2 * seconds + 0.5

    @pytest.mark.parametrize("seconds", [0.05, 3.0, 14.0])
    def test_when_the_one_probe_fails_all_waiting_calls_fail(self, seconds: float) -> None:
        world = self.meeting("red:m", reply=fails(C.SERVER, 503, seconds=seconds))

        assert len(world.requests) == 1
        assert all(isinstance(called.error, ProviderDownError) for called in world.calls)
        assert max(called.seconds for called in world.calls) <= seconds + 0.5

    def test_one_probes_and_when_it_hangs_the_others_do_not_try_in_turn(self) -> None:
        world = self.meeting("red:m", "[features.f]\noptions = { timeout = 6 }", reply=HANG, lag=0.01)

        assert len(world.requests) == 1
        assert all(called.error is not None for called in world.calls)

    @pytest.mark.parametrize("seconds", [3.0, 40.0])
    def test_with_an_alternative_the_others_do_not_wait(self, seconds: float) -> None:
        world = self.meeting(["red:m", "blue:m"], reply=ok(seconds))

        assert Counter(called.tried[-1] for called in world.calls) == {"red:m": 1, "blue:m": 19}
        assert p95(world.calls[1:]) == 1.0

    def test_a_probe_that_was_cancelled_is_followed_by_one_other(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": [fails(C.CANCELLED, seconds=1), ok(1.0)]})
        world.open(world.circuit())
        world.pass_time(31)

        calls = load(world, 20, 0.0)

        assert most_at_once(world, "red:m") == 1
        assert sum(called.receipt is not None for called in calls) == 19

    @pytest.mark.parametrize("chain", [["red:m", "blue:m"], ["red:m", "red:n", "blue:m"]])
    def test_if_all_are_open_each_is_probed_once(self, chain: list[str]) -> None:
        world = World({"f": chain}, behaves=dict.fromkeys(chain, fails(C.SERVER, 503, seconds=3)), jitter=0.5)
        for place in range(len(chain)):
            world.open(world.circuit(place=place))
        world.pass_time(1)

        calls = load(world, 20, 0.0)

        assert Counter(str(request.candidate.endpoint) for request in world.requests) == dict.fromkeys(
            chain, 1
        )
        assert all(called.error is not None for called in calls)


class TestOneUser:
    """One user's trouble is nobody else's."""

    @pytest.mark.parametrize("status", [401, 402, 403, 429, 500])
    def test_a_thousand_failures_of_one_users_key_change_nothing_for_others(self, status: int) -> None:
        category = {401: C.CREDENTIAL, 402: C.QUOTA, 403: C.CREDENTIAL, 429: C.RATE_LIMIT}.get(
            status, C.SERVER
        )
        world = World({"f": ["red:m", "red:n"]})
        bad = fails(category, status)
        world.behaves = {"red:m": bad, "red:n": bad}
        for _ in range(CALLS):
            world.call(caller=users_own("red", name="ann"))
        world.behaves = {}

        others = [world.call(caller=other) for other in (users_own("red", name="bob"), HOUSE)]

        assert [called.tried for called in others] == [["red:m"], ["red:m"]]
