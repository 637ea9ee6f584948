"""The course of one call, without any I/O: what is tried, in which order, after which wait, and what others learn of it."""

from __future__ import annotations

import pytest

from backend.tests.fakes.simulation import (
    HANG,
    OK,
    Behaviour,
    World,
    fails,
    ok,
    settle,
    users_own,
)
from backend.utils.llm.caller import HOUSE
from backend.utils.llm.errors import (
    CallTimeoutError,
    MissingCredentialError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
)
from backend.utils.llm.execution.loop import Dispatch
from backend.utils.llm.execution.steps import Try, Wait
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.health import HealthTracker, UnavailableReason

C = FailureCategory


HOUSE_MAY = "[features.f]\nhouse_fallback = true"


DOWN = fails(C.SERVER, 503)


GUESSED = UnavailableReason(30, C.RATE_LIMIT, "cooling", is_guess=True)


class TestOrder:
    """What is tried when, if nothing rests."""

    def test_the_first_choice_answers_and_nothing_else_is_asked(self) -> None:
        called = World({"f": ["red:m", "blue:m"]}).call()

        assert called.tried == ["red:m"]
        assert called.receipt is not None
        assert not called.receipt.degraded

    def test_each_endpoint_has_its_tries_before_the_next(self) -> None:
        chain = ["red:m", "blue:m", "green:m"]
        world = World({"f": chain}, behaves=dict.fromkeys(chain, DOWN))

        assert world.call().tried == ["red:m"] * 3 + ["blue:m"] * 3 + ["green:m"] * 3

    def test_every_member_of_a_group_comes_before_the_group_that_takes_over(self) -> None:
        groups = """
[groups.first]
endpoints = ["red:m", "blue:m"]
then = "second"
[groups.second]
endpoints = ["green:m", "red:n"]
"""
        gone = fails(C.MODEL_NOT_FOUND, 404)
        world = World({"f": "group:first"}, groups, behaves={"red:m": gone, "blue:m": gone, "green:m": gone})

        assert world.call().tried == ["red:m", "blue:m", "green:m", "red:n"]

    def test_the_callers_own_keys_come_before_the_houses(self) -> None:
        gone = fails(C.MODEL_NOT_FOUND, 404)
        world = World({"f": ["red:m", "blue:m"]}, HOUSE_MAY, behaves={"red:m": gone, "blue:m": gone})

        called = world.call(caller=users_own("blue", policy="byok_then_house"))

        assert [(str(step.candidate.endpoint), step.candidate.owner) for step in called.steps] == [
            ("blue:m", "user"),
            ("red:m", "house"),
            ("blue:m", "house"),
        ]

    def test_another_answer_than_the_first_choices_is_degraded(self) -> None:
        called = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": DOWN}).call()

        assert called.receipt is not None
        assert called.receipt.degraded
        assert [attempt.endpoint for attempt in called.receipt.attempts] == called.tried

    def test_an_answer_is_degraded_when_the_first_choice_is_only_cooling_down(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        world.open(world.circuit())

        called = world.call()

        assert called.tried == ["blue:m"]
        assert called.receipt is not None
        assert called.receipt.degraded

    def test_an_answer_of_the_next_group_is_degraded_though_each_spreads_its_calls(self) -> None:
        groups = """
[groups.first]
endpoints = ["red:m", "blue:m"]
select = "weighted"
then = "second"
[groups.second]
endpoints = ["green:m", "red:n"]
select = "weighted"
"""
        gone = fails(C.MODEL_NOT_FOUND, 404)
        called = World({"f": "group:first"}, groups, behaves={"red:m": gone, "blue:m": gone}).call()

        assert called.tried[-1] == "green:m"
        assert called.receipt is not None
        assert called.receipt.degraded

    def test_an_endpoint_whose_share_of_the_deadline_is_over_gets_another_when_it_is_its_turn_again(
        self,
    ) -> None:
        groups = """
[groups.first]
endpoints = ["red:m", "blue:m"]
select = "weighted"
then = "second"
[groups.second]
endpoints = ["green:m"]
[features.f]
deadline = 60
"""
        slow = fails(C.SERVER, 503, seconds=1)
        world = World({"f": "group:first"}, groups, behaves={"red:m": slow, "blue:m": HANG}, jitter=0.0)

        assert world.call().tried == ["red:m", "blue:m", "red:m", "red:m", "green:m"]

    def test_what_is_left_alone_for_longer_than_the_deadline_is_not_waited_for(self) -> None:
        world = World({"f": "red:m"}, "[features.f]\ndeadline = 5")
        world.health.start_cooldown(world.circuit(), 10, C.RATE_LIMIT)

        assert world.plan("f").candidates == ()

    def test_a_route_without_candidates_is_an_error_before_anything_is_sent(self) -> None:
        with pytest.raises(MissingCredentialError, match="RED_KEY"):
            World({"f": "red:m"}, environ={}).dispatch()


class TestWaits:
    """How long the same endpoint is left in peace before it is asked again."""

    def test_without_a_hint_waits_have_full_jitter_below_a_bound_that_doubles(self) -> None:
        world = World({"f": "red:m"}, "[features.f]\nattempts = 4", behaves={"red:m": DOWN}, jitter=0.5)

        # The policy of the category, three tries, is the narrower limit.
        assert world.call().waits == [0.25, 0.5]

    def test_a_failed_connection_is_tried_again_at_once_and_then_with_jitter(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(C.CONNECT)}, jitter=0.5)

        called = world.call()

        assert len(called.steps) == 3
        assert called.waits == [0.5]

    def test_a_repair_does_not_wait(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": [fails(C.INVALID_OUTPUT), OK]}).call()

        assert called.receipt is not None
        assert called.waits == []

    @pytest.mark.parametrize("category", [C.RATE_LIMIT, C.SERVER, C.CONNECT])
    def test_a_hint_of_two_seconds_is_waited_exactly(self, category: FailureCategory) -> None:
        behaves = {"red:m": [fails(category, hint=2.0), OK]}

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert called.tried == ["red:m", "red:m"]
        assert called.waits == [2.0]

    @pytest.mark.parametrize(("hint", "next_one"), [(15.0, "red:m"), (15.001, "blue:m")])
    def test_fifteen_seconds_are_the_most(self, hint: float, next_one: str) -> None:
        behaves = {"red:m": [fails(C.RATE_LIMIT, 429, hint=hint), OK]}

        assert World({"f": ["red:m", "blue:m"]}, behaves=behaves).call().tried == ["red:m", next_one]

    def test_a_hint_of_a_minute_moves_on_at_once_and_the_endpoint_is_left_alone_until_then(self) -> None:
        behaves = {"red:m": [fails(C.RATE_LIMIT, 429, hint=60.0), OK]}
        world = World({"f": ["red:m", "blue:m"]}, behaves=behaves)

        first = world.call()
        world.pass_time(59.9)
        before = world.call()
        world.pass_time(0.1)
        after = world.call()

        assert (first.tried, first.waits) == (["red:m", "blue:m"], [])
        assert before.tried == ["blue:m"]
        assert after.tried == ["red:m"]

    def test_a_hint_of_a_minute_without_an_alternative_is_an_error_that_carries_it(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(C.RATE_LIMIT, 429, hint=60.0)})

        first = world.call()
        world.pass_time(10)
        second = world.call()

        assert isinstance(first.error, RateLimitedError)
        assert first.error.retry_after == 60
        assert isinstance(second.error, RateLimitedError)
        assert second.error.retry_after == 50
        assert second.tried == []

    def test_a_hint_beyond_the_deadline_moves_on(self) -> None:
        behaves = {"red:m": fails(C.RATE_LIMIT, 429, hint=4.0)}

        called = World({"f": ["red:m", "blue:m"]}, "[features.f]\ndeadline = 4", behaves=behaves).call()

        assert called.tried == ["red:m", "blue:m"]

    def test_a_wait_that_would_cross_the_deadline_is_not_begun(self) -> None:
        behaves = {"red:m": fails(C.SERVER, 503, seconds=2.9)}

        called = World({"f": "red:m"}, "[features.f]\ndeadline = 3", behaves=behaves, jitter=0.9).call()

        assert called.tried == ["red:m"]
        assert called.seconds == 2.9
        assert isinstance(called.error, ProviderDownError)

    def test_what_the_provider_asks_not_to_be_sent_again_is_not(self) -> None:
        behaves = {"red:m": fails(C.SERVER, 503, may_retry=False)}

        assert World({"f": ["red:m", "blue:m"]}, behaves=behaves).call().tried == ["red:m", "blue:m"]

    def test_a_providers_wish_not_to_be_asked_again_forbids_no_repair(self) -> None:
        behaves = {"red:m": [fails(C.INVALID_OUTPUT, 200, may_retry=False), OK]}

        assert [step.repair for step in World({"f": "red:m"}, behaves=behaves).call().steps] == [False, True]

    def test_a_call_waits_for_an_endpoint_that_cools_if_there_is_no_other(self) -> None:
        world = World({"f": "red:m"})
        world.health.start_cooldown(world.circuit(), 7.0, C.RATE_LIMIT)

        called = world.call()

        assert called.waits == [7.0]
        assert called.receipt is not None

    def test_an_endpoint_that_has_just_come_back_is_used(self) -> None:
        # It cools when it is asked whether it may be used, and no longer when it is asked for how long.
        world = World({"f": "red:m"})
        times = iter([0.0, 0.5, 0.6, 0.7, 1.1, 1.2, 1.3, 1.4])
        health = HealthTracker(lambda: next(times))
        health.start_cooldown(world.circuit(), 1.0, C.RATE_LIMIT)

        Dispatch(world.plan("f"), health, clock=world.clock).next_step()


class TestLimits:
    """The most requests and the most time of one call."""

    @pytest.mark.parametrize("attempts", [1, 2, 3])
    def test_the_features_attempts_bound_the_requests_to_each_endpoint(self, attempts: int) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            f"[features.f]\nattempts = {attempts}",
            behaves={"red:m": DOWN, "blue:m": DOWN},
        )

        assert world.call().tried == ["red:m"] * attempts + ["blue:m"] * attempts

    def test_an_endpoints_own_attempts_go_before_the_features(self) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            '[models."red:m"]\nattempts = 1',
            behaves={"red:m": DOWN, "blue:m": DOWN},
        )

        assert world.call().tried == ["red:m"] + ["blue:m"] * 3

    def test_failures_of_several_kinds_share_one_limit(self) -> None:
        behaves = {"red:m": [DOWN, fails(C.TIMEOUT, 408), fails(C.CONNECT), OK]}

        assert len(World({"f": "red:m"}, behaves=behaves).call().tried) == 3

    def test_a_single_attempt_leaves_no_room_for_a_repair(self) -> None:
        behaves = {"red:m": fails(C.INVALID_OUTPUT)}

        assert len(World({"f": "red:m"}, "[features.f]\nattempts = 1", behaves=behaves).call().tried) == 1

    @pytest.mark.parametrize(
        ("most", "tried"),
        [
            (1, ["red:m"]),
            (3, ["red:m", "blue:m", "green:m"]),
            (5, ["red:m"] * 3 + ["blue:m", "green:m"]),
            (6, ["red:m"] * 3 + ["blue:m"] * 2 + ["green:m"]),
        ],
    )
    def test_retries_leave_room_for_the_endpoints_not_yet_tried(self, most: int, tried: list[str]) -> None:
        chain = ["red:m", "blue:m", "green:m"]
        world = World(
            {"f": chain}, f"[features.f]\nmax_attempts = {most}", behaves=dict.fromkeys(chain, DOWN)
        )

        assert world.call().tried == tried

    def test_retries_to_one_provider_end_when_its_budget_is_spent_and_another_provider_has_its_own(
        self,
    ) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fails(C.RATE_LIMIT, 429, hint=1.0)})
        while world.health.try_spend_retry("red for the house"):
            pass

        spent = world.call()
        world.pass_time(60)
        world.behaves = {"red:m": fails(C.MODEL_NOT_FOUND, 404), "blue:m": [DOWN, OK]}
        other = world.call()

        assert spent.tried == ["red:m", "blue:m"]
        assert other.tried == ["red:m", "blue:m", "blue:m"]

    def test_an_attempt_leaves_a_third_of_the_time_to_those_that_follow(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, "[features.f]\ndeadline = 30\nattempts = 1")
        world.behaves = {"red:m": HANG, "blue:m": ok(9)}

        called = world.call()

        assert [step.seconds for step in called.steps] == [pytest.approx(20), pytest.approx(10)]
        assert called.receipt is not None

    def test_a_retry_takes_nothing_of_the_next_endpoints_share(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, "[features.f]\ndeadline = 30", jitter=0.2)
        world.behaves = {"red:m": [fails(C.SERVER, 503, seconds=5), HANG], "blue:m": ok(9)}

        called = world.call()

        assert called.tried == ["red:m", "red:m", "blue:m"]
        assert called.steps[-1].seconds == pytest.approx(10)
        assert called.receipt is not None

    def test_a_repair_is_given_time_or_is_not_sent(self) -> None:
        behaves: dict[str, Behaviour] = {
            "red:m": [fails(C.INVALID_OUTPUT, seconds=19.99), ok(1)],
            "blue:m": ok(1),
        }

        called = World({"f": ["red:m", "blue:m"]}, "[features.f]\ndeadline = 30", behaves=behaves).call()

        assert all(step.seconds >= 1 for step in called.steps)

    def test_an_endpoint_that_comes_back_after_another_was_asked_is_given_time(self) -> None:
        world = World({"f": ["red:m", "blue:m", "green:m"]}, "[features.f]\ndeadline = 30", jitter=0.9)
        dispatch = world.dispatch()
        first = dispatch.next_step()
        assert isinstance(first, Try)
        assert settle(dispatch, first, C.SERVER) is None
        world.health.start_cooldown(world.circuit(), 5.0, C.RATE_LIMIT)  # somebody else was told so
        pause = dispatch.next_step()
        assert isinstance(pause, Wait)
        world.now += pause.seconds

        second = dispatch.next_step()
        assert isinstance(second, Try)
        world.now += second.seconds
        assert settle(dispatch, second, C.MODEL_NOT_FOUND) is None
        third = dispatch.next_step()

        assert isinstance(third, Try)
        assert third.seconds > 0

    def test_an_attempt_has_no_more_than_its_option(self) -> None:
        world = World({"f": "red:m"}, "[features.f]\noptions = { timeout = 7 }")

        assert world.call().steps[0].seconds == 7

    def test_a_call_ends_with_its_deadline(self) -> None:
        world = World({"f": "red:m"}, "[features.f]\ndeadline = 8", behaves={"red:m": HANG})

        called = world.call()

        assert called.seconds == 8
        assert isinstance(called.error, CallTimeoutError)
        assert called.error.http_status == 504
        assert len(called.attempts) == 1

    def test_the_error_of_a_deadline_lists_the_attempts(self) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            "[features.f]\ndeadline = 8",
            behaves={"red:m": ok(), "blue:m": ok()},
        )
        dispatch = world.dispatch()
        step = dispatch.next_step()
        assert isinstance(step, Try)
        world.now = 7.96

        assert settle(dispatch, step, C.MODEL_NOT_FOUND) is None
        with pytest.raises(CallTimeoutError, match="not answered within its deadline of 8 s") as caught:
            dispatch.next_step()

        assert [attempt.endpoint for attempt in caught.value.attempts] == ["red:m"]
        assert caught.value.feature == "f"


class TestTeaching:
    """What other calls learn from a failure, and what they do not."""

    @pytest.mark.parametrize(
        "category",
        [C.REJECTED, C.CONTEXT, C.REFUSAL, C.TRUNCATED, C.INVALID_OUTPUT, C.UNSUPPORTED, C.CANCELLED, C.BUG],
    )
    def test_a_callers_mistake_opens_no_breaker(self, category: FailureCategory) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})

        for _ in range(50):
            world.call()

        assert world.health.find_unavailable_reason(world.circuit()) is None
        assert not world.is_open(world.circuit())

    @pytest.mark.parametrize(
        "category", [C.CONNECT, C.TIMEOUT, C.SERVER, C.EMPTY, C.UNREADABLE, C.INTERRUPTED]
    )
    def test_the_fifth_fault_of_a_provider_opens_its_breaker(self, category: FailureCategory) -> None:
        world = World({"f": "red:m"}, "[features.f]\nattempts = 1", behaves={"red:m": fails(category, 500)})

        for _ in range(4):
            world.call()
        before = world.health.find_unavailable_reason(world.circuit())
        world.call()

        assert before is None
        assert world.health.find_unavailable_reason(world.circuit()) == UnavailableReason(
            30, category, "open"
        )

    def test_a_breaker_that_opens_leaves_its_call_one_probe_and_the_next_calls_too(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": DOWN})

        assert [len(world.call().tried) for _ in range(3)] == [3, 3, 1]

    @pytest.mark.parametrize(
        ("deadline", "timeout", "opens"),
        [(4.9, 120, False), (5.0, 120, True), (4.9, 3, True)],
    )
    def test_a_timeout_counts_only_if_the_endpoint_had_time(
        self, deadline: float, timeout: float, *, opens: bool
    ) -> None:
        world = World(
            {"f": "red:m"},
            f"[features.f]\ndeadline = {deadline}\nattempts = 1\noptions = {{ timeout = {timeout} }}",
            behaves={"red:m": HANG},
        )

        for _ in range(5):
            world.call()

        assert world.is_open(world.circuit()) is opens

    def test_a_timeout_reported_by_the_provider_counts_however_short(self) -> None:
        world = World(
            {"f": "red:m"},
            "[features.f]\ndeadline = 1\nattempts = 1",
            behaves={"red:m": fails(C.TIMEOUT, 408)},
        )

        for _ in range(5):
            world.call()

        assert world.is_open(world.circuit())

    @pytest.mark.parametrize("category", [C.QUOTA, C.CREDENTIAL])
    def test_a_bad_key_of_the_house_keeps_it_from_all_models_of_that_provider_and_no_other(
        self, category: FailureCategory
    ) -> None:
        world = World(
            {"f": "red:m", "g": ["red:n", "blue:m"]}, behaves={"red:m": fails(category), "red:n": OK}
        )
        world.call("f")

        assert world.call("g").tried == ["blue:m"]
        assert world.call("g", users_own("red")).tried == ["red:n"]

    def test_a_users_used_up_quota_affects_no_other_user(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": [fails(C.QUOTA, 429), OK]})
        world.call(caller=users_own("red", name="ann"))

        ann = world.call(caller=users_own("red", name="ann"))
        bob = world.call(caller=users_own("red", name="bob"))
        house = world.call()

        assert isinstance(ann.error, QuotaExceededError)
        assert ann.tried == []
        assert bob.receipt is not None
        assert house.receipt is not None

    def test_a_users_refused_key_is_asked_again_the_next_time_because_they_may_have_mended_it(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(C.CREDENTIAL, 401)})

        calls = [world.call(caller=users_own("red")) for _ in range(20)]

        assert [len(called.tried) for called in calls] == [1] * 20
        assert len(world.health) == 0

    @pytest.mark.parametrize(
        "category", [C.SERVER, C.TIMEOUT, C.RATE_LIMIT, C.QUOTA, C.MODEL_NOT_FOUND, C.CREDENTIAL]
    )
    def test_one_users_failures_make_nothing_unavailable_for_others(self, category: FailureCategory) -> None:
        world = World({"f": ["red:m", "red:n"]}, behaves={"red:m": fails(category), "red:n": fails(category)})
        for _ in range(10):
            world.call(caller=users_own("red", name="ann"))
        world.behaves = {}

        for other in (users_own("red", name="bob"), HOUSE):
            route = world.plan("f", other)

            assert [str(candidate.endpoint) for candidate in route.candidates] == ["red:m", "red:n"]
            assert all(candidate.rest is None for candidate in route.candidates)

    def test_a_rate_limit_proves_that_the_provider_is_alive(self) -> None:
        world = World({"f": "red:m"}, "[features.f]\nattempts = 1")
        for reply in [DOWN] * 4 + [fails(C.RATE_LIMIT, 429, hint=1.0)] + [DOWN] * 4:
            world.behaves["red:m"] = reply
            world.call()
            world.pass_time(1)

        assert not world.is_open(world.circuit())

    def test_a_rate_limit_without_a_hint_is_left_alone_even_if_no_retry_is_left(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fails(C.RATE_LIMIT, 429)})
        while world.health.try_spend_retry("red for the house"):
            pass

        world.call()

        assert world.health.find_unavailable_reason(world.circuit()) == GUESSED

    def test_a_rate_limit_that_must_not_be_retried_is_left_alone(self) -> None:
        behaves = {"red:m": fails(C.RATE_LIMIT, 429, may_retry=False)}
        world = World({"f": ["red:m", "blue:m"]}, behaves=behaves)

        world.call()

        assert world.health.find_unavailable_reason(world.circuit()) == GUESSED
