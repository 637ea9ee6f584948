"""A second request goes out beside the first one that takes too long: when, where to, and what comes of both."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.fakes.simulation import HANG, OK, Reply, World, fails, ok, users_own
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallTimeoutError,
    RejectedCredentialError,
    RejectedRequestError,
)
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.routing.selector import in_order
from backend.utils.llm.state.tail_latency import CALLS_PER_HEDGE, ENOUGH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.tests.fakes.simulation import Behaviour, Called
    from backend.utils.llm.caller import Caller

C = FailureCategory
P95 = 1.0
"""How long the slowest usual answer takes, where a test does not say."""
TWO = ["red:m", "blue:m"]
SLOW = ok(10.0)


def hedging(
    behaves: Mapping[str, Behaviour] | None = None,
    chain: str | Sequence[str] = TWO,
    row: str = "",
    more: str = "",
    *,
    calls: int = CALLS_PER_HEDGE,
    known: int = ENOUGH,
    hedges: bool = True,
) -> World:
    """A world in which ``f`` hedges, and has had so many calls; so many answers of each endpoint took `P95` seconds."""
    world = World(
        {"f": chain},
        f"[features.f]\nhedge = {str(hedges).lower()}\nhouse_fallback = true\n{row}\n{more}",
        behaves=behaves,
        jitter=0.5,
    )
    tails = world.health.traffic.tail_latency
    for _ in range(calls):
        world.health.traffic.hedge_budget.record_call("f")
    for endpoint in ("red:m", "red:n", "blue:m", "green:m"):
        for _ in range(known):
            tails.recent_latencies("f", endpoint, "total").record_answer(P95)
            tails.recent_latencies("f", endpoint, "first_token").record_answer(P95 / 2)
    return world


def attempts(called: Called) -> list[tuple[str, str, bool]]:
    """Endpoint, outcome, and whether it was the hedge."""
    return [(attempt.endpoint, attempt.outcome, attempt.hedge) for attempt in called.attempts]


def in_flight(world: World) -> int:
    """The requests that somebody still counts as under way."""
    targets = world.health.traffic.targets
    return sum(load.in_flight.count(world.now) for load in targets._loads.values())


class TestWhen:
    """Only what takes longer than nearly all others do is hedged, and only one call in twenty."""

    def test_after_the_time_within_which_nineteen_of_twenty_are_answered(self) -> None:
        world = hedging({"red:m": SLOW, "blue:m": ok(0.5)})
        called = world.call()

        assert called.tried == TWO
        assert [request.started for request in world.requests] == [0.0, P95]
        assert called.seconds == P95 + 0.5

    def test_an_answer_in_time_is_not_hedged(self) -> None:
        assert hedging({"red:m": ok(0.99)}).call().tried == ["red:m"]

    def test_nothing_is_hedged_before_enough_answers_are_known(self) -> None:
        assert hedging({"red:m": SLOW}, known=ENOUGH - 1).call().tried == ["red:m"]

    def test_streams_by_their_first_token(self) -> None:
        world = hedging({"red:m": SLOW})
        world.call(needs=Needs(streams=True))

        assert [request.started for request in world.requests] == [0.0, P95 / 2]

    def test_a_feature_that_does_not_say_so_is_not_hedged(self) -> None:
        world = World({"f": TWO}, behaves={"red:m": SLOW})
        for _ in range(2 * ENOUGH):
            assert world.call().tried == ["red:m"]

        assert len(world.health.traffic.tail_latency._tails) == 0

    @pytest.mark.parametrize(("hedges", "tried"), [(True, TWO), (False, ["red:m"])])
    def test_not_even_in_a_table_with_selectors(self, *, hedges: bool, tried: list[str]) -> None:
        own = '[groups.own]\nendpoints = ["red:n"]\nselect = { by = "custom", name = "s" }'
        world = hedging({"red:m": SLOW}, chain=[*TWO, "group:own"], more=own, hedges=hedges)

        assert world.call().tried == tried

    def test_not_as_long_as_no_hedge_was_earned(self) -> None:
        world = hedging({"red:m": SLOW}, calls=CALLS_PER_HEDGE - 2)

        assert world.call().tried == ["red:m"]
        assert world.call().tried == TWO
        assert world.call().tried == ["red:m"]

    def test_the_last_one_that_was_earned_goes_to_one_call(self) -> None:
        world = hedging({"red:m": SLOW, "blue:m": SLOW})
        world.start()
        world.start()
        called = world.run()

        assert sorted(len(one.steps) for one in called) == [1, 2]

    def test_not_if_the_attempt_would_be_over_by_then(self) -> None:
        world = hedging({"red:m": HANG}, row="options = { timeout = 0.9 }\nattempts = 1")

        assert attempts(world.call()) == [("red:m", "failed", False), ("blue:m", "ok", False)]

    def test_only_the_first_request_of_a_call_is(self) -> None:
        world = hedging({"red:m": fails(C.SERVER, 503), "blue:m": SLOW}, chain=[*TWO, "green:m"])

        assert world.call().tried == ["red:m"] * 3 + ["blue:m"]

    def test_a_thousand_calls_that_are_all_slow_send_fifty_more_requests_at_most(self) -> None:
        world = World({"f": TWO}, "[features.f]\nhedge = true")
        chance = Random(5)  # noqa: S311 - a simulation
        world.behaves = {"red:m": lambda _: ok(chance.uniform(1, 2)), "blue:m": ok(0.1)}
        for calls in range(1, 1001):
            world.call()
            assert len(world.sent_to("blue:m")) <= calls / 20

        assert 20 <= len(world.sent_to("blue:m")) <= 50


class TestWhereTo:
    """Where the call would have gone next, if that may be asked now."""

    def test_to_the_next_endpoint_of_its_chain(self) -> None:
        assert hedging({"red:m": SLOW}, chain=["red:m", "green:m", "blue:m"]).call().tried == [
            "red:m",
            "green:m",
        ]

    def test_one_endpoint_alone_is_never_hedged(self) -> None:
        assert hedging({"red:m": SLOW}, chain="red:m").call().tried == ["red:m"]

    def test_not_with_another_account_of_the_same_endpoint(self) -> None:
        accounts = """
        [providers.two]
        api = "openai"
        base_url = "https://two.example/v1"
        accounts.a.api_key_env = "RED_KEY"
        accounts.b.api_key_env = "BLUE_KEY"
        """
        world = hedging({"two:m": SLOW}, chain=["two:m", "green:m"], more=accounts)
        for _ in range(ENOUGH):
            world.health.traffic.tail_latency.recent_latencies("f", "two:m", "total").record_answer(P95)

        assert world.call().tried == ["two:m", "green:m"]

    def test_what_cools_is_passed_over(self) -> None:
        world = hedging({"red:m": SLOW}, chain=["red:m", "blue:m", "green:m"])
        world.health.start_cooldown(world.circuit(place=1), 60.0, C.RATE_LIMIT)

        assert world.call().tried == ["red:m", "green:m"]

    def test_an_endpoint_that_becomes_unavailable_during_a_wait_is_passed_over(self) -> None:
        world = hedging({"red:m": SLOW}, chain=["red:m", "blue:m", "green:m"])
        world.start()
        world.run(until=0.5)
        world.open(world.circuit(place=1))
        world.run()

        assert world.calls[0].tried == ["red:m", "green:m"]

    def test_nothing_is_probed(self) -> None:
        world = hedging({"red:m": SLOW}, calls=100)
        world.open(world.circuit(place=1))
        world.now = 31.0

        assert world.call().tried == ["red:m"]
        assert world.health.find_unavailable_reason(world.circuit(place=1)) is None  # nobody probes it

    def test_what_has_no_room_is_passed_over(self) -> None:
        limit = '[models."blue:m"]\nlimits = { concurrency = 1 }'
        world = hedging(
            {"red:m": SLOW, "blue:m": SLOW}, chain=["red:m", "blue:m", "green:m"], calls=100, more=limit
        )
        world.start()
        world.start()
        first, second = world.run()

        assert (first.tried, second.tried) == (TWO, ["red:m", "green:m"])

    def test_if_nothing_may_be_asked_nothing_is_paid_and_the_first_one_goes_on(self) -> None:
        world = hedging({"red:m": SLOW})
        world.start()
        world.run(until=0.5)
        world.open(world.circuit(place=1))
        world.run()

        assert world.calls[0].tried == ["red:m"]
        assert world.calls[0].seconds == 10.0
        assert world.health.traffic.hedge_budget.can_hedge("f")

    def test_a_call_of_one_request_has_none_for_a_hedge(self) -> None:
        assert hedging({"red:m": SLOW}, row="max_attempts = 1").call().tried == ["red:m"]

    @pytest.mark.parametrize("chain", ["group:own", ["red:m", "group:own"]])
    def test_where_a_selector_chooses_it_is_not_passed_by(self, chain: str | list[str]) -> None:
        group = '[groups.own]\nendpoints = ["red:n", "blue:m"]\nselect = { by = "custom", name = "s" }\nthen = "rest"'
        rest = '[groups.rest]\nendpoints = ["green:m"]'
        world = hedging({"red:m": SLOW, "red:n": SLOW}, chain=chain, more=f"{group}\n{rest}")
        world.selectors["s"] = in_order

        assert len(world.call().tried) == 1

    def test_a_balanced_tier_gives_the_one_that_would_be_chosen_now(self) -> None:
        world = hedging(
            {"red:m": SLOW}, chain=["red:m", "blue:m", "green:m"], row='select = "least_busy"', calls=100
        )
        world.start()
        world.run(until=0.5)
        target = world.plan("f").candidates[0].traffic_key
        assert target[0] == "blue:m"
        world.health.traffic.targets.record_start(target, 10_001, 99.0)
        world.run()

        assert world.calls[0].tried == ["red:m", "green:m"]


class TestKeys:
    """It goes nowhere where the call could not."""

    @pytest.mark.parametrize(
        ("caller", "owners"),
        [
            (users_own("red"), ["user"]),
            (users_own("red", "blue"), ["user", "user"]),
            (users_own("red", policy="byok_then_house"), ["user", "house"]),
            (users_own(policy="house_only"), ["house", "house"]),
        ],
        ids=["one key", "two keys", "their key, then the house's", "the house's"],
    )
    def test_a_users_call_goes_to_the_houses_key_only_if_it_may_move_there(
        self, caller: Caller, owners: list[str]
    ) -> None:
        called = hedging({"red:m": SLOW}).call(caller=caller)

        assert [step.candidate.owner for step in called.steps] == owners

    def test_a_tier_of_callers_is_not_left(self) -> None:
        select = 'select = { by = "tier", default = "free", tiers = { free = ["red:m"], pro = ["red:m", "blue:m"] } }'
        world = hedging({"red:m": SLOW}, row=select, calls=100)

        assert world.call(
            caller=users_own(policy="house_only").model_copy(update={"tier": "free"})
        ).tried == ["red:m"]
        assert (
            world.call(caller=users_own(policy="house_only").model_copy(update={"tier": "pro"})).tried == TWO
        )


class TestOutcomes:
    """The first good answer counts, and the attempts stand in the order in which they began."""

    def test_the_hedge_answers_first(self) -> None:
        world = hedging({"red:m": SLOW, "blue:m": ok(0.5)})
        called = world.call()

        assert attempts(called) == [("red:m", "cancelled", False), ("blue:m", "ok", True)]
        assert called.receipt is not None
        assert called.receipt.answered.endpoint == "blue:m"
        assert called.receipt.degraded
        assert in_flight(world) == 0

    def test_the_first_one_answers_first(self) -> None:
        world = hedging({"red:m": ok(1.2), "blue:m": SLOW})
        called = world.call()

        assert attempts(called) == [("red:m", "ok", False), ("blue:m", "cancelled", True)]
        assert called.receipt is not None
        assert called.receipt.answered.endpoint == "red:m"
        assert not called.receipt.degraded
        assert in_flight(world) == 0

    @pytest.mark.parametrize("chain", [TWO, [*TWO, "green:m"]], ids=["two", "three"])
    @pytest.mark.parametrize(
        "category", [C.SERVER, C.RATE_LIMIT, C.CONTEXT, C.QUOTA, C.MODEL_NOT_FOUND, C.INVALID_OUTPUT]
    )
    def test_the_first_one_fails_and_the_hedge_is_waited_for_without_a_third_request(
        self, category: FailureCategory, chain: list[str]
    ) -> None:
        world = hedging({"red:m": fails(category, seconds=1.5), "blue:m": SLOW}, chain=chain)
        called = world.call()

        assert [attempt.endpoint for attempt in called.attempts] == TWO
        assert called.receipt is not None
        assert called.error is None
        assert called.seconds == P95 + 10.0
        assert called.waits == []

    @pytest.mark.parametrize(
        "category", [C.SERVER, C.CREDENTIAL, C.MODEL_NOT_FOUND, C.REJECTED, C.REFUSAL, C.BUG]
    )
    def test_the_hedge_fails_first_and_the_first_one_goes_on(self, category: FailureCategory) -> None:
        world = hedging({"red:m": ok(3.0), "blue:m": fails(category, seconds=0.1)})
        called = world.call()

        assert [(attempt.endpoint, attempt.category) for attempt in called.attempts] == [
            ("red:m", None),
            ("blue:m", category),
        ]
        assert called.receipt is not None
        assert called.error is None
        assert called.seconds == 3.0

    @pytest.mark.parametrize(
        ("category", "error"), [(C.REJECTED, RejectedRequestError), (C.REFUSAL, Exception)]
    )
    def test_a_failure_of_the_first_one_that_ends_the_call_ends_it(
        self, category: FailureCategory, error: type[Exception]
    ) -> None:
        world = hedging({"red:m": fails(category, seconds=1.5), "blue:m": SLOW})
        called = world.call()

        assert isinstance(called.error, error)
        assert called.seconds == 1.5
        assert [(attempt.endpoint, attempt.category) for attempt in called.attempts] == [
            ("red:m", category),
            ("blue:m", C.CANCELLED),
        ]
        assert in_flight(world) == 0

    def test_a_users_refused_key_ends_the_call_despite_a_hedge(self) -> None:
        world = hedging({"red:m": fails(C.CREDENTIAL, 401, seconds=1.5), "blue:m": SLOW})
        called = world.call(caller=users_own("red", policy="byok_then_house"))

        assert isinstance(called.error, RejectedCredentialError)
        assert called.error.http_status == 403

    def test_both_fail_and_the_call_goes_on_with_what_is_left(self) -> None:
        gone = C.MODEL_NOT_FOUND
        world = hedging(
            {"red:m": fails(gone, seconds=1.5), "blue:m": fails(gone, seconds=1.5)}, chain=[*TWO, "green:m"]
        )
        called = world.call()

        assert called.tried == [*TWO, "green:m"]
        assert world.requests[2].started == 2.5

    def test_both_fail_and_each_may_be_tried_again_the_last_one_first(self) -> None:
        down = fails(C.SERVER, 503, seconds=1.5)
        called = hedging({"red:m": [down, OK], "blue:m": [down, down, down]}).call()

        assert called.tried == ["red:m", "blue:m", "blue:m", "blue:m", "red:m"]
        assert called.receipt is not None

    def test_both_fail_and_nothing_is_left(self) -> None:
        gone = fails(C.MODEL_NOT_FOUND, seconds=1.5)
        called = hedging({"red:m": gone, "blue:m": gone}).call()

        assert isinstance(called.error, AllAttemptsFailedError)
        assert [attempt.endpoint for attempt in called.error.attempts] == TWO

    def test_both_count_for_the_most_requests_of_a_call(self) -> None:
        down = fails(C.SERVER, 503, seconds=1.5)
        world = hedging({"red:m": down, "blue:m": down}, chain=[*TWO, "green:m"], row="max_attempts = 2")
        called = world.call()

        assert called.tried == TWO
        assert isinstance(called.error, AllAttemptsFailedError)

    @pytest.mark.parametrize("first", ["red:m", "blue:m"])
    def test_both_count_for_the_most_requests_to_an_endpoint(self, first: str) -> None:
        second = next(one for one in TWO if one != first)
        down = fails(C.SERVER, 503, seconds=1.5)
        world = hedging({first: down, second: down}, chain=[first, second])
        called = world.call()

        assert (called.tried.count(first), called.tried.count(second)) == (3, 3)

    def test_a_window_that_is_too_short_rules_out_the_shorter_ones_also_when_the_hedge_said_so(self) -> None:
        chain = ["red:large", "blue:small", "red:small", "blue:large"]
        sizes = '[models."red:large"]\ncontext_window = 64000\nmax_output = 1000'
        world = hedging(
            {"red:large": fails(C.MODEL_NOT_FOUND, seconds=3.0), "blue:small": fails(C.CONTEXT, seconds=0.1)},
            chain=chain,
            more=sizes,
        )
        for _ in range(ENOUGH):
            world.health.traffic.tail_latency.recent_latencies("f", "red:large", "total").record_answer(P95)

        assert world.call().tried == ["red:large", "blue:small", "blue:large"]

    def test_a_call_whose_time_is_up_ends_with_both(self) -> None:
        world = hedging({"red:m": HANG, "blue:m": HANG}, row="deadline = 6\nattempts = 1")
        called = world.call()

        assert isinstance(called.error, CallTimeoutError | AllAttemptsFailedError)
        assert called.seconds <= 6.0
        assert len(called.attempts) == 2


class TestObservers:
    """What others learn of both."""

    def test_a_loser_teaches_health_nothing(self) -> None:
        world = hedging({"red:m": SLOW}, calls=100)
        for _ in range(5):
            world.call()

        assert world.health.find_unavailable_reason(world.circuit()) is None
        assert len(world.health) == 0
        assert (
            world.health.traffic.targets.mean_latency(world.plan("f").candidates[0].traffic_key, "total")
            is None
        )

    def test_a_hedge_that_fails_counts_as_any_attempt(self) -> None:
        world = hedging({"red:m": ok(3.0), "blue:m": fails(C.RATE_LIMIT, 429, hint=60.0)})
        world.call()

        rest = world.health.find_unavailable_reason(world.circuit(place=1))
        assert rest is not None
        assert rest.kind == "cooling"

    def test_a_probe_that_loses_gives_its_place_back(self) -> None:
        world = hedging({"red:m": SLOW}, calls=100)
        world.open(world.circuit())
        world.now = 31.0
        called = world.call()

        assert called.tried == TWO
        assert called.steps[0].probe
        assert world.health.find_unavailable_reason(world.circuit()) is None
        assert world.call().steps[0].probe

    def test_who_lost_because_it_was_slow_counts_as_slow(self) -> None:
        world = hedging({"red:m": SLOW, "blue:m": ok(0.5)})
        world.call()

        tails = world.health.traffic.tail_latency
        assert len(tails.recent_latencies("f", "red:m", "total")) == ENOUGH + 1
        assert len(tails.recent_latencies("f", "blue:m", "total")) == ENOUGH + 1

    def test_a_hedge_that_lost_at_once_is_not_counted(self) -> None:
        world = hedging({"red:m": ok(1.01), "blue:m": SLOW})
        world.call()

        assert len(world.health.traffic.tail_latency.recent_latencies("f", "blue:m", "total")) == ENOUGH

    @pytest.mark.parametrize("category", [C.SERVER, C.RATE_LIMIT, C.CONNECT])
    def test_a_failure_is_no_time(self, category: FailureCategory) -> None:
        world = hedging({"red:m": fails(category)}, calls=0)
        world.call()

        assert len(world.health.traffic.tail_latency.recent_latencies("f", "red:m", "total")) == ENOUGH

    def test_what_counts_for_limits_is_given_back(self) -> None:
        limits = (
            '[models."red:m"]\nlimits = { concurrency = 1 }\n[models."blue:m"]\nlimits = { concurrency = 1 }'
        )
        world = hedging({"red:m": SLOW}, more=limits, calls=100)
        for _ in range(3):
            assert world.call().tried == TWO


class TestExplained:
    """`explain` says whether, and after how long."""

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({}, "hedged after 1 s"),
            ({"known": 3}, "hedges once 20 answers are known, now 3"),
            ({"chain": "red:m"}, "not hedged: no second endpoint may serve"),
            ({"row": "max_attempts = 1"}, "not hedged: a call may send one request only"),
            (
                {"row": 'select = { by = "custom", name = "s" }'},
                "not hedged: a selector of the application chooses",
            ),
        ],
    )
    def test_in_words(self, settings: dict[str, Any], says: str) -> None:
        assert str(hedging(**settings).plan("f")).splitlines()[0].endswith(f"  {says}")

    def test_as_json(self) -> None:
        assert hedging(known=30).plan("f").as_dict()["hedge"] == {"after_s": 1.0, "known": 30, "never": None}
        assert hedging(known=3).plan("f").as_dict()["hedge"] == {"after_s": None, "known": 3, "never": None}

    def test_of_a_feature_that_does_not_hedge_nothing(self) -> None:
        route = World({"f": TWO}).plan("f")

        assert route.hedge is None
        assert "hedge" not in str(route)
        assert route.as_dict()["hedge"] is None
        assert route.as_dict()["layers"]["hedge"] == "default"


def slow_now_and_then(share: float, seed: int) -> Behaviour:
    """Lognormal around half a second; of that share of the answers each takes 8 s more."""
    chance = Random(seed)  # noqa: S311 - a simulation

    def behave(_: float) -> Reply:
        stuck = 8.0 if chance.random() < share else 0.0
        return ok(chance.lognormvariate(-0.7, 0.3) + stuck)

    return behave


def took(row: str, share: float, calls: int = 4000) -> tuple[list[float], int]:
    """What each call took, the quickest first, and how many requests all of them sent."""
    world = World({"f": TWO}, f"[features.f]\n{row}")
    world.behaves = {"red:m": slow_now_and_then(share, 1), "blue:m": slow_now_and_then(share, 2)}
    for number in range(calls):
        world.start(at=number * 20.0)
    return sorted(called.seconds for called in world.run()), len(world.requests)


@pytest.mark.parametrize(("share", "percentile"), [(0.01, 99), (0.03, 99), (0.05, 97)])
def test_it_cuts_the_tail_of_endpoints_that_are_slow_now_and_then(share: float, percentile: int) -> None:
    without, requests = took("", share)
    hedged, more = took("hedge = true", share)
    place = len(without) * percentile // 100

    assert without[place] > 8.0
    assert hedged[place] < without[place] / 3
    assert hedged[len(hedged) // 2] == pytest.approx(without[len(without) // 2], rel=0.05)
    assert more <= 1.05 * requests
