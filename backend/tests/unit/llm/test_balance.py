"""Many calls over several endpoints and accounts: who gets how many, who follows whom, who waits, who is refused."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.simulation import (
    HANG,
    KEYS,
    Behaviour,
    Called,
    World,
    fails,
    ok,
    settle,
    users_own,
)
from backend.tests.fakes.threads import hammer
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.errors import RateLimitedError
from backend.utils.llm.execution.steps import Try, Wait
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.caller import Caller

C = FailureCategory
RED, BLUE = "red:m", "blue:m"
FIVE = [RED, BLUE, "green:m", "red:n", "blue:n"]
POOL = "pool:m"
LATENCY = '[features.f]\nselect = "latency"'


def pool(one: str = "", two: str = "") -> str:
    """A provider with two accounts, and what the table says about each."""
    return (
        '[providers.pool]\napi = "openai"\nbase_url = "https://pool.example/v1"\n'
        f'[providers.pool.accounts.one]\napi_key_env = "ONE_KEY"\n{one}\n'
        f'[providers.pool.accounts.two]\napi_key_env = "TWO_KEY"\n{two}\n'
    )


def pooled(select: str, one: str = "", two: str = "", more: str = "") -> World:
    """A feature on both accounts."""
    keys = {**KEYS, "ONE_KEY": "house-one", "TWO_KEY": "house-two"}
    rows = f"[features.f]\nselect = {select}\n{more}\n{pool(one, two)}"
    return World({"f": POOL}, rows, environ=keys)


def load(world: World, calls: int, every: float, caller: Caller = HOUSE) -> list[Called]:
    """So many calls, one after the other at this distance; 0 is all at once."""
    for number in range(calls):
        world.start(caller=caller, at=world.now + number * every)
    return world.run()


def keep_busy(world: World, callers: int, until: float) -> None:
    """So many callers, each of whom calls again as soon as they have their answer."""

    def calls() -> Iterator[float]:
        while world.now < until:
            yield from world._course("f", HOUSE, None)

    for number in range(callers):
        world._later(number * 0.001, calls())
    world.run()


def asked(world: World, since: float = 0.0, until: float = math.inf) -> Counter[str]:
    """How many requests each endpoint got, and each account by its name."""
    sent = (request.candidate for request in world.requests if since <= request.started < until)
    return Counter(
        (candidate.account.name if candidate.account else None) or str(candidate.endpoint)
        for candidate in sent
    )


def share(counted: Counter[str], name: str) -> float:
    return counted[name] / counted.total()


def noisy(seconds: Callable[[float], float], sigma: float, seed: int) -> Behaviour:
    """Answers that take about so long, by the clock."""
    chances = random.Random(seed)  # noqa: S311
    return lambda now: ok(seconds(now) * math.exp(chances.gauss(0.0, sigma)))


class TestLatency:
    """The quicker one serves, and it is noticed when that changes."""

    @pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5], ids=["steady", "noisy", "noisier"])
    @pytest.mark.parametrize("rate", [2, 10, 50])
    def test_within_five_seconds_nine_of_ten_follow_two_that_change_places_again_and_again(
        self, rate: int, sigma: float
    ) -> None:
        def quick_in(turn: int) -> Callable[[float], float]:
            return lambda now: 0.02 if int(now / 20) % 2 == turn else 0.3

        behaves = {one: noisy(quick_in(turn), sigma, turn) for turn, one in enumerate([RED, BLUE])}
        world = World({"f": [RED, BLUE]}, LATENCY, behaves=behaves)

        load(world, 80 * rate, 1 / rate)

        for turn in range(4):
            settled = asked(world, since=turn * 20 + 5, until=(turn + 1) * 20)
            assert share(settled, [RED, BLUE][turn % 2]) >= 0.9

    @pytest.mark.parametrize("rate", [10, 50])
    def test_the_quickest_of_five_is_found_and_followed(self, rate: int) -> None:
        behaves: dict[str, Behaviour] = dict.fromkeys(FIVE, ok(0.3))
        behaves |= {RED: {0.0: ok(0.02), 20.0: ok(0.3)}, BLUE: {0.0: ok(0.3), 20.0: ok(0.02)}}
        world = World({"f": FIVE}, LATENCY, behaves=behaves)

        load(world, 40 * rate, 1 / rate)

        assert share(asked(world, since=5, until=20), RED) >= 0.9
        assert share(asked(world, since=25), BLUE) >= 0.9

    @pytest.mark.parametrize("rate", [2, 10, 50])
    def test_one_whose_first_answer_took_ten_times_as_long_is_tried_again_and_wins(self, rate: int) -> None:
        behaves: dict[str, Behaviour] = {RED: [ok(0.2), ok(0.02)], BLUE: ok(0.05)}
        world = World({"f": [RED, BLUE]}, LATENCY, behaves=behaves)

        load(world, 40 * rate, 1 / rate)

        assert share(asked(world, since=12), RED) >= 0.9

    @pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("names", [FIVE[:2], FIVE], ids=["two", "five"])
    def test_of_equal_ones_none_gets_more_than_its_share_of_a_hundred_calls_at_once(
        self, names: list[str], sigma: float
    ) -> None:
        behaves = {one: noisy(lambda _: 0.1, sigma, seed) for seed, one in enumerate(names)}
        world = World({"f": names}, LATENCY, behaves=behaves)

        load(world, 100, 0.0)

        assert max(asked(world).values()) <= 1.4 * 100 / len(names)

    @pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("names", [FIVE[:2], FIVE], ids=["two", "five"])
    def test_of_equal_ones_none_gets_more_than_its_share_of_a_hundred_always_in_flight(
        self, names: list[str], sigma: float
    ) -> None:
        behaves = {one: noisy(lambda _: 0.1, sigma, seed) for seed, one in enumerate(names)}
        world = World({"f": names}, LATENCY, behaves=behaves)

        keep_busy(world, callers=100, until=5)

        for second in range(5):
            counted = asked(world, since=second, until=second + 1)
            assert max(counted.values()) <= min(0.7, 2 / len(names)) * counted.total()

    @pytest.mark.parametrize("answer", [0.005, 0.02, 0.1], ids="answers in {} s".format)
    @pytest.mark.parametrize("rate", [2, 10, 50])
    def test_one_that_fails_fast_half_of_the_time_does_not_look_fast(self, rate: int, answer: float) -> None:
        """Nine failures in twenty: its breaker stays closed."""
        failure = fails(C.SERVER, 503, seconds=0.005)
        moods = cycle([ok(answer), *[failure, ok(answer)] * 9, ok(answer)])
        world = World({"f": [RED, BLUE]}, LATENCY, behaves={RED: lambda _: next(moods), BLUE: ok(0.1)})

        calls = load(world, max(200, 40 * rate), 1 / rate)

        assert not any(request.is_probe for request in world.requests)
        assert all(called.receipt for called in calls)
        assert share(asked(world), RED) <= 0.1

    def test_once_it_is_well_it_gets_its_share_again(self) -> None:
        sick = cycle([fails(C.SERVER, 503), ok(0.05)])
        behaves: dict[str, Behaviour] = {
            RED: lambda now: next(sick) if now < 10 else ok(0.05),
            BLUE: ok(0.1),
        }
        world = World({"f": [RED, BLUE]}, LATENCY, behaves=behaves)

        load(world, 600, 0.1)

        assert share(asked(world, since=40), RED) >= 0.9

    def test_short_answers_are_preferred_to_long_ones(self) -> None:
        behaves: dict[str, Behaviour] = {RED: ok(0.05), BLUE: ok(0.5)}
        world = World({"f": [BLUE, RED]}, LATENCY, behaves=behaves)

        load(world, 300, 0.1)

        assert share(asked(world), RED) >= 0.9

    def test_streams_are_timed_to_their_first_token_and_whole_answers_to_their_end(self) -> None:
        world = World({"f": [RED, BLUE]}, LATENCY, behaves={RED: ok(0.9), BLUE: ok(0.3)})
        world.first_tokens = {RED: 0.05, BLUE: 0.25}
        for number in range(100):
            world.start(needs=Needs(streams=True), at=number * 2.0)
            world.start(needs=Needs(streams=False), at=number * 2.0 + 1)

        calls = world.run()

        streams = Counter(called.tried[0] for called in calls if called.route.needs.streams)
        wholes = Counter(called.tried[0] for called in calls if not called.route.needs.streams)
        assert share(streams, RED) >= 0.75
        assert share(wholes, BLUE) >= 0.75

    def test_one_that_hangs_is_left_before_its_time_is_up(self) -> None:
        behaves: dict[str, Behaviour] = {RED: {0.0: ok(0.1), 10.0: HANG}, BLUE: ok(0.15)}
        world = World({"f": [RED, BLUE]}, LATENCY, behaves=behaves)

        load(world, 300, 0.1)

        assert asked(world, since=10)[RED] <= 20


class TestWeights:
    """As often as the weights say, exactly."""

    def test_a_thousand_calls_at_three_to_one(self) -> None:
        row = f'[features.f]\nselect = {{ by = "weighted", weights = {{ "{RED}" = 3 }} }}'
        world = World({"f": [RED, BLUE]}, row)

        load(world, 1000, 0.0)

        assert asked(world) == {RED: 750, BLUE: 250}

    def test_an_endpoint_s_weight_is_shared_by_its_accounts(self) -> None:
        keys = {**KEYS, "ONE_KEY": "house-one", "TWO_KEY": "house-two"}
        row = f'[features.f]\nselect = {{ by = "weighted", weights = {{ "{POOL}" = 3 }} }}\n{pool(two="weight = 2")}'
        world = World({"f": [POOL, BLUE]}, row, environ=keys)

        load(world, 1000, 0.0)

        assert asked(world) == {"one": 250, "two": 500, BLUE: 250}

    def test_one_that_was_away_does_not_catch_up(self) -> None:
        world = World({"f": [RED, BLUE]}, '[features.f]\nselect = "weighted"')
        world.health.start_cooldown(world.circuit(), 60.0, C.MODEL_NOT_FOUND)
        load(world, 100, 0.5)
        world.pass_time(30)

        load(world, 10, 0.5)

        assert asked(world, since=60) == {RED: 5, BLUE: 5}


class TestLeastUsed:
    """In turn, whatever it was that they were used for."""

    def test_calls_take_turns(self) -> None:
        world = pooled('"least_used"')

        load(world, 3, 1.0)

        assert [request.candidate.display_name for request in world.requests] == [
            f"{POOL} (one)",
            f"{POOL} (two)",
            f"{POOL} (one)",
        ]

    @pytest.mark.parametrize("every", [0.0, 0.01, 30.0])
    def test_a_thousand_are_shared_in_halves(self, every: float) -> None:
        world = pooled('"least_used"')

        load(world, 1000, every)

        assert asked(world) == {"one": 500, "two": 500}

    def test_a_thousand_are_shared_by_the_weights_of_the_accounts(self) -> None:
        world = pooled('"least_used"', "weight = 3")

        load(world, 1000, 0.01)

        assert share(asked(world), "one") == pytest.approx(0.75, abs=0.005)

    @pytest.mark.parametrize("select", ["least_used", "least_busy"])
    def test_one_that_comes_back_is_not_flooded(self, select: str) -> None:
        world = World({"f": [RED, BLUE]}, f'[features.f]\nselect = "{select}"')
        load(world, 100, 0.1)
        world.health.start_cooldown(world.circuit(), 60.0, C.MODEL_NOT_FOUND)
        load(world, 600, 0.1)
        world.pass_time(1.0)

        back = world.now
        load(world, 100, 0.1)

        assert asked(world, since=back)[RED] in {50, 51}


class TestLeastBusy:
    """The one with the fewest requests under way."""

    def test_a_hundred_at_once_are_shared_in_halves(self) -> None:
        world = pooled('"least_busy"')
        world.behaves[POOL] = ok(1.0)

        load(world, 100, 0.0)

        assert asked(world) == {"one": 50, "two": 50}

    def test_one_that_hangs_is_avoided(self) -> None:
        world = World(
            {"f": [RED, BLUE]}, '[features.f]\nselect = "least_busy"', behaves={RED: HANG, BLUE: ok(0.1)}
        )

        load(world, 100, 1.0)

        assert asked(world, until=50)[RED] == 1

    def test_one_that_fails_fast_is_no_magnet(self) -> None:
        failure = fails(C.SERVER, 503, seconds=0.005)
        moods = cycle([ok(0.005), *[failure, ok(0.005)] * 9, ok(0.005)])
        world = World(
            {"f": [RED, BLUE]},
            '[features.f]\nselect = "least_busy"',
            behaves={RED: lambda _: next(moods), BLUE: ok(1.0)},
        )

        load(world, 1000, 0.1)

        assert share(asked(world), RED) <= 0.2


class TestQuota:
    """What is left of a day's quota is used up, and not more."""

    def test_ten_at_once_on_an_account_with_room_for_three(self) -> None:
        world = pooled('"quota"', 'limits = { requests = "3/day" }')

        calls = load(world, 10, 0.0)

        assert asked(world) == {"one": 3, "two": 7}
        assert all(called.receipt for called in calls)

    def test_the_one_that_begins_anew_soonest_is_used_first(self) -> None:
        world = pooled('"quota"', 'limits = { requests = "5/month" }', 'limits = { requests = "5/day" }')

        load(world, 6, 1.0)

        assert asked(world) == {"two": 5, "one": 1}

    def test_what_a_request_may_use_is_set_aside_and_what_it_did_not_use_is_given_back(self) -> None:
        limits = 'limits = { tokens = "100/day" }'
        world = pooled('"quota"', limits, limits)
        world.behaves[POOL], world.tokens[POOL] = ok(1.0), 30
        for _ in range(3):
            world.start(needs=Needs(tokens=60))

        calls = world.run()
        assert [called.started + sum(called.waits) for called in calls] == pytest.approx(
            [0.0, 0.0, 1.0], abs=0.3
        )
        assert all(called.receipt for called in calls)

    def test_what_was_set_aside_and_used_is_not_given_back(self) -> None:
        limits = 'limits = { tokens = "100/day" }'
        world = pooled('"quota"', limits, limits)
        world.behaves[POOL], world.tokens[POOL] = ok(1.0), 60
        for _ in range(3):
            world.start(needs=Needs(tokens=60))

        calls = world.run()
        assert [called.receipt is not None for called in calls] == [True, True, False]
        assert asked(world) == {"one": 1, "two": 1}


class TestLinesOfSeveralLimits:
    """A call may need room in several places at once."""

    def test_one_queue_does_not_hold_up_another_for_ever(self) -> None:
        world = World(
            {"f": "red:m", "g": "red:m"},
            '[features.f]\nlimits = { concurrency = 2 }\n[models."red:m"]\nlimits = { concurrency = 4 }',
            behaves={"red:m": ok(0.2)},
        )
        for number in range(150):
            world.start("f", at=number * 0.01)
            world.start("g", at=number * 0.01)

        calls = world.run()

        assert all(called.receipt for called in calls)
        assert world.now <= 2 * 150 * 0.2 / 2


TABLES = {
    "account": "providers.pool.accounts.one",
    "key": "providers.red",
    "endpoint": f'models."{RED}"',
    "feature": "features.f",
}


def limited(scope: str, limits: str, feature: str = "", reply: Behaviour | None = None) -> World:
    """A feature on one endpoint, with limits for it, for its key, for one of its accounts or for the feature."""
    chain = POOL if scope == "account" else RED
    rows = f"[features.f]\n{feature}\n{pool()}[{TABLES[scope]}.limits]\n{limits}"
    behaves = {} if reply is None else {chain: reply}
    return World({"f": chain}, rows, behaves=behaves, environ={**KEYS, "ONE_KEY": "house-one"})


def most_at_once(world: World) -> int:
    """The most requests that were under way at the same time."""
    edges = [edge for request in world.requests for edge in ((request.started, 1), (request.ended, -1))]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


@pytest.mark.parametrize("scope", TABLES)
class TestLimits:
    """Of requests, of tokens, of what is under way; for accounts, keys, endpoints and features."""

    @pytest.mark.parametrize(
        "limits", ['requests = "3/minute"', 'tokens = "350/minute"'], ids=["requests", "tokens"]
    )
    def test_what_has_no_room_within_its_deadline_is_refused_as_soon_as_that_is_known(
        self, scope: str, limits: str
    ) -> None:
        world = limited(scope, limits, "deadline = 20")
        for _ in range(10):
            world.start(needs=Needs(tokens=100))

        calls = world.run()

        refused = [called for called in calls if called.error]
        assert len(world.requests) == 3
        assert len(refused) == 7
        for called in refused:
            assert isinstance(called.error, RateLimitedError)
            assert called.error.retry_after == pytest.approx(60 - called.ended)
            assert called.seconds <= 1.0
            assert not called.steps

    @pytest.mark.parametrize(
        "limits", ['requests = "3/minute"', 'tokens = "350/minute"'], ids=["requests", "tokens"]
    )
    def test_what_has_is_served_then_in_the_order_in_which_it_came(self, scope: str, limits: str) -> None:
        world = limited(scope, limits, "deadline = 200")
        for number in range(8):
            world.start(needs=Needs(tokens=100), at=number * 0.1)

        calls = world.run()

        starts = [called.started + sum(called.waits) for called in calls]
        assert all(called.receipt for called in calls)
        assert starts == sorted(starts)
        assert all(asked(world, since=minute, until=minute + 60).total() <= 3 for minute in (0, 60, 120))

    def test_no_more_are_under_way_than_may_be(self, scope: str) -> None:
        world = limited(scope, "concurrency = 3", reply=ok(1.0))

        calls = load(world, 30, 0.0)

        assert most_at_once(world) == 3
        assert all(called.receipt for called in calls)
        assert world.now <= 15

    def test_who_waits_for_room_is_served_before_those_who_come_later(self, scope: str) -> None:
        world = limited(scope, "concurrency = 1", reply=ok(1.0))

        calls = load(world, 20, 0.3)

        starts = [called.started + sum(called.waits) for called in calls]
        assert starts == sorted(starts)

    def test_a_call_without_a_place_in_time_fails_without_a_guessed_retry_after(self, scope: str) -> None:
        world = limited(scope, "concurrency = 1", "deadline = 3.53", reply=ok(1.0))

        calls = load(world, 10, 0.0)

        refused = [called for called in calls if not called.steps]
        assert len(refused) == 6
        for called in refused:
            assert isinstance(called.error, RateLimitedError)
            assert called.error.retry_after is None

    def test_what_is_lost_counts_no_longer_once_its_time_is_up(self, scope: str) -> None:
        world = limited(scope, "concurrency = 1", "deadline = 30")
        assert isinstance(world.dispatch().next_step(), Try)

        called = world.call()
        assert isinstance(called.error, RateLimitedError)
        world.pass_time(10)
        assert world.call().receipt is not None


class TestLimitsOfUsers:
    """Each key that a user brings is held to its own."""

    def test_each_has_its_own_room(self) -> None:
        rows = '[features.f]\ndeadline = 10\n[providers.red.user_limits]\nrequests = "2/minute"'
        world = World({"f": RED}, rows)

        ann = load(world, 3, 0.0, users_own("red", name="ann"))
        bob = load(world, 3, 0.0, users_own("red", name="bob"))[3:]
        house = load(world, 3, 0.0)[6:]

        assert [bool(called.receipt) for called in (*ann[:3], *bob)] == [True, True, False] * 2
        assert [bool(called.receipt) for called in house] == [True] * 3

    def test_the_house_s_limits_do_not_hold_for_them(self) -> None:
        world = World(
            {"f": RED}, '[features.f]\ndeadline = 10\n[providers.red.limits]\nrequests = "1/minute"'
        )

        calls = load(world, 3, 0.0, users_own("red"))

        assert all(called.receipt for called in calls)


class TestLines:
    """Room that comes is used, and time that passed unnoticed does not change what is told."""

    def test_room_does_not_stay_empty_while_somebody_waits(self) -> None:
        world = limited("endpoint", "concurrency = 10", reply=ok(1.0))

        load(world, 100, 0.0)

        assert world.now <= 10 * 1.3

    def test_a_slumber_that_lasted_too_long_is_no_time_out_of_the_provider(self) -> None:
        world = limited("endpoint", "concurrency = 1", "deadline = 5")
        assert isinstance(world.dispatch().next_step(), Try)
        waiting = world.dispatch()
        assert isinstance(waiting.next_step(), Wait)
        world.pass_time(4.99)

        with pytest.raises(RateLimitedError):
            waiting.next_step()


@pytest.mark.usefixtures("_hectic")
class TestThreads:
    """Real ones: whoever chooses and whoever is chosen are one step."""

    def test_no_more_are_under_way_than_may_be(self) -> None:
        world = limited("endpoint", "concurrency = 3")
        in_flight: list[object] = []
        seen: list[int] = []

        def work(_: int) -> None:
            for _ in range(20):
                dispatch = world.dispatch()
                while not isinstance(step := dispatch.next_step(), Try):
                    pass
                in_flight.append(step)
                seen.append(len(in_flight))
                in_flight.remove(step)
                settle(dispatch, step)

        hammer(work)

        assert len(seen) == 160
        assert max(seen) <= 3

    def test_weights_are_exact(self) -> None:
        row = f'[features.f]\nselect = {{ by = "weighted", weights = {{ "{RED}" = 3 }} }}'
        world = World({"f": [RED, BLUE]}, row)
        chosen: list[str] = []

        def work(_: int) -> None:
            for _ in range(125):
                dispatch = world.dispatch()
                step = dispatch.next_step()
                assert isinstance(step, Try)
                chosen.append(str(step.candidate.endpoint))
                settle(dispatch, step)

        hammer(work)

        assert Counter(chosen) == {RED: 750, BLUE: 250}
