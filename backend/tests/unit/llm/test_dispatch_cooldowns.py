"""The course of one call when something rests, or all of it: what is skipped, waited for, probed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.fakes.simulation import (
    OK,
    Called,
    Reply,
    World,
    fails,
    ok,
    settle,
    users_own,
)
from backend.utils.llm.errors import (
    LLMError,
    ModelUnavailableError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RejectedCredentialError,
)
from backend.utils.llm.execution.steps import Try, Wait
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.circuit_breaker import IN_A_ROW

if TYPE_CHECKING:
    from backend.utils.llm.execution.loop import Dispatch

C = FailureCategory
DOWN = fails(C.SERVER, 503)


class TestAllResting:
    """What a call does when everything that may serve it rests."""

    def cooled(self, seconds: float, category: FailureCategory, *, key: bool = False) -> World:
        world = World({"f": "red:m"})
        circuit = world.circuit()
        world.health.start_cooldown(circuit._replace(endpoint="red") if key else circuit, seconds, category)
        return world

    @pytest.mark.parametrize(
        ("category", "key", "error"),
        [
            (C.RATE_LIMIT, False, RateLimitedError),
            (C.MODEL_NOT_FOUND, False, ModelUnavailableError),
            (C.QUOTA, True, QuotaExceededError),
            (C.CREDENTIAL, True, RejectedCredentialError),
        ],
    )
    def test_the_error_keeps_its_cause_and_carries_when_to_come_back(
        self, category: FailureCategory, *, key: bool, error: type[LLMError]
    ) -> None:
        world = self.cooled(100, category, key=key)

        called = world.call()

        assert type(called.error) is error
        assert called.error.retry_after == 100
        assert str(called.error).startswith("Every endpoint that may serve 'f' is resting. red:m: it ")
        assert "left alone for 100 s more" in str(called.error)
        assert called.tried == []

    def test_of_several_the_soonest_decides(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        world.health.start_cooldown(world.circuit(), 100, C.RATE_LIMIT)
        world.health.start_cooldown(world.circuit(place=1), 50, C.MODEL_NOT_FOUND)

        called = world.call()

        assert type(called.error) is ModelUnavailableError
        assert called.error.retry_after == 50
        assert "red:m" in str(called.error)

    @pytest.mark.parametrize("category", [C.QUOTA, C.CREDENTIAL, C.MODEL_NOT_FOUND])
    def test_only_a_rate_limit_is_waited_for(self, category: FailureCategory) -> None:
        world = self.cooled(5, category)

        called = world.call()

        assert called.waits == []
        assert called.error is not None

    def test_an_open_breaker_is_probed_before_its_time_rather_than_refusing_the_call(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        world.open(world.circuit())
        world.open(world.circuit(place=1))

        called = world.call()

        assert called.tried == ["red:m"]
        assert called.receipt is not None
        assert not called.receipt.degraded

    def test_a_breaker_is_probed_before_anything_is_waited_for(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        world.health.start_cooldown(world.circuit(), 5, C.RATE_LIMIT)
        world.open(world.circuit(place=1))

        called = world.call()

        assert (called.tried, called.waits) == (["blue:m"], [])

    def test_a_cooldown_since_the_plan_counts(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        dispatch = world.dispatch()
        world.open(world.circuit())

        step = dispatch.next_step()

        assert isinstance(step, Try)
        assert str(step.candidate.endpoint) == "blue:m"

    def test_a_new_cooldown_is_not_waited_for_if_waiting_would_not_help(self) -> None:
        world = World({"f": "red:m"})
        dispatch = world.dispatch()
        world.health.start_cooldown(world.circuit(), 5.0, C.MODEL_NOT_FOUND)

        with pytest.raises(ModelUnavailableError) as caught:
            dispatch.next_step()

        assert caught.value.retry_after == 5

    def test_when_the_cooldown_outlasts_the_deadline_the_failure_is_raised(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        dispatch = world.dispatch()
        step = dispatch.next_step()
        assert isinstance(step, Try)
        world.health.start_cooldown(world.circuit(place=1), 100, C.RATE_LIMIT)

        assert settle(dispatch, step, C.MODEL_NOT_FOUND) is None
        with pytest.raises(ModelUnavailableError):
            dispatch.next_step()

    def test_of_two_that_cool_the_sooner_is_planned_first_because_it_is_tried_first(self) -> None:
        world = World({"f": ["red:m", "blue:m"]})
        world.health.start_cooldown(world.circuit(), 10, C.RATE_LIMIT)
        world.health.start_cooldown(world.circuit(place=1), 3, C.RATE_LIMIT)

        called = world.call()

        assert called.waits == [3]
        assert called.tried[0] == str(called.route.candidates[0].endpoint)


class TestProbes:
    """One request at a time finds out whether a provider is back."""

    def probing(self, *, after: float = 31.0) -> tuple[World, Dispatch, Try]:
        """An endpoint whose breaker opened ``after`` seconds ago, and the call that probes it."""
        world = World({"f": "red:m"})
        world.open(world.circuit())
        world.now = after
        dispatch = world.dispatch()
        step = dispatch.next_step()
        assert isinstance(step, Try)
        return world, dispatch, step

    @pytest.mark.parametrize("after", [1.0, 31.0])
    def test_while_one_probes_others_wait(self, after: float) -> None:
        world, _, _ = self.probing(after=after)

        assert world.dispatch().next_step() == Wait(0.5)

    @pytest.mark.parametrize("after", [1.0, 31.0])
    def test_those_who_wait_are_served_when_the_probe_was_answered(self, after: float) -> None:
        world, prober, probe = self.probing(after=after)
        waiter = world.dispatch()
        assert isinstance(waiter.next_step(), Wait)

        settle(prober, probe)
        world.now += 0.5

        assert isinstance(waiter.next_step(), Try)

    @pytest.mark.parametrize("after", [1.0, 31.0])
    def test_those_who_wait_share_the_failure_and_send_no_probe_of_their_own(self, after: float) -> None:
        world, prober, probe = self.probing(after=after)
        waiter = world.dispatch()
        assert isinstance(waiter.next_step(), Wait)

        assert settle(prober, probe, C.SERVER) is not None
        world.now += 0.5

        with pytest.raises(ProviderDownError) as caught:
            waiter.next_step()
        assert caught.value.attempts == ()
        assert caught.value.retry_after is not None

    def test_where_others_were_answered_lately_one_failed_probe_is_not_the_end_of_all_who_wait(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": [DOWN, DOWN, OK]})
        world.health.credit_retry_budget("red for the house")
        world.open(world.circuit())
        for _ in range(30):
            world.start()

        called = world.run()

        assert [len(one.tried) for one in called] == [1] * 30
        assert sum(one.error is not None for one in called) == 2, "the two that asked in vain"

    def test_those_who_wait_are_patient_for_five_probes(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": DOWN})
        world.health.credit_retry_budget("red for the house")
        world.open(world.circuit())
        for _ in range(30):
            world.start()

        called = world.run()

        assert len(world.requests) == 5
        assert max(one.seconds for one in called) < 5

    @pytest.mark.parametrize(
        ("category", "hint"), [(C.SERVER, None), (C.TIMEOUT, None), (C.RATE_LIMIT, None)]
    )
    def test_those_who_wait_are_patient_no_longer_than_for_a_cooldown(
        self, category: FailureCategory, hint: float | None
    ) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category, hint=hint, seconds=10)})
        world.health.credit_retry_budget("red for the house")
        world.open(world.circuit())
        for _ in range(30):
            world.start()

        called = world.run()

        assert len(world.requests) <= 3
        assert max(one.seconds for one in called) <= 30

    def test_a_failed_probe_is_not_repeated_by_its_own_call(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": DOWN})
        world.open(world.circuit())
        world.pass_time(31)

        assert len(world.call().tried) == 1

    @pytest.mark.parametrize("category", [C.REJECTED, C.CONTEXT, C.REFUSAL, C.INVALID_OUTPUT, C.UNSUPPORTED])
    def test_any_answer_closes_the_breaker(self, category: FailureCategory) -> None:
        world, prober, probe = self.probing()

        settle(prober, probe, category)

        assert not world.is_open(world.circuit())

    @pytest.mark.parametrize("category", [C.CANCELLED, C.BUG])
    def test_an_inconclusive_probe_frees_its_place_for_one_other(self, category: FailureCategory) -> None:
        world, prober, probe = self.probing()
        settle(prober, probe, category)

        assert isinstance(world.dispatch().next_step(), Try)
        assert isinstance(world.dispatch().next_step(), Wait)

    @pytest.mark.parametrize("after", [1.0, 31.0])
    def test_when_a_probe_is_cancelled_one_of_those_who_wait_probes_instead(self, after: float) -> None:
        world, prober, probe = self.probing(after=after)
        waiters = [world.dispatch() for _ in range(3)]
        assert {type(waiter.next_step()) for waiter in waiters} == {Wait}

        settle(prober, probe, C.CANCELLED)
        world.now += 0.5

        assert [type(waiter.next_step()) for waiter in waiters] == [Try, Wait, Wait]

    def test_a_probe_that_is_never_settled_is_forgotten_after_its_time(self) -> None:
        world, _, probe = self.probing()

        world.now += probe.seconds - 0.1
        assert isinstance(world.dispatch().next_step(), Wait)
        world.now += 10

        assert isinstance(world.dispatch().next_step(), Try)

    def test_a_probe_is_not_forgotten_before_its_own_timeout(self) -> None:
        world, _, probe = self.probing()

        world.now += probe.seconds + 0.01  # a clock that rang, and a thread that has not run yet

        assert isinstance(world.dispatch().next_step(), Wait)

    def test_who_waits_for_a_probe_waits_as_long_as_the_deadline_allows(self) -> None:
        world, _, _ = self.probing()

        called = world.call()

        assert called.seconds == pytest.approx(119.5)
        assert isinstance(called.error, ProviderDownError)
        assert "a probe is under way" in str(called.error)

    def test_who_has_another_endpoint_does_not_wait_for_a_probe(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": ok(5)})
        world.open(world.circuit())
        world.pass_time(31)

        world.start()
        world.start()
        first, second = world.run()

        assert (first.tried, second.tried) == (["red:m"], ["blue:m"])
        assert second.waits == []

    @pytest.mark.parametrize("category", [C.CANCELLED, C.SERVER])
    def test_a_request_that_was_under_way_when_the_breaker_opened_does_not_free_the_probes_place(
        self, category: FailureCategory
    ) -> None:
        world = World({"f": "red:m"})
        straggler, late = in_flight_when_the_breaker_opens(world)
        world.now = 31
        assert isinstance(world.dispatch().next_step(), Try)

        settle(straggler, late, category)

        assert isinstance(world.dispatch().next_step(), Wait)

    @pytest.mark.parametrize("opened_for", [1.0, 31.0])
    def test_a_request_in_flight_when_the_breaker_opened_does_not_count_as_the_probe(
        self, opened_for: float
    ) -> None:
        world = World({"f": "red:m"})
        straggler, late = in_flight_when_the_breaker_opens(world)
        world.now = opened_for
        prober = world.dispatch()
        probe = prober.next_step()
        assert isinstance(probe, Try)
        waiter = world.dispatch()
        assert isinstance(waiter.next_step(), Wait)

        settle(straggler, late, C.SERVER)
        settle(prober, probe, C.CANCELLED)

        assert isinstance(waiter.next_step(), Try)


def in_flight_when_the_breaker_opens(world: World) -> tuple[Dispatch, Try]:
    straggler = world.dispatch()
    late = straggler.next_step()
    assert isinstance(late, Try)
    world.open(world.circuit())
    return straggler, late


class TestLookedAtAgain:
    """What rested when the call was planned is asked once nothing else is left."""

    @pytest.mark.parametrize(
        ("category", "hint"),
        [
            (C.MODEL_NOT_FOUND, None),
            (C.CREDENTIAL, None),
            (C.QUOTA, None),
            (C.SERVER, None),
            (C.RATE_LIMIT, 60.0),
            (C.UNSUPPORTED, None),
        ],
    )
    @pytest.mark.parametrize("attempts", [1, 3])
    def test_an_open_breaker_is_probed_before_the_call_fails(
        self, category: FailureCategory, hint: float | None, attempts: int
    ) -> None:
        behaves = {"blue:m": fails(category, hint=hint)}
        world = World({"f": ["red:m", "blue:m"]}, f"[features.f]\nattempts = {attempts}", behaves=behaves)
        world.open(world.circuit())

        called = world.call()

        assert called.receipt is not None
        assert (called.tried[0], called.tried[-1]) == ("blue:m", "red:m")

    def test_a_cooldown_is_waited_for(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"blue:m": fails(C.MODEL_NOT_FOUND)})
        world.health.start_cooldown(world.circuit(), 5, C.RATE_LIMIT)

        called = world.call()

        assert (called.tried, called.waits) == (["blue:m", "red:m"], [5])

    def test_it_is_not_asked_after_a_failure_that_ends_the_call(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"blue:m": fails(C.REJECTED)})
        world.open(world.circuit())

        assert world.call().tried == ["blue:m"]

    def test_retries_leave_it_a_request(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, "[features.f]\nmax_attempts = 3", behaves={"blue:m": DOWN})
        world.open(world.circuit())

        assert world.call().tried == ["blue:m", "blue:m", "red:m"]

    def test_it_takes_no_time_from_what_is_well(self) -> None:
        world = World({"f": ["red:m", "blue:m"]}, "[features.f]\ndeadline = 30")
        world.open(world.circuit())

        assert world.call().steps[0].seconds == 30

    @pytest.mark.parametrize("tries", [1, 3])
    def test_the_only_endpoint_is_probed_after_rate_limits_that_said_nothing(self, tries: int) -> None:
        moods = [fails(C.RATE_LIMIT, 429)] * tries + [OK]
        world = World({"f": "red:m"}, f"[features.f]\nattempts = {tries}", behaves={"red:m": moods})
        assert isinstance(world.call().error, RateLimitedError)

        called = [world.call() for _ in range(5)]

        assert [len(one.tried) for one in called] == [1] * 5
        assert all(one.receipt for one in called)

    def test_a_call_that_has_waited_for_a_limit_still_probes_what_then_rests(self) -> None:
        """A limit says nothing of the circuit: that it had opened often before is no reason to give up."""
        slow_down = fails(C.RATE_LIMIT, 429)
        moods = [DOWN, *[slow_down, OK] * IN_A_ROW, fails(C.SERVER, 503, seconds=2), OK]
        row = "[features.f]\nattempts = 1\nlimits = { concurrency = 1 }"
        world = World({"f": "red:m"}, row, behaves={"red:m": moods})
        for _ in moods[:-2]:
            world.call()
            world.pass_time(60)
        world.start()
        world.pass_time(1)
        world.start()
        world.pass_time(0.5)

        world.open(world.circuit())

        *_, first, second = world.run()
        assert first.error is not None
        assert second.receipt is not None


class TestAfterACooldown:
    """One request tries; the others use what is there, or wait for its outcome."""

    def herd(self, chain: list[str], red: Reply) -> World:
        world = World({"f": chain}, behaves={"red:m": red})
        world.health.start_cooldown(world.circuit(), 10, C.RATE_LIMIT)
        world.pass_time(10)
        for _ in range(30):
            world.start()
        return world

    def test_others_use_what_is_there(self) -> None:
        world = self.herd(["red:m", "blue:m"], fails(C.RATE_LIMIT, 429, hint=60, seconds=0.1))

        assert all(called.receipt for called in world.run())
        assert len(world.sent_to("red:m")) == 1

    def test_who_has_nothing_else_waits_for_the_outcome(self) -> None:
        world = self.herd(["red:m"], ok(0.1))

        called = world.run()

        assert all(one.receipt for one in called)
        assert sorted(request.started for request in world.requests) == [10] + [10.5] * 29

    @pytest.mark.parametrize("hint", [None, 0.5, 1.0, 14.0])
    @pytest.mark.parametrize("category", [C.RATE_LIMIT, C.SERVER, C.TIMEOUT])
    @pytest.mark.parametrize("callers", [1, 30])
    def test_who_tries_in_vain_moves_on_as_well(
        self, hint: float | None, category: FailureCategory, callers: int
    ) -> None:
        world = World({"f": ["red:m", "blue:m"]}, behaves={"red:m": fails(category, hint=hint, seconds=0.1)})
        world.health.start_cooldown(world.circuit(), 10, C.RATE_LIMIT)
        world.pass_time(10)
        for _ in range(callers):
            world.start()

        called = world.run()

        assert [one.tried for one in called] == [["red:m", "blue:m"]] + [["blue:m"]] * (callers - 1)
        assert called[0].waits == []

    def test_who_tries_in_vain_and_has_nothing_else_waits_as_the_others_do(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": [fails(C.RATE_LIMIT, 429, hint=3), OK]})
        world.health.start_cooldown(world.circuit(), 10, C.RATE_LIMIT)
        world.pass_time(10)

        called = world.call()

        assert (called.tried, called.waits) == (["red:m"] * 2, [3])
        assert called.receipt is not None

    @pytest.mark.parametrize("category", [C.SERVER, C.RATE_LIMIT])
    def test_who_tries_in_vain_does_not_try_again_if_a_rest_began(self, category: FailureCategory) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category)})
        world.open(world.circuit())
        world.pass_time(31)

        assert len(world.call().tried) == 1

    def test_those_who_wait_send_nothing_if_the_limit_still_holds(self) -> None:
        world = self.herd(["red:m"], fails(C.RATE_LIMIT, 429, hint=60, seconds=0.1))

        assert all(isinstance(called.error, RateLimitedError) for called in world.run())
        assert len(world.requests) == 1


class TestBrownOut:
    """A provider that fails now and then, and one that does nothing else."""

    def failing(self, *, seed: int, together: int, fault: float, answer: float, calls: int = 400) -> World:
        """One request in five fails, after ``fault`` seconds; an answer takes ``answer``."""
        chance = random.Random(seed)  # noqa: S311 - a provider's bad luck

        def reply(_: float) -> Reply:
            return DOWN._replace(seconds=fault) if chance.random() < 1 / 5 else ok(answer)

        world = World({"f": "red:m"}, behaves={"red:m": reply})
        for number in range(calls):
            world.start(at=10.0 * (number // together))
        return world

    @pytest.mark.parametrize("together", [1, 10, 100, 400])
    @pytest.mark.parametrize(("fault", "answer"), [(0.05, 0.3), (0.3, 0.05), (0.1, 0.1), (0.02, 1.0)])
    def test_of_one_in_five_failures_callers_see_fewer_than_one_in_fifty(
        self, together: int, fault: float, answer: float
    ) -> None:
        """Three tries of each call would leave 3.2 of 400."""
        failed = []
        for seed in range(8):
            called = self.failing(seed=seed, together=together, fault=fault, answer=answer).run()
            failed.append(sum(one.error is not None for one in called))

        assert sum(failed) / len(failed) < 5
        assert max(failed) < 16, "nobody's bad luck is everybody's"

    @pytest.mark.parametrize("together", [1, 10, 100, 400])
    def test_answers_of_before_make_no_storm_of_an_outage(self, together: int) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": {0.0: ok(0.1), 5.0: DOWN}})
        for number in range(1000):
            world.start(at=4.0 * number / 1000)
        for number in range(400):
            world.start(at=5.0 + number // together)

        world.run()

        assert sum(request.started >= 5 for request in world.requests) <= 1.3 * 400

    @pytest.mark.parametrize("category", [C.SERVER, C.CONNECT, C.TIMEOUT, C.RATE_LIMIT])
    @pytest.mark.parametrize("together", [1, 10, 100])
    @pytest.mark.parametrize("hint", [None, 1.0])
    def test_an_outage_is_not_made_a_storm(
        self, category: FailureCategory, together: int, hint: float | None
    ) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": fails(category, hint=hint, seconds=0.05)})
        for number in range(100):
            world.start(at=5.0 * (number // together))

        world.run()

        assert len(world.requests) <= 130

    def test_an_outage_for_many_users_neither(self) -> None:
        world = World({"f": "red:m"}, behaves={"red:m": DOWN})
        for number in range(100):
            world.start(caller=users_own("red", name=f"user{number}"), at=number / 2)

        called = world.run()

        assert len(world.requests) <= 130
        assert max(one.seconds for one in called) < 20, "nobody waits longer than for a cooldown"

    @pytest.mark.parametrize("chain", [["red:m"], ["red:m", "blue:m"]])
    def test_a_spent_budget_leaves_a_call_with_nothing_else_its_retry(self, chain: list[str]) -> None:
        world = World({"f": chain}, behaves={one: [DOWN, OK] for one in chain})
        for provider in ("red", "blue"):
            while world.health.try_spend_retry(f"{provider} for the house"):
                pass

        called = world.call()

        assert called.receipt is not None
        assert called.tried == [*chain, "red:m"]


def reasons(called: Called) -> Any:
    return [(str(skip.endpoint), skip.code.value) for skip in called.route.skipped]


def test_an_unavailable_endpoint_is_skipped_with_the_reason_and_shown_by_explain() -> None:
    world = World({"f": ["red:m", "blue:m", "green:m"]})
    world.open(world.circuit())
    world.health.start_cooldown(world.circuit(place=1), 60, C.RATE_LIMIT)

    called = world.call()

    assert reasons(called) == [("red:m", "open"), ("blue:m", "cooling")]
    assert "it failed on its own side again and again; left alone for 30 s more" in str(called.route)
