"""UC7: several accounts, each with a quota; what a request may use is set aside before it is sent."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.errors import AllAttemptsFailedError, LLMError, QuotaExceededError
from backend.utils.llm.testing import Status, Text, Usage

from ..drivers import invoke
from ..samples import receipt
from .conftest import KEYS

if TYPE_CHECKING:
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from ..drivers import Driver
    from .conftest import Lab

ROW = 'select = "quota"\noptions = { max_output_tokens = 50 }'
A_HUNDRED_A_DAY = 'limits = { tokens = "100/day" }'
TEN_TOKENS = "0123456789" * 4
UNTIL_MIDNIGHT = 12 * 3600
USES_60 = Text("m", usage=Usage(10, 50))
USES_20 = Text("m", usage=Usage(10, 10))


def ask(lab: Lab, call: Driver) -> Any:
    """A call that sets 60 tokens aside: ten for the prompt, fifty for the answer."""
    return lab.ask(call, TEN_TOKENS)


class TestReservation:
    """7a: a request is sent only where all that it may use is left."""

    def test_an_account_is_left_before_it_would_be_overdrawn(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", USES_60)

        ask(lab, call)
        ask(lab, call)
        assert lab.accounts == ["a", "b"]

        with pytest.raises(QuotaExceededError) as caught:
            ask(lab, call)
        assert caught.value.retry_after == UNTIL_MIDNIGHT
        assert "100 tokens per day" in str(caught.value)
        assert lab.accounts == []

    def test_what_was_set_aside_and_not_used_is_given_back(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", USES_20)

        for _ in range(4):
            ask(lab, call)

        assert lab.accounts == ["a", "a", "a", "b"]

    def test_calls_that_come_at_once_do_not_overdraw_it_together(self, lab: Lab) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", USES_60)

        async def three() -> list[Any]:
            asked = (lab.llm().ainvoke(TEN_TOKENS) for _ in range(3))
            return await asyncio.gather(*asked, return_exceptions=True)

        said = asyncio.run(three())

        assert sorted(lab.accounts) == ["a", "b"]
        assert sum(isinstance(one, LLMError) for one in said) == 1

    def test_at_midnight_utc_it_begins_anew(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", USES_60)
        for _ in range(2):
            ask(lab, call)
        with pytest.raises(QuotaExceededError):
            ask(lab, call)

        lab.later(UNTIL_MIDNIGHT)
        ask(lab, call)

        assert lab.accounts == ["a", "b", "a"]

    def test_a_request_that_is_larger_than_the_whole_quota_is_an_error(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))

        with pytest.raises(LLMError, match="more than that alone"):
            lab.ask(call, TEN_TOKENS, max_output_tokens=91)

        assert lab.accounts == []

    def test_the_quota_that_ends_soonest_is_used_up_first(self, lab: Lab, call: Driver) -> None:
        monthly, daily = (f'limits = {{ tokens = "100/{per}" }}' for per in ("month", "day"))
        lab.runs_on("pool:m", row=ROW, more=lab.pool(a=monthly, b=daily))
        lab.answers("m", USES_60)

        ask(lab, call)
        ask(lab, call)

        assert lab.accounts == ["b", "a"]


class TestThrottles:
    """Ours: each account lets out all of its rate, and never more of it in any minute."""

    def test_two_accounts_let_out_twice_as_much_as_one(
        self, lab: Lab, virtual: VirtualTime, call: Driver
    ) -> None:
        per_minute = 'limits = { requests = "3/minute" }'
        lab.runs_on("pool:m", row='deadline = 3600\nselect = "least_used"', more=lab.pool(per_minute))
        lab.answers("m", USES_20)
        began = virtual.clock()

        for _ in range(13):
            ask(lab, call)

        assert virtual.clock() - began == pytest.approx(120)
        assert sorted(lab.accounts) == ["a"] * 7 + ["b"] * 6


class TestFailures:
    """7b, 7d: the book is ours, the truth is the provider's."""

    def test_an_account_that_fails_is_helped_out_in_the_same_call(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", Status(503), USES_60)

        answer = ask(lab, call)

        assert lab.accounts == ["a", "b"]
        assert [one["account"] for one in receipt(answer)["attempts"]] == ["a", "b"]

    def test_what_an_error_did_not_use_is_given_back(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", Status(503), USES_60)

        ask(lab, call)
        ask(lab, call)

        assert lab.accounts == ["a", "b", "a"]

    def test_an_account_whose_provider_says_that_it_is_empty_is_empty(self, lab: Lab, call: Driver) -> None:
        """Ours: for ten minutes, then it is asked again; a provider seldom says when its day begins."""
        lab.runs_on("pool:m", row='select = "quota"', more=lab.pool('limits = { tokens = "9000/day" }'))
        lab.answers("m", Status(429, error_code="insufficient_quota"), USES_20)

        for _ in range(2):
            ask(lab, call)
        assert lab.accounts == ["a", "b", "b"]
        lab.later(601)
        ask(lab, call)
        assert lab.accounts == ["a"]

    def test_if_all_are_empty_the_error_lists_each(self, lab: Lab, call: Driver) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", Status(429, error_code="insufficient_quota"))

        with pytest.raises(AllAttemptsFailedError) as caught:
            ask(lab, call)

        assert [attempt.account for attempt in caught.value.attempts] == ["a", "b"]


class TestNames:
    """7g: accounts go by their names."""

    def test_no_key_is_in_anything_that_can_be_read(
        self, lab: Lab, call: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        lab.runs_on("pool:m", row=f"attempts = 1\n{ROW}", more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", Status(401, message=f"Wrong key: {KEYS['POOL_A']}"), USES_60, Status(503))

        said = [str(receipt(ask(lab, call)))]
        assert lab.accounts == ["a", "b"]
        lab.later(UNTIL_MIDNIGHT)
        with pytest.raises(LLMError) as caught:
            ask(lab, call)
        route = lab.patchbay.explain("f")
        said += [
            str(caught.value),
            repr(caught.value),
            str(caught.value.as_dict()),
            repr(caught.value.attempts),
        ]
        said += [str(route), repr(route), str(route.as_dict()), caplog.text]
        said += [str(lab.patchbay.get_qos_info()), repr(lab.patchbay.runtime.health)]

        assert not [text for text in said for key in KEYS.values() if key in text]

    def test_the_error_names_the_accounts(self, lab: Lab) -> None:
        lab.runs_on("pool:m", row=ROW, more=lab.pool(A_HUNDRED_A_DAY))
        lab.answers("m", USES_60)
        for _ in range(2):
            ask(lab, invoke)

        with pytest.raises(QuotaExceededError, match=r"pool:m \(a\): .*the account a of pool"):
            ask(lab, invoke)
