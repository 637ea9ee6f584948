"""The course of one call, without any I/O: what is tried, in which order, after which wait, and how it ends."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import pytest

from backend.tests.fakes.simulation import (
    HANG,
    KEYS,
    OK,
    Behaviour,
    Reply,
    World,
    fails,
    ok,
    settle,
    table,
    users_own,
)
from backend.utils.llm.caller import HOUSE, Caller
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallError,
    CallTimeoutError,
    ContextTooLongError,
    InvalidOutputError,
    LLMError,
    MissingCredentialError,
    ModelUnavailableError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    RejectedCredentialError,
    RejectedRequestError,
    StreamInterruptedError,
)
from backend.utils.llm.execution.attempt import RunningAttempt
from backend.utils.llm.execution.call import Call, Question
from backend.utils.llm.execution.loop import Dispatch
from backend.utils.llm.execution.runtime import Runtime
from backend.utils.llm.execution.steps import Try, Wait
from backend.utils.llm.failures import Category, Failure
from backend.utils.llm.model_config import Table
from backend.utils.llm.options import Options
from backend.utils.llm.providers import Ask
from backend.utils.llm.secrets import fingerprint
from backend.utils.llm.state.health import MemoryHealth, Unavailable

if TYPE_CHECKING:
    from backend.utils.llm.types import KeyPolicy

C = Category
HOUSE_MAY = "[features.f]\nhouse_fallback = true"
DOWN = fails(C.SERVER, 503)
GUESSED = Unavailable(30, C.RATE_LIMIT, "cooling", is_guess=True)


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
        world.health.cool(world.circuit(), 10, C.RATE_LIMIT)

        assert world.plan("f").candidates == ()

    def test_a_route_without_candidates_is_an_error_before_anything_is_sent(self) -> None:
        with pytest.raises(MissingCredentialError, match="RED_KEY"):
            World({"f": "red:m"}, environ={}).dispatch()


class Consequence(NamedTuple):
    """What a category leads to.

    Attributes:
        requests: To the only endpoint.
        error: If there is no other.
        other: Whether another provider may be asked.
        sibling: Whether another model of the same provider may be, with the same key.
        rests: What is left alone afterwards, for so many seconds.
    """

    requests: int
    error: type[LLMError]
    other: bool = True
    sibling: bool = True
    rests: tuple[str, float] | None = None


CONSEQUENCES: dict[Category, Consequence] = {
    C.CONNECT: Consequence(3, ProviderDownError),
    C.TIMEOUT: Consequence(2, CallTimeoutError),
    C.SERVER: Consequence(3, ProviderDownError),
    C.EMPTY: Consequence(3, ProviderDownError),
    C.UNREADABLE: Consequence(3, ProviderDownError),
    C.UNKNOWN_REASON: Consequence(1, InvalidOutputError),
    C.INTERRUPTED: Consequence(3, ProviderDownError),
    C.RATE_LIMIT: Consequence(3, RateLimitedError, rests=("endpoint", 30)),
    C.QUOTA: Consequence(1, QuotaExceededError, sibling=False, rests=("key", 600)),
    C.CREDENTIAL: Consequence(1, RejectedCredentialError, sibling=False, rests=("key", 300)),
    C.MODEL_NOT_FOUND: Consequence(1, ModelUnavailableError, rests=("endpoint", 600)),
    C.UNEXPLAINED: Consequence(1, RejectedRequestError),
    C.UNSUPPORTED: Consequence(1, RejectedRequestError),
    C.UNWORDED: Consequence(1, RejectedRequestError),
    C.CONTEXT: Consequence(1, ContextTooLongError, other=False, sibling=False),
    C.REFUSAL: Consequence(1, RefusedError, other=False, sibling=False),
    C.TRUNCATED: Consequence(2, InvalidOutputError),
    C.INVALID_OUTPUT: Consequence(2, InvalidOutputError),
    C.REJECTED: Consequence(1, RejectedRequestError, other=False, sibling=False),
    C.CANCELLED: Consequence(1, CallError, other=False, sibling=False),
    C.BUG: Consequence(1, CallError, other=False, sibling=False),
}


@pytest.mark.parametrize("category", Category)
class TestConsequences:
    """What follows from each kind of failure."""

    def test_one_endpoint_is_asked_as_often_as_its_kind_is_worth(self, category: Category) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})

        called = world.call()

        assert type(called.error) is CONSEQUENCES[category].error
        assert len(world.requests) == len(called.attempts) == CONSEQUENCES[category].requests
        assert {attempt.category for attempt in called.attempts} == {category}

    def test_another_provider_is_asked_or_not(self, category: Category) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fails(category)})

        expected = ["red:m"] * CONSEQUENCES[category].requests
        assert world.call().tried == expected + ["blue:m"] * CONSEQUENCES[category].other

    def test_another_model_of_the_same_provider_is_asked_or_not(self, category: Category) -> None:
        world = World({"f": ["red:m", "red:n"]}, behaves={"red:m": fails(category)})

        expected = ["red:m"] * CONSEQUENCES[category].requests
        assert world.call().tried == expected + ["red:n"] * CONSEQUENCES[category].sibling

    def test_afterwards_the_endpoint_or_its_key_is_left_alone_or_not(self, category: Category) -> None:
        world = World({"f": ["red:m", "red:n"]}, behaves={"red:m": fails(category)})
        world.call(caller=HOUSE)

        rests = [
            world.health.availability(world.circuit()),
            world.health.availability(world.circuit()._replace(endpoint="red")),
        ]

        expected = CONSEQUENCES[category].rests
        assert rests == [
            Unavailable(expected[1], category, "cooling", is_guess=kind == "endpoint")
            if expected and expected[0] == kind
            else None
            for kind in ("endpoint", "key")
        ]

    def test_every_further_request_repairs_or_repeats(self, category: Category) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})

        repairs = [step.repair for step in world.call().steps]

        is_repair = category in {C.TRUNCATED, C.INVALID_OUTPUT}
        assert repairs == [False] + [is_repair] * (len(repairs) - 1)


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
    def test_a_hint_of_two_seconds_is_waited_exactly(self, category: Category) -> None:
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
        world.health.cool(world.circuit(), 7.0, C.RATE_LIMIT)

        called = world.call()

        assert called.waits == [7.0]
        assert called.receipt is not None

    def test_an_endpoint_that_has_just_come_back_is_used(self) -> None:
        # It cools when it is asked whether it may be used, and no longer when it is asked for how long.
        world = World({"f": "red:m"})
        times = iter([0.0, 0.5, 0.6, 0.7, 1.1, 1.2, 1.3, 1.4])
        health = MemoryHealth(lambda: next(times))
        health.cool(world.circuit(), 1.0, C.RATE_LIMIT)

        Dispatch(world.plan("f"), health, clock=world.clock).next()


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
        while world.health.may_retry("red for the house"):
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
        first = dispatch.next()
        assert isinstance(first, Try)
        assert settle(dispatch, first, C.SERVER) is None
        world.health.cool(world.circuit(), 5.0, C.RATE_LIMIT)  # somebody else was told so
        pause = dispatch.next()
        assert isinstance(pause, Wait)
        world.now += pause.seconds

        second = dispatch.next()
        assert isinstance(second, Try)
        world.now += second.seconds
        assert settle(dispatch, second, C.MODEL_NOT_FOUND) is None
        third = dispatch.next()

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
        step = dispatch.next()
        assert isinstance(step, Try)
        world.now = 7.96

        assert settle(dispatch, step, C.MODEL_NOT_FOUND) is None
        with pytest.raises(CallTimeoutError, match="not answered within its deadline of 8 s") as caught:
            dispatch.next()

        assert [attempt.endpoint for attempt in caught.value.attempts] == ["red:m"]
        assert caught.value.feature == "f"


class TestNextEndpoint:
    """Where a call may go after a failure, and where not."""

    def test_after_an_overflow_only_a_larger_window_is_asked(self) -> None:
        behaves = {"red:small": fails(C.CONTEXT, 400), "blue:large": fails(C.CONTEXT, 400)}
        world = World({"f": ["red:small", "blue:small", "blue:large", "green:m"]}, behaves=behaves)

        assert world.call().tried == ["red:small", "blue:large", "green:m"]

    @pytest.mark.parametrize(
        ("options", "tried"),
        [("{}", ["red:small", "green:m"]), ("{ max_output_tokens = 2000 }", ["red:small"])],
    )
    def test_a_window_is_what_is_left_of_it_beside_the_reserved_answer(
        self, options: str, tried: list[str]
    ) -> None:
        more = f'[models."green:m"]\ncontext_window = 8100\nmax_output = 2000\noptions = {options}'
        world = World({"f": ["red:small", "green:m"]}, more, behaves={"red:small": fails(C.CONTEXT, 400)})

        assert world.call().tried == tried

    def test_a_refusal_moves_on_once_if_the_feature_allows(self) -> None:
        chain = ["red:m", "blue:m", "green:m"]
        world = World(
            {"f": chain},
            '[features.f]\non_refusal = "next"',
            behaves={"red:m": fails(C.REFUSAL), "blue:m": fails(C.REFUSAL)},
        )

        called = world.call()

        assert called.tried == ["red:m", "blue:m"]
        assert isinstance(called.error, RefusedError)
        assert len(called.attempts) == 2

    def test_an_outage_in_between_gives_no_second_chance_after_a_refusal(self) -> None:
        chain = ["red:m", "blue:m", "green:m", "red:n"]
        world = World(
            {"f": chain},
            '[features.f]\non_refusal = "next"\nattempts = 1',
            behaves={"red:m": fails(C.REFUSAL), "blue:m": DOWN, "green:m": fails(C.REFUSAL)},
        )

        assert world.call().tried == ["red:m", "blue:m", "green:m"]

    @pytest.mark.parametrize("category", [C.INVALID_OUTPUT, C.TRUNCATED])
    def test_an_unfit_answer_moves_on_unless_the_feature_forbids(self, category: Category) -> None:
        world = World(
            {"f": ["red:m", "blue:m"]},
            '[features.f]\non_invalid_output = "raise"',
            behaves={"red:m": fails(category)},
        )

        called = world.call()

        assert called.tried == ["red:m", "red:m"]
        assert isinstance(called.error, InvalidOutputError)

    def test_the_repair_starts_anew_on_the_next_endpoint(self) -> None:
        behaves = dict.fromkeys(["red:m", "blue:m"], fails(C.INVALID_OUTPUT))
        world = World({"f": ["red:m", "blue:m"]}, behaves=behaves)

        assert [step.repair for step in world.call().steps] == [False, True, False, True]

    def test_an_answer_is_repaired_once_whatever_is_wrong_with_it(self) -> None:
        behaves = {"red:m": [fails(C.TRUNCATED), fails(C.INVALID_OUTPUT), OK]}

        assert World({"f": ["red:m", "blue:m"]}, behaves=behaves).call().tried == ["red:m"] * 2 + ["blue:m"]

    def test_a_repair_that_the_provider_failed_is_sent_again_as_a_repair(self) -> None:
        behaves = {"red:m": [fails(C.INVALID_OUTPUT), DOWN, OK]}

        steps = World({"f": "red:m"}, behaves=behaves).call().steps

        assert [step.repair for step in steps] == [False, True, True]

    def test_a_used_up_quota_moves_to_another_key_of_the_same_provider(self) -> None:
        # The user's quota is used up; they chose that the house may pay instead.
        world = World({"f": "red:m"}, HOUSE_MAY, behaves={"red:m": [fails(C.QUOTA, 429), OK]})

        called = world.call(caller=users_own("red", policy="byok_then_house"))

        assert [step.candidate.owner for step in called.steps] == ["user", "house"]

    def test_after_a_used_up_quota_no_model_of_that_key_is_tried(self) -> None:
        chain = ["red:m", "red:n", "blue:m", "red:o"]
        world = World({"f": chain}, behaves={"red:m": fails(C.QUOTA, 429), "blue:m": DOWN})

        assert set(world.call().tried) == {"red:m", "blue:m"}

    def test_after_a_refused_key_of_the_house_no_model_of_that_key_is_tried(self) -> None:
        chain = ["red:m", "red:n", "blue:m", "red:o"]
        world = World({"f": chain}, behaves={"red:m": fails(C.CREDENTIAL, 401), "blue:m": DOWN})

        assert set(world.call().tried) == {"red:m", "blue:m"}

    @pytest.mark.parametrize("policy", ["byok_only", "byok_then_house"])
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_users_refused_key_ends_the_call(self, policy: KeyPolicy, status: int) -> None:
        chain = ["red:m", "red:n", "blue:m"]
        world = World({"f": chain}, HOUSE_MAY, behaves={"red:m": fails(C.CREDENTIAL, status)})

        called = world.call(caller=users_own("red", "blue", policy=policy))

        assert called.tried == ["red:m"]
        assert isinstance(called.error, RejectedCredentialError)
        assert called.error.http_status == 403
        assert "that you brought for red" in str(called.error)

    def test_a_users_refused_key_is_reported_even_if_another_endpoint_failed_before(self) -> None:
        world = World(
            {"f": ["red:m", "blue:m", "green:m"]},
            behaves={"red:m": DOWN, "blue:m": fails(C.CREDENTIAL, 401)},
        )

        called = world.call(caller=users_own("red", "blue", "green"))

        assert called.tried == ["red:m"] * 3 + ["blue:m"]
        assert isinstance(called.error, RejectedCredentialError)

    def test_not_every_endpoint_failed_if_one_was_not_asked(self) -> None:
        world = World(
            {"f": ["red:m", "blue:m", "green:m"]}, behaves={"red:m": DOWN, "blue:m": fails(C.REJECTED, 400)}
        )

        called = world.call()

        assert called.tried == ["red:m"] * 3 + ["blue:m"]
        assert "Every endpoint" not in str(called.error)

    def test_a_key_that_is_the_users_and_the_houses_is_not_asked_twice_as_often(self) -> None:
        caller = Caller(keys={"red": "shared"}, key_policy="byok_then_house")
        world = World({"f": "red:m"}, HOUSE_MAY, environ={"RED_KEY": "shared"}, behaves={"red:m": DOWN})

        assert len(world.call(caller=caller).tried) == 3
        assert [step.candidate.owner for step in world.calls[0].steps] == ["user"] * 3

    def test_a_key_that_another_call_found_used_up_meanwhile_is_not_asked_with(self) -> None:
        world = World({"f": ["red:m", "red:n", "blue:m"]})
        dispatch = world.dispatch()
        world.health.cool(world.circuit()._replace(endpoint="red"), 60, C.QUOTA)

        step = dispatch.next()

        assert isinstance(step, Try)
        assert str(step.candidate.endpoint) == "blue:m"
        assert [str(one.endpoint) for one in world.plan("f").candidates] == ["blue:m"]

    def test_only_answers_earn_retries(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": [DOWN, OK] * 8})
        for _ in range(8):
            world.call()

        granted = sum(world.health.may_retry("red for the house") for _ in range(20))
        assert granted == 4, "ten were in reserve, eight were used, and eight answers earned two"


@pytest.mark.parametrize("policy", ["house_only", "byok_only", "byok_then_house"])
@pytest.mark.parametrize("edge", list(permutations(["red:m", "blue:m", "green:m"], 2)), ids=" to ".join)
def test_on_no_edge_does_a_key_reach_a_provider_that_it_is_not_for(
    edge: tuple[str, str], policy: KeyPolicy
) -> None:
    caller = users_own("red", "blue", "green", policy=policy)
    for category in Category:
        world = World({"f": list(edge)}, HOUSE_MAY, behaves={edge[0]: fails(category)})
        runtime = Runtime(Table(text=table({"f": list(edge)}, HOUSE_MAY), environ=KEYS), health=world.health)
        called = world.call(caller=caller)
        call = Call(runtime, runtime.table.snapshot, called.route, Question([], [], None, Ask(Options())))

        for step in called.steps:
            provider, owner = step.candidate.endpoint.provider.name, step.candidate.owner
            secret = RunningAttempt(call, step)._credential().secret
            assert secret is not None
            assert secret.get_secret_value() == f"{'ann' if owner == 'user' else 'house'}-{provider}"
            assert fingerprint(secret) == step.candidate.key
            assert owner in {"house_only": "house", "byok_only": "user"}.get(policy, "user house")


class TestErrors:
    """How a call ends that was not answered."""

    def test_the_error_of_one_endpoint_counts_its_attempts(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": DOWN}).call()

        assert str(called.error) == "red:m failed on its own side (asked 3 times)."

    def test_one_endpoint_asked_once_does_not_count(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": fails(C.REJECTED, 400)}).call()

        assert str(called.error) == "red:m rejected the request as malformed."

    def test_the_last_of_several_kinds_of_failure_decides(self) -> None:
        called = World({"f": "red:m"}, behaves={"red:m": [DOWN, DOWN, fails(C.REJECTED, 400)]}).call()

        assert type(called.error) is RejectedRequestError
        assert [attempt.category for attempt in called.attempts] == [C.SERVER, C.SERVER, C.REJECTED]

    def test_the_error_lists_all_endpoints_in_order(self) -> None:
        behaves = {"red:m": fails(C.MODEL_NOT_FOUND, 404), "blue:m": fails(C.TIMEOUT)}

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert isinstance(called.error, AllAttemptsFailedError)
        assert str(called.error) == (
            "Every endpoint of 'f' failed. red:m: does not serve that model (404); "
            "blue:m: did not answer in time; blue:m: did not answer in time."
        )
        assert called.error.feature == "f"

    @pytest.mark.parametrize(("second", "retryable"), [(C.SERVER, True), (C.MODEL_NOT_FOUND, False)])
    def test_all_failed_is_worth_another_call_if_one_failure_was(
        self, second: Category, *, retryable: bool
    ) -> None:
        behaves = {"red:m": fails(C.MODEL_NOT_FOUND, 404), "blue:m": fails(second)}

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert called.error is not None
        assert called.error.retryable is retryable

    def test_all_failed_says_when_to_come_back_if_a_provider_did(self) -> None:
        behaves = {
            "red:m": fails(C.RATE_LIMIT, 429, hint=60.0),
            "blue:m": fails(C.RATE_LIMIT, 429, hint=20.0),
        }

        called = World({"f": ["red:m", "blue:m"]}, behaves=behaves).call()

        assert isinstance(called.error, AllAttemptsFailedError)
        assert called.error.retry_after == 20

    def test_the_last_word_of_a_provider_counts(self) -> None:
        behaves = {"red:m": [fails(C.RATE_LIMIT, hint=2.0), fails(C.RATE_LIMIT, hint=60.0)]}

        called = World({"f": "red:m"}, behaves=behaves).call()

        assert called.error is not None
        assert called.error.retry_after == 60

    def test_an_error_of_ours_that_says_more_is_raised_as_it_is(self) -> None:
        told = ProviderDownError("The model of this process is not running.")
        world = World({"f": "red:m"}, behaves={"red:m": Reply(Failure(C.CONNECT, error=told))})

        called = world.call()

        assert called.error is told
        assert told.feature == "f"
        assert len(told.attempts) == 3

    def test_after_the_first_chunk_nothing_else_is_tried(self) -> None:
        broken = Reply(Failure(C.INTERRUPTED, 200), partial="so far")
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": broken})

        called = world.call()

        assert called.tried == ["red:m"]
        assert isinstance(called.error, StreamInterruptedError)
        assert called.error.partial == "so far"

    def test_a_stream_that_broke_before_its_first_chunk_is_tried_again(self) -> None:
        behaves = {"red:m": [Reply(Failure(C.INTERRUPTED, 200)), OK]}

        assert World({"f": "red:m"}, behaves=behaves).call().receipt is not None

    @pytest.mark.parametrize("key", [False, True])
    def test_what_broke_a_stream_is_heeded_by_other_calls(self, *, key: bool) -> None:
        # Providers tell of limits in the middle of a stream, too.
        category = C.QUOTA if key else C.RATE_LIMIT
        broken = Reply(Failure(category, retry_after=60.0), partial="so far")
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": broken})

        world.call()

        assert world.call().tried == ["blue:m"]

    def test_a_stream_that_broke_counts_for_the_breaker(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": Reply(Failure(C.INTERRUPTED), partial="x")})

        for _ in range(5):
            world.call()

        assert world.is_open(world.circuit())


class TestTeaching:
    """What other calls learn from a failure, and what they do not."""

    @pytest.mark.parametrize(
        "category",
        [C.REJECTED, C.CONTEXT, C.REFUSAL, C.TRUNCATED, C.INVALID_OUTPUT, C.UNSUPPORTED, C.CANCELLED, C.BUG],
    )
    def test_a_callers_mistake_opens_no_breaker(self, category: Category) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})

        for _ in range(50):
            world.call()

        assert world.health.availability(world.circuit()) is None
        assert not world.is_open(world.circuit())

    @pytest.mark.parametrize(
        "category", [C.CONNECT, C.TIMEOUT, C.SERVER, C.EMPTY, C.UNREADABLE, C.INTERRUPTED]
    )
    def test_the_fifth_fault_of_a_provider_opens_its_breaker(self, category: Category) -> None:
        world = World({"f": "red:m"}, "[features.f]\nattempts = 1", behaves={"red:m": fails(category, 500)})

        for _ in range(4):
            world.call()
        before = world.health.availability(world.circuit())
        world.call()

        assert before is None
        assert world.health.availability(world.circuit()) == Unavailable(30, category, "open")

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
        self, category: Category
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
    def test_one_users_failures_make_nothing_unavailable_for_others(self, category: Category) -> None:
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
        while world.health.may_retry("red for the house"):
            pass

        world.call()

        assert world.health.availability(world.circuit()) == GUESSED

    def test_a_rate_limit_that_must_not_be_retried_is_left_alone(self) -> None:
        behaves = {"red:m": fails(C.RATE_LIMIT, 429, may_retry=False)}
        world = World({"f": ["red:m", "blue:m"]}, behaves=behaves)

        world.call()

        assert world.health.availability(world.circuit()) == GUESSED
