"""UC2: several accounts, or several endpoints, each as good as the other, share the work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.errors import AllAttemptsFailedError
from backend.utils.llm.testing import Status

from ..drivers import invoke

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from ..drivers import Driver
    from .conftest import Lab, Log

ONE = "pool:m"
TWO = ("openai:x", "openai:y")
DOWN = Status(503)
BALANCED = ["least_used", "least_busy", "weighted", "quota"]


def select(by: str) -> str:
    return f'select = "{by}"'


class TestLeastUsed:
    """2a: as many requests to the one as to the other."""

    def test_calls_take_turns(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("least_used"), more=lab.pool())

        for _ in range(3):
            lab.ask(call)

        assert lab.accounts == ["a", "b", "a"]

    def test_many_calls_are_shared_in_halves(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("least_used"), more=lab.pool())

        for _ in range(40):
            lab.ask(call)

        accounts = lab.accounts
        assert (accounts.count("a"), accounts.count("b")) == (20, 20)

    def test_calls_are_shared_among_several_endpoints(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(*TWO, row=select("least_used"))

        for _ in range(4):
            lab.ask(call)

        assert lab.asked == ["x", "y", "x", "y"]

    def test_no_answer_is_second_best(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(*TWO, row=select("least_used"))

        answers = [lab.ask(call) for _ in range(2)]

        assert [answer.response_metadata["receipt"]["degraded"] for answer in answers] == [False, False]

    def test_an_account_that_was_long_idle_is_not_flooded_to_catch_up(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(*TWO, row=select("least_used"))
        lab.answers("x", DOWN, "x")
        for _ in range(2):
            lab.ask(call)
        assert lab.asked == ["x", "y", "x"]

        lab.later(3600)
        for _ in range(4):
            lab.ask(call)
        assert sorted(lab.asked) == ["x", "x", "y", "y"]


class TestFailures:
    """2c, 2f: what one cannot do the other does, and that counts too."""

    @pytest.mark.parametrize("by", BALANCED)
    def test_the_other_account_takes_over_at_once(self, call: Driver, lab: Lab, by: str) -> None:
        lab.runs_on(ONE, row=select(by), more=lab.pool('limits = { requests = "100/day" }'))
        lab.answers("m", DOWN, "m")

        assert lab.ask(call).text == "m"

        assert lab.accounts == ["a", "b"]
        assert lab.time.slept == []

    def test_the_request_that_took_over_is_counted(self, call: Driver, lab: Lab) -> None:
        lab.runs_on("openai:x", "openai:y", "openai:z", row=select("least_used"))
        lab.answers("x", DOWN, "x")

        for _ in range(3):
            lab.ask(call)

        assert lab.asked == ["x", "y", "z", "x"]

    def test_one_that_fails_again_and_again_is_no_longer_asked(self, call: Driver, lab: Lab) -> None:
        """Ours: after five failures in a row, not after the first (docs/reference/attempts.md, Health)."""
        lab.runs_on(*TWO, row=select("least_used"))
        lab.answers("x", DOWN)
        lab.answers("y", "y")
        while lab.asked.count("x") or lab.patchbay.explain("f").skipped == ():
            lab.ask(call)

        for _ in range(5):
            assert lab.ask(call).text == "y"
        assert lab.asked == ["y"] * 5

    def test_if_all_fail_one_error_lists_each_in_order(self, call: Driver, lab: Lab, log: Log) -> None:
        lab.runs_on(ONE, row=f"attempts = 1\n{select('least_used')}", more=lab.pool())
        lab.answers("m", DOWN)

        with pytest.raises(AllAttemptsFailedError) as caught:
            lab.ask(call)

        assert log(caught.value.attempts) == [("a", "server"), ("b", "server")]
        assert all(attempt.duration.total_seconds() >= 0 for attempt in caught.value.attempts)
        assert "pool:m (a)" in str(caught.value)
        assert "pool:m (b)" in str(caught.value)

    def test_before_an_account_is_asked_again_all_are_asked_once(
        self, call: Driver, lab: Lab, log: Log
    ) -> None:
        lab.runs_on(ONE, row=f"attempts = 2\n{select('least_used')}", more=lab.pool())
        lab.answers("m", DOWN)

        with pytest.raises(AllAttemptsFailedError) as caught:
            lab.ask(call)

        accounts = [account for account, _ in log(caught.value.attempts)]
        assert accounts[:2] == ["a", "b"]
        assert sorted(accounts[2:]) == ["a", "b"]


class TestWeights:
    """2d: three to one, in an order that is smooth and the same every time."""

    def test_endpoints_are_asked_as_often_as_their_weights_say(self, call: Driver, lab: Lab) -> None:
        weights = 'select = { by = "weighted", weights = { "openai:x" = 3 } }'
        lab.runs_on(*TWO, row=weights)

        for _ in range(40):
            lab.ask(call)

        asked = lab.asked
        assert (asked.count("x"), asked.count("y")) == (30, 10)
        assert asked[:4] == ["x", "x", "y", "x"]

    def test_accounts_are_asked_as_often_as_their_weights_say(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("weighted"), more=lab.pool(a="weight = 3"))

        for _ in range(40):
            lab.ask(call)

        accounts = lab.accounts
        assert (accounts.count("a"), accounts.count("b")) == (30, 10)

    def test_the_accounts_of_an_endpoint_share_its_weight(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(ONE, "openai:x", row=select("weighted"), more=lab.pool())

        for _ in range(8):
            lab.ask(call)

        asked = lab.asked
        assert (asked.count("m"), asked.count("x")) == (4, 4)

    @pytest.mark.parametrize("by", [*BALANCED, "latency"])
    def test_what_explain_shows_first_is_asked_first(self, call: Driver, lab: Lab, by: str) -> None:
        limits = '[providers.openai.limits]\nrequests = "1000/day"'
        lab.runs_on(*TWO, "openai:z", row=select(by), more=limits)

        for _ in range(8):
            shown = lab.patchbay.explain("f").candidates[0].endpoint.model
            lab.ask(call)
            assert lab.asked == [shown]

    def test_explaining_does_not_advance_the_rotation(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(*TWO, row=select("weighted"))
        lab.ask(call)

        first = {lab.patchbay.explain("f").candidates[0].endpoint.model for _ in range(3)}
        lab.ask(call)

        assert first == {"y"}
        assert lab.asked == ["x", "y"]


class TestLeastBusy:
    """2e: whoever has something to do is spared."""

    def test_an_endpoint_is_not_busy_while_its_answer_is_tested(self, call: Driver, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("least_busy"), more=lab.pool())

        def meanwhile(_: object) -> bool:
            lab.ask(invoke)
            return True

        lab.ask(call, accept=meanwhile)
        lab.ask(call)

        assert lab.accounts == ["a", "b", "a"]

    def test_a_stream_keeps_its_account_busy_until_it_is_read(self, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("least_busy"), more=lab.pool())

        reading = lab.llm().stream("hi")
        next(reading)
        for _ in range(2):
            lab.ask(invoke)
        list(reading)
        lab.ask(invoke)

        assert lab.accounts == ["a", "b", "b", "a"]

    def test_an_asynchronous_stream_keeps_its_account_busy_until_it_is_read(self, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("least_busy"), more=lab.pool())

        async def read() -> None:
            reading = lab.llm().astream("hi")
            await anext(reading)
            for _ in range(2):
                await lab.llm().ainvoke("hi")
            async for _ in reading:
                pass
            await lab.llm().ainvoke("hi")

        asyncio.run(read())

        assert lab.accounts == ["a", "b", "b", "a"]

    def test_calls_that_come_at_once_are_spread(self, lab: Lab) -> None:
        lab.runs_on(ONE, row=select("least_busy"), more=lab.pool())

        async def four() -> list[AIMessage]:
            return await asyncio.gather(*(lab.llm().ainvoke("hi") for _ in range(4)))

        asyncio.run(four())

        assert sorted(lab.accounts) == ["a", "a", "b", "b"]
