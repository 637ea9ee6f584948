"""UC3: what a caller's tier may use, and that nothing else is used for them, whatever fails."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.caller import Caller
from backend.utils.llm.errors import ProviderDownError, RateLimitedError
from backend.utils.llm.testing import Status, Text, Usage

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from ..drivers import Driver
    from .conftest import Lab

POOL = ("openai:small", "openai:mid", "openai:big")
TIERS = """
[features.f.select]
by = "tier"
default = "free"
[features.f.select.tiers]
enterprise = ["openai:big", "openai:mid"]
pro = { endpoints = ["openai:mid", "openai:small"], tokens = "100_000/month" }
free = "openai:small"
"""
DOWN = Status(503)


def of(tier: str | None, user: str = "ann") -> Caller:
    return Caller(user_id=user, tier=tier)


def has_used(lab: Lab, call: Driver, tokens: int, user: str = "ann") -> None:
    """A pro's call that used so many tokens."""
    lab.answers("mid", Text("mid", usage=Usage(tokens - 5, 5)), "mid")
    lab.ask(call, caller=of("pro", user))
    assert lab.asked == ["mid"]


def is_degraded(answer: AIMessage) -> bool:
    return bool(answer.response_metadata["receipt"]["degraded"])


class TestAllowances:
    """3a, 3b: the best that the tier has, as long as its tokens last."""

    @pytest.mark.parametrize("pool", list(permutations(POOL)), ids=" ".join)
    @pytest.mark.parametrize(("tier", "model"), [("enterprise", "big"), ("pro", "mid"), ("free", "small")])
    def test_each_tier_gets_its_own_whatever_the_order_of_the_pool(
        self, lab: Lab, call: Driver, pool: tuple[str, ...], tier: str, model: str
    ) -> None:
        lab.runs_on(*pool, more=TIERS)

        lab.ask(call, caller=of(tier))

        assert lab.asked == [model]

    @pytest.mark.parametrize(
        ("used", "model"), [(80_000, "mid"), (89_999, "mid"), (90_000, "small"), (99_000, "small")]
    )
    def test_from_nine_tenths_of_its_tokens_on_a_tier_gets_its_second_best(
        self, lab: Lab, call: Driver, used: int, model: str
    ) -> None:
        lab.runs_on(*POOL, more=TIERS)
        has_used(lab, call, used)

        lab.ask(call, caller=of("pro"))

        assert lab.asked == [model]

    def test_what_each_answer_used_is_counted(self, lab: Lab, call: Driver) -> None:
        """3d."""
        lab.runs_on(*POOL, more=TIERS)
        has_used(lab, call, 89_990)
        lab.answers("mid", Text("mid", usage=Usage(10, 10)))

        for _ in range(2):
            lab.ask(call, caller=of("pro"))

        assert lab.asked == ["mid", "small"]

    def test_the_share_at_which_that_happens_is_the_table_s(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS.replace('month"', 'month", until = 0.5'))
        has_used(lab, call, 50_000)

        lab.ask(call, caller=of("pro"))

        assert lab.asked == ["small"]

    def test_each_user_has_their_own_tokens(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)
        has_used(lab, call, 95_000)

        lab.ask(call, caller=of("pro", "bob"))

        assert lab.asked == ["mid"]

    def test_who_has_the_same_name_in_another_tenant_uses_none_of_them(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)
        has_used(lab, call, 95_000)

        lab.ask(call, caller=Caller(user_id="ann", tenant_id="acme", tier="pro"))

        assert lab.asked == ["mid"]

    def test_a_new_month_begins_at_nothing(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)
        has_used(lab, call, 95_000)

        lab.later(10 * 86_400)
        lab.ask(call, caller=of("pro"))

        assert lab.asked == ["mid"]

    def test_explain_says_how_much_is_used(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)
        has_used(lab, call, 95_000)

        assert "95000 of the 100000 tokens per month" in str(lab.patchbay.explain("f", caller=of("pro")))


class TestFailures:
    """3c: down only where the table says so, and up never."""

    def test_a_free_caller_is_never_served_by_what_others_pay_for(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)
        lab.answers("small", DOWN)

        with pytest.raises(ProviderDownError):
            lab.ask(call, caller=of("free"))

        assert set(lab.asked) == {"small"}

    def test_while_all_that_they_may_use_is_unavailable_the_error_names_the_policy(
        self, lab: Lab, call: Driver
    ) -> None:
        lab.runs_on(*POOL, row="wait = 0", more=TIERS)
        lab.answers("small", Status(429, retry_after=60))
        with pytest.raises(RateLimitedError):
            lab.ask(call, caller=of("free"))

        with pytest.raises(RateLimitedError) as caught:
            lab.ask(call, caller=of("free"))

        assert "openai:big: it is not for the tier 'free'" in str(caught.value)
        assert lab.asked == ["small"]

    def test_an_enterprise_caller_is_served_by_the_second_best_with_a_note(
        self, lab: Lab, call: Driver
    ) -> None:
        lab.runs_on(*POOL, more=TIERS)
        lab.answers("big", DOWN)

        answer = lab.ask(call, caller=of("enterprise"))

        assert lab.asked == ["big", "big", "big", "mid"]
        assert is_degraded(answer)

    def test_an_answer_of_the_best_is_not_called_degraded(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)

        assert not is_degraded(lab.ask(call, caller=of("enterprise")))


class TestUnknownTiers:
    """3f: who has no tier gets the declared one. Who looks tiers up, and how long that may take, is the application."""

    @pytest.mark.parametrize("tier", [None, "gold", "ENTERPRISE", "", "enterprise "])
    def test_a_tier_that_the_table_does_not_know_is_the_default(
        self, lab: Lab, call: Driver, tier: str | None
    ) -> None:
        lab.runs_on(*POOL, more=TIERS)

        lab.ask(call, caller=of(tier))

        assert lab.asked == ["small"]

    def test_a_call_without_a_caller_has_the_default_tier(self, lab: Lab, call: Driver) -> None:
        lab.runs_on(*POOL, more=TIERS)

        lab.ask(call)

        assert lab.asked == ["small"]
