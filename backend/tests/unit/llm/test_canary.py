"""An endpoint on trial gets a share of the callers, always the same ones, and loses it when it does worse."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.tests.fakes.simulation import World, fails, ok
from backend.utils.llm import Caller
from backend.utils.llm.errors import RejectedCredentialError, RejectedRequestError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.testing import Status
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from backend.tests.fakes.simulation import Behaviour
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

CONTROL, TRIAL = "openai:gpt-6-luna", "openai:gpt-6.1-terra"
USERS = [Caller(user_id=f"user-{number}") for number in range(200)]


def split(percent: float, stop: str = "") -> str:
    return f'[features.f]\nsplit = {{ "{TRIAL}" = {percent} }}\n{stop}'


def arm(answer: AIMessage) -> str:
    return str(answer.response_metadata["receipt"]["arm"])


def served(answer: AIMessage) -> str:
    return str(answer.response_metadata["receipt"]["endpoint"])


class TestWhoGetsWhat:
    def test_the_receipt_names_the_arm_and_the_arm_decides_the_endpoint(
        self, make: Make, call: Driver
    ) -> None:
        patchbay = make(CONTROL, split(30))
        answers = [call(patchbay.get_llm("f", caller=user), "hi") for user in USERS[:40]]

        assert {(arm(answer), served(answer)) for answer in answers} == {(TRIAL, TRIAL), ("control", CONTROL)}
        assert not any(answer.response_metadata["receipt"]["degraded"] for answer in answers)

    def test_a_user_stays_in_their_arm_in_every_process(self, make: Make) -> None:
        here, there = make(CONTROL, split(30)), make(CONTROL, split(30))

        assert [shown(here, user) for user in USERS] == [shown(there, user) for user in USERS]

    def test_a_conversation_without_a_user_stays_in_its_arm(self, make: Make) -> None:
        patchbay = make(CONTROL, split(50))
        arms = {shown(patchbay, Caller(conversation_id="c7")) for _ in range(10)}

        assert len(arms) == 1

    def test_a_share_that_grows_keeps_those_who_were_in_it(self, make: Make) -> None:
        small, large = make(CONTROL, split(5)), make(CONTROL, split(50))
        on_trial = [user for user in USERS if shown(small, user) == TRIAL]

        assert on_trial
        assert all(shown(large, user) == TRIAL for user in on_trial)

    def test_without_a_split_there_is_no_arm(self, make: Make, call: Driver) -> None:
        answer = call(make(CONTROL).get_llm("f"), "hi")

        assert answer.response_metadata["receipt"]["arm"] is None

    def test_what_is_on_trial_falls_back_to_the_control(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        provider.always(Status(503), model="gpt-6.1-terra")

        answer = call(make(CONTROL, split(100)).get_llm("f"), "hi")

        receipt = answer.response_metadata["receipt"]
        assert (receipt["arm"], receipt["endpoint"], receipt["degraded"]) == (TRIAL, CONTROL, True)


def shown(patchbay: Patchbay, caller: Caller) -> str:
    return str(patchbay.explain("f", caller=caller).candidates[0].endpoint)


def trial(behaves: dict[str, Behaviour], stop: str = "stop = { after = 20 }", calls: int = 400) -> World:
    """A simulated feature with half of its callers on trial, after so many calls, ten a second."""
    world = World(
        {"f": "red:small"}, f'[features.f]\nsplit = {{ "blue:small" = 50 }}\n{stop}', behaves=behaves
    )
    for number in range(calls):
        world.start(caller=Caller(user_id=f"user-{number}"), at=number * 0.1)
    world.run()
    return world


def late(world: World) -> Counter[str]:
    """Who was asked in the second half."""
    half = len(world.requests) // 2
    return Counter(str(request.candidate.endpoint) for request in world.requests[half:])


class TestWhenItEnds:
    def test_a_trial_that_does_as_well_goes_on(self) -> None:
        assert late(trial({"red:small": ok(0.5), "blue:small": ok(0.5)}))["blue:small"] > 50

    def test_it_ends_when_more_requests_fail_and_the_log_says_so_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        half = [ok(), fails(FailureCategory.REFUSAL)] * 200
        with caplog.at_level(logging.ERROR):
            world = trial({"blue:small": list(half)})

        assert late(world)["blue:small"] == 0
        (told,) = caplog.messages
        assert told.startswith("the trial of blue:small at 50 % for f was stopped: ")
        assert "requests failed" in told

    def test_it_ends_when_answers_take_too_long(self) -> None:
        assert late(trial({"red:small": ok(0.5), "blue:small": ok(1.0)}))["blue:small"] == 0

    def test_it_goes_on_when_it_is_only_a_little_slower(self) -> None:
        assert late(trial({"red:small": ok(0.5), "blue:small": ok(0.6)}))["blue:small"] > 50

    def test_it_does_not_end_before_enough_was_seen(self) -> None:
        slow: dict[str, Behaviour] = {"red:small": ok(0.5), "blue:small": ok(1.0)}

        assert late(trial(slow, stop="stop = { after = 300 }"))["blue:small"] > 50

    @pytest.mark.parametrize(("stop", "ends"), [("cost = 2", True), ("cost = 50", False), ("", False)])
    def test_it_ends_when_answers_cost_too_much_if_the_table_says_so(
        self, make: Make, stop: str, *, ends: bool
    ) -> None:
        rule = f"stop = {{ after = 5, latency = 1000{', ' if stop else ''}{stop} }}"
        patchbay = make(CONTROL, split(50, rule))
        for user in USERS[:30]:
            patchbay.get_llm("f", caller=user).invoke("hello")

        trials = {one.arm: one for one in patchbay.get_qos_info().trials}
        assert (trials[f"{TRIAL} at 50 %"].stopped is not None) == ends

    def test_explain_says_that_it_is_over_and_why(self, provider: LoopbackProvider, make: Make) -> None:
        provider.always(Status(404), model="gpt-6.1-terra")
        patchbay = make(CONTROL, split(50, "stop = { after = 1 }"), time=VirtualTime().time)
        for user in USERS[:30]:
            patchbay.get_llm("f", caller=user).invoke("hello")

        route = patchbay.explain("f", caller=USERS[0])
        (over,) = (skip for skip in route.skipped if skip.code == "split_over")
        assert (str(over.endpoint), route.arm) == (TRIAL, "control")
        assert "1 of 1 requests failed" in over.reason

    @pytest.mark.parametrize("status", [400, 401])
    def test_what_one_caller_does_wrong_does_not_end_it(
        self, provider: LoopbackProvider, make: Make, status: int
    ) -> None:
        provider.always(Status(status), model="gpt-6.1-terra")
        patchbay = make(CONTROL, split(50, "stop = { after = 1 }"))
        clumsy = next(user for user in USERS if shown(patchbay, user) == TRIAL)
        theirs = clumsy.model_copy(update={"keys": {"openai": SecretStr("a-revoked-key")}})
        for _ in range(5):
            with pytest.raises((RejectedRequestError, RejectedCredentialError)):
                patchbay.get_llm("f", caller=theirs).invoke("hello")

        assert shown(patchbay, clumsy) == TRIAL

    def test_the_control_begins_anew_with_another_split(self) -> None:
        world = trial({"red:small": ok(0.5), "blue:small": ok(0.5)})

        assert (
            world.health.traffic.experiments.variant_results("f", "control of blue:small at 50 %").judged > 50
        )
        assert (
            world.health.traffic.experiments.variant_results("f", "control of green:small at 50 %").judged
            == 0
        )

    def test_another_share_is_another_trial(self) -> None:
        world = trial({"red:small": ok(0.5), "blue:small": ok(1.0)})
        experiments = world.health.traffic.experiments

        assert experiments.trial_stop_reason("f", "blue:small at 50 %") is not None
        assert experiments.trial_stop_reason("f", "blue:small at 10 %") is None
