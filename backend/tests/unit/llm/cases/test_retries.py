"""UC6: what may pass is tried again after a wait, what will not pass is not, and nobody waits past the deadline."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallError,
    LLMError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RejectedCredentialError,
    RejectedRequestError,
    StreamInterruptedError,
)
from backend.utils.llm.testing import Cut, Empty, Status
from backend.utils.llm.testing.virtual_time import VirtualTime
from backend.utils.llm.transport import TicketRegistry

from ..samples import receipt

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from backend.utils.llm.model_config import Provider
    from backend.utils.llm.testing import Reply
    from backend.utils.llm.transport import Credential, Ticket

    from ..drivers import Driver
    from .conftest import Lab, Log

P, S, ELSEWHERE = "openai:p", "openai:s", "gemini:g"
DOWN, BUSY = Status(503), Status(429)
ALWAYS_ANOTHER_FAULT: list[Reply] = [DOWN, BUSY, Empty(), DOWN, BUSY, Empty()]
BOUNDS = [0.5, 1, 2, 4, 8, 8]


def outcomes(message: AIMessage) -> list[str]:
    return [attempt["outcome"] for attempt in receipt(message)["attempts"]]


def seconds(error: LLMError) -> list[float]:
    """When each attempt began, since the first."""
    return [(attempt.started - error.attempts[0].started).total_seconds() for attempt in error.attempts]


class TestSameEndpoint:
    """6a, 6b: at most three times, as docs/reference/attempts.md has it."""

    def test_what_passes_is_tried_again_where_it_failed(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", DOWN, DOWN, "p")

        answer = lab.ask(call)

        assert lab.asked == ["p", "p", "p"]
        assert outcomes(answer) == ["failed", "failed", "ok"]
        assert lab.time.slept == [0.25, 0.5]

    def test_of_ours_after_three_requests_the_next_is_asked_at_once(self, lab: Lab, call: Driver) -> None:
        """The page's budget is five retries; ours three requests, so that a person need not wait half a minute."""
        lab.runs_on(P, S)
        lab.answers("p", DOWN)
        lab.answers("s", "s")

        assert lab.ask(call).text == "s"

        assert lab.asked == ["p", "p", "p", "s"]
        assert len(lab.time.slept) == 2

    def test_each_endpoint_has_retries_of_its_own(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", DOWN)
        lab.answers("s", DOWN, "s")

        lab.ask(call)

        assert lab.asked == ["p", "p", "p", "s", "s"]
        assert lab.time.slept == [0.25, 0.5, 0.25]

    @pytest.mark.parametrize("attempts", [1, 2])
    def test_a_feature_may_want_fewer(self, lab: Lab, call: Driver, attempts: int) -> None:
        lab.runs_on(P, S, row=f"attempts = {attempts}")
        lab.answers("p", DOWN)

        lab.ask(call)

        assert lab.asked == ["p"] * attempts + ["s"]


class TestOthersAtOnce:
    """6c, 6d: what will not pass."""

    @pytest.mark.parametrize(
        "reply",
        [
            Status(404),
            Status(403, error_code="model_not_found"),
            Status(400, error_code="unsupported_parameter"),
        ],
        ids=["no such model", "no access to the model", "unsupported parameter"],
    )
    def test_what_is_wrong_with_an_endpoint_goes_to_the_next_at_once(
        self, lab: Lab, call: Driver, reply: Reply
    ) -> None:
        lab.runs_on(P, S)
        lab.answers("p", reply)
        lab.answers("s", "s")

        assert lab.ask(call).text == "s"

        assert lab.asked == ["p", "s"]
        assert lab.time.slept == []

    @pytest.mark.parametrize("status", [400, 422])
    def test_what_is_wrong_with_the_request_goes_nowhere(self, lab: Lab, call: Driver, status: int) -> None:
        lab.runs_on(P, ELSEWHERE)
        lab.answers("p", Status(status))

        with pytest.raises(RejectedRequestError):
            lab.ask(call)

        assert lab.asked == ["p"]
        assert lab.time.slept == []

    def test_a_refused_key_is_not_tried_again_here_or_at_another_model(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", Status(401))

        with pytest.raises(RejectedCredentialError):
            lab.ask(call)

        assert lab.asked == ["p"]

    def test_another_key_of_the_house_is_tried(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", more=lab.pool())
        lab.answers("m", Status(401), "m")

        assert lab.ask(call).text == "m"

        assert lab.accounts == ["a", "b"]


class TestThrottled:
    """6e: a provider's word decides whether waiting pays."""

    def test_a_short_word_is_waited_for_exactly(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", Status(429, retry_after=2), "p")

        assert lab.ask(call).text == "p"

        assert lab.time.slept == [2]

    def test_a_long_one_is_not_while_there_is_another(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", Status(429, retry_after=60))
        lab.answers("s", "s")

        assert lab.ask(call).text == "s"

        assert lab.asked == ["p", "s"]
        assert lab.time.slept == []

    def test_a_long_hint_is_not_waited_for_without_an_alternative(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P)
        lab.answers("p", Status(429, retry_after=60))

        with pytest.raises(RateLimitedError) as caught:
            lab.ask(call)

        assert caught.value.retry_after == 60
        assert lab.time.slept == []

    @pytest.mark.parametrize(("wait", "models"), [(14.9, ["p", "s"]), (15, ["p", "p"])])
    def test_how_long_is_too_long_is_the_feature_s_to_say(
        self, lab: Lab, call: Driver, wait: float, models: list[str]
    ) -> None:
        lab.runs_on(P, S, row=f"wait = {wait}")
        lab.answers("p", Status(429, retry_after=15), "p")

        lab.ask(call)

        assert lab.asked == models

    def test_a_used_up_quota_is_never_tried_again_with_that_key(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", Status(429, error_code="insufficient_quota"))

        with pytest.raises(QuotaExceededError):
            lab.ask(call)

        assert lab.asked == ["p"]
        assert lab.time.slept == []


class Tickets(TicketRegistry):
    """Notes how long each attempt may take."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.time.clock)
        self.seconds: list[float] = []
        lab.patchbay.runtime.transport.tickets = self

    def open(
        self, provider: Provider, credential: Credential, seconds: float, connect_seconds: float = 5.0
    ) -> Ticket:
        self.seconds.append(seconds)
        return super().open(provider, credential, seconds, connect_seconds)


class TestDeadline:
    """6f: a sleep that would cross the deadline is not begun."""

    SLOW_TO_RECOVER = Status(503, retry_after=6)

    def test_the_next_endpoint_is_asked_instead(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S, row="deadline = 10")
        lab.answers("p", self.SLOW_TO_RECOVER)
        lab.answers("s", "s")

        assert lab.ask(call).text == "s"

        assert lab.asked == ["p", "p", "s"]
        assert lab.time.slept == [6]

    def test_without_another_the_call_ends_at_once_with_what_was_tried(self, lab: Lab, call: Driver) -> None:
        """Ours says how the endpoint failed, and when to come back; the page wants a deadline's error."""
        lab.runs_on(P, row="deadline = 10")
        lab.answers("p", self.SLOW_TO_RECOVER)

        with pytest.raises(ProviderDownError) as caught:
            lab.ask(call)

        assert seconds(caught.value) == [0, 6]
        assert caught.value.retry_after == 6
        assert lab.time.clock() == 6

    @pytest.mark.parametrize("deadline", [0.5, 1, 2, 5, 10])
    def test_no_sleep_is_longer_than_what_is_left(self, lab: Lab, call: Driver, deadline: float) -> None:
        lab.runs_on(P, S, row=f"deadline = {deadline}\nattempts = 10")
        lab.answers("p", *ALWAYS_ANOTHER_FAULT)
        lab.answers("s", *ALWAYS_ANOTHER_FAULT)

        with pytest.raises(CallError):
            lab.ask(call)

        assert lab.time.clock() < deadline

    def test_an_attempt_may_take_what_is_left_and_no_more(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, row="deadline = 10")
        lab.answers("p", self.SLOW_TO_RECOVER, "p")

        tickets = Tickets(lab)

        lab.ask(call)

        assert tickets.seconds == pytest.approx([10, 4])

    def test_while_others_are_left_two_thirds_of_it(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P, S, row="deadline = 9\nattempts = 1")
        lab.answers("p", DOWN)

        tickets = Tickets(lab)

        lab.ask(call)

        assert tickets.seconds == pytest.approx([6, 9])


class TestJitter:
    """6g: anything from nothing to a bound that doubles from 0.5 to 8 seconds."""

    @pytest.mark.parametrize("random", [0.0, 0.25, 0.999])
    def test_each_wait_is_its_share_of_the_bound(self, lab: Lab, call: Driver, random: float) -> None:
        time = VirtualTime(random)
        lab.runs_on(P, row="attempts = 10", time=time.time)
        lab.answers("p", *ALWAYS_ANOTHER_FAULT, "p")

        lab.ask(call)

        waits = time.slept or [0.0] * len(BOUNDS)
        assert waits == pytest.approx([random * bound for bound in BOUNDS])

    @pytest.mark.parametrize("seed", range(5))
    def test_no_two_waits_are_alike_and_none_is_beyond_its_bound(
        self, lab: Lab, call: Driver, seed: int
    ) -> None:
        seeded = Random(seed)  # noqa: S311 - jitter is no secret
        lab.runs_on(P, row="attempts = 10", time=replace(lab.time.time, random=seeded.random))
        lab.answers("p", *ALWAYS_ANOTHER_FAULT, "p")

        lab.ask(call)

        waits = lab.time.slept
        assert len(set(waits)) == len(BOUNDS)
        assert all(0 <= wait <= bound for wait, bound in zip(waits, BOUNDS, strict=True))


class TestRecords:
    """6i, 6j: what arrived is what is reported."""

    @pytest.mark.parametrize("reply", [DOWN, BUSY, Empty(), Cut(0, "one")], ids=str)
    def test_the_requests_that_arrived_are_the_attempts_in_the_error(
        self, lab: Lab, call: Driver, log: Log, reply: Reply
    ) -> None:
        lab.runs_on(P, S)
        lab.answers("p", reply)
        lab.answers("s", reply)

        with pytest.raises(AllAttemptsFailedError) as caught:
            lab.ask(call)

        assert lab.asked == [model for model, _ in log(caught.value.attempts)]

    def test_each_says_when_it_began_and_how_long_it_took(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(P)
        lab.answers("p", DOWN)

        with pytest.raises(ProviderDownError) as caught:
            lab.ask(call)

        assert seconds(caught.value) == [0, 0.25, 0.75]
        assert all(isinstance(attempt.duration, timedelta) for attempt in caught.value.attempts)
        assert all(attempt.started.tzinfo is not None for attempt in caught.value.attempts)

    def test_after_its_first_chunk_a_stream_is_not_tried_again(self, lab: Lab, stream: Driver) -> None:
        lab.runs_on(P, S)
        lab.answers("p", Cut(2, "one two three"))

        with pytest.raises(StreamInterruptedError) as caught:
            lab.ask(stream)

        assert caught.value.partial == "one two "
        assert lab.asked == ["p"]

    def test_before_it_the_next_is_asked_unseen(self, lab: Lab, stream: Driver) -> None:
        lab.runs_on(P, S, row="attempts = 1")
        lab.answers("p", Cut(0, "one two three"))
        lab.answers("s", "four")

        assert lab.ask(stream).text == "four"
