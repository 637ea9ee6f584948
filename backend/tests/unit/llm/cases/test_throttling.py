"""UC1: an endpoint that asks for fewer requests is left alone for a while, and nobody waits longer than they said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.utils.llm.caller import Caller
from backend.utils.llm.errors import RateLimitedError, RejectedCredentialError
from backend.utils.llm.testing import Status

if TYPE_CHECKING:
    from ..drivers import Driver
    from .conftest import Lab

P, S = "openai:p", "openai:s"
ONCE = "attempts = 1"
BUSY = Status(429)
TOLD = Status(429, retry_after=30)


def with_key(key: str) -> Caller:
    return Caller(user_id=key, keys={"openai": SecretStr(key)})


class TestLeftAlone:
    """1a, 1b: for 30 seconds, or for as long as the provider says."""

    def test_a_throttled_endpoint_is_passed_over_for_thirty_seconds(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(P, S, row=ONCE)
        lab.answers("p", BUSY, "p")
        lab.answers("s", "s")

        assert lab.ask(call).text == "s"
        assert lab.asked == ["p", "s"]
        lab.later(5)
        assert lab.ask(call).text == "s"
        assert lab.asked == ["s"]
        lab.later(26)
        assert lab.ask(call).text == "p"
        assert lab.asked == ["p"]

    def test_of_ours_it_is_asked_three_times_before_it_counts_as_throttled(
        self, call: Driver, lab: Lab
    ) -> None:
        """The page moves on at once; ours retries a 429 with backoff first (docs/reference/attempts.md)."""
        lab.runs_on(P, S)
        lab.answers("p", BUSY)
        lab.answers("s", "s")

        lab.ask(call)

        assert lab.asked == ["p", "p", "p", "s"]
        lab.ask(call)
        assert lab.asked == ["s"]

    def test_the_provider_s_own_word_goes_before_the_thirty_seconds(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(P, S, row=ONCE)
        lab.answers("p", Status(429, retry_after=7), "p")
        lab.answers("s", "s")
        lab.ask(call)

        lab.later(6.9)
        assert lab.ask(call).text == "s"
        lab.later(0.2)
        assert lab.ask(call).text == "p"
        assert lab.asked == ["p", "s", "s", "p"]

    def test_an_absurd_word_counts_as_an_hour_and_the_chain_goes_on(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(P, S, row=ONCE)
        lab.answers("p", Status(429, retry_after=400_000), "p")
        lab.answers("s", "s")
        assert lab.ask(call).text == "s"

        (skipped,) = lab.patchbay.explain("f").skipped
        assert skipped.rest is not None
        assert skipped.rest.seconds == 3600
        assert "left alone for 3600 s more" in skipped.reason
        lab.later(3601)
        assert lab.ask(call).text == "p"

    def test_who_answers_in_the_meantime_says_that_it_is_second_best(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(P, S, row=ONCE)
        lab.answers("p", BUSY)
        lab.answers("s", "s")
        lab.ask(call)

        assert lab.ask(call).response_metadata["receipt"]["degraded"]


class TestAllThrottled:
    """1c: the soonest is waited for, if the feature's ``wait`` lasts so long; else nothing is sent."""

    def throttle_one_after_the_other(self, call: Driver, lab: Lab, wait: float) -> None:
        """Endpoint a at 0 s, b at 2 s, c at 4 s, each for 30; it is 10 s now."""
        lab.runs_on("openai:a", "openai:b", "openai:c", row=f"{ONCE}\nwait = {wait}")
        lab.answers("a", TOLD, "a")
        lab.answers("b", "b", TOLD, "b")
        lab.answers("c", "c", TOLD, "c")
        lab.ask(call)
        lab.later(2)
        lab.ask(call)
        lab.later(2)
        with pytest.raises(RateLimitedError):
            lab.ask(call)
        lab.later(6)
        assert lab.asked == ["a", "b", "b", "c", "c"]

    def test_a_call_sleeps_exactly_until_the_first_is_back(self, call: Driver, lab: Lab) -> None:
        self.throttle_one_after_the_other(call, lab, wait=20)

        assert lab.ask(call).text == "a"
        assert lab.time.slept == [20]
        assert lab.asked == ["a"]

    def test_a_call_that_may_not_wait_so_long_fails_at_once_with_when_to_come_back(
        self, call: Driver, lab: Lab
    ) -> None:
        self.throttle_one_after_the_other(call, lab, wait=5)

        with pytest.raises(RateLimitedError) as caught:
            lab.ask(call)

        assert caught.value.retry_after == 20
        assert all(name in str(caught.value) for name in ("openai:a", "openai:b", "openai:c"))
        assert caught.value.attempts == ()
        assert lab.asked == []
        assert lab.time.slept == []


class TestRefusedKeys:
    """1e: a refused key is no throttle."""

    def test_a_user_s_refused_key_ends_the_call_and_no_other_key_is_tried(
        self, call: Driver, lab: Lab
    ) -> None:
        lab.runs_on(P, "gemini:s", row="house_fallback = true")
        lab.answers("p", Status(401))
        caller = Caller(
            keys={"openai": SecretStr("user-key"), "gemini": SecretStr("good-key")},
            key_policy="byok_then_house",
        )

        with pytest.raises(RejectedCredentialError):
            lab.ask(call, caller=caller)

        assert lab.accounts == ["user-key"]

    def test_a_user_who_mended_their_key_need_not_wait(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(P)
        lab.answers("p", Status(401), "p")
        with pytest.raises(RejectedCredentialError):
            lab.ask(call, caller=with_key("user-key"))

        assert lab.ask(call, caller=with_key("user-key")).text == "p"
        assert lab.time.slept == []

    def test_a_refused_house_key_cools_down_and_another_of_its_keys_serves(
        self, call: Driver, lab: Lab
    ) -> None:
        """The page stops; ours tries the house's next key (docs/reference/attempts.md)."""
        lab.runs_on(P, S, "gemini:t")
        lab.answers("p", Status(401), "p")
        lab.answers("t", "t")

        assert lab.ask(call).text == "t"
        assert lab.ask(call).text == "t"
        assert lab.asked == ["p", "t", "t"]
        lab.later(301)
        assert lab.ask(call).text == "p"


class TestPerKey:
    """1f: what one key did is nothing to another."""

    def test_one_user_s_throttle_does_not_hold_another_back(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(P, row=ONCE)
        lab.answers("p", TOLD, "p")
        with pytest.raises(RateLimitedError):
            lab.ask(call, caller=with_key("ann"))

        assert lab.ask(call, caller=with_key("bob")).text == "p"
        with pytest.raises(RateLimitedError):
            lab.ask(call, caller=with_key("ann"))
        assert lab.accounts == ["ann", "bob"]
