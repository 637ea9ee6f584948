"""What two requests of one call cost, who pays for each, and who is told of them."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from backend.utils.llm.caller import Caller
from backend.utils.llm.state.tail_latency import CALLS_PER_HEDGE
from backend.utils.llm.testing import (
    Hang,
    Text,
    Usage,
)

from ..drivers import ainvoke, invoke
from ..samples import receipt
from ..test_deadline import chain_of, first_model
from .conftest import AT_ONCE, NEVER, Gated, first_endpoint, second_model, told
from .test_synchronous import Unbuilt

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt

    from ..drivers import Driver

    Hedged = Callable[..., Patchbay]


class TestCosts:
    """The loser is billed all the same, and the receipt says about how much."""

    def test_what_was_asked_and_what_had_come_is_an_estimate(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))

        loser, winner = receipt(call(hedged(AT_ONCE).get_llm("f"), "word " * 80))["attempts"]

        assert (loser["estimated"], winner["estimated"]) == (True, False)
        assert (loser["usage"]["input"], loser["usage"]["output"]) == (100, 0)
        assert Decimal(loser["cost_usd"]) > 0

    def test_the_call_costs_what_both_do(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))

        found = receipt(call(hedged(AT_ONCE).get_llm("f"), "word " * 80))

        assert Decimal(found["cost_usd"]) == sum(Decimal(one["cost_usd"]) for one in found["attempts"])

    @pytest.mark.parametrize("driver", [invoke, ainvoke])
    def test_a_loser_whose_answer_came_too_is_billed_by_its_usage(
        self, hedged: Hedged, chain: str, driver: Driver, provider: Gated
    ) -> None:
        provider.always(Text("slow to test", usage=Usage(1000, 500)), model=first_model(chain))
        provider.always(Text("good"), model=second_model(chain))
        begun, tested = threading.Event(), threading.Event()
        provider.hold(second_model(chain), until=begun.is_set)

        def accept(message: AIMessage) -> bool:
            if message.text == "good":
                return True
            begun.set()
            return tested.wait(5)

        async def aaccept(message: AIMessage) -> bool:
            if message.text != "good":
                begun.set()
                await asyncio.sleep(5)
            return True

        test = accept if driver is invoke else aaccept
        loser, _ = receipt(driver(hedged(AT_ONCE).get_llm("f").bind(accept=test), "hi"))["attempts"]
        tested.set()

        assert (loser["outcome"], loser["estimated"]) == ("cancelled", False)
        assert (loser["usage"]["input"], loser["usage"]["output"]) == (1000, 500)

    def test_the_observer_sees_both_attempts(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))

        call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert [(attempt.endpoint, attempt.outcome, attempt.hedge) for attempt in observed] == [
            (chain_of(chain)[0], "cancelled", False),
            (chain_of(chain)[1], "ok", True),
        ]

    def test_a_hedge_that_was_never_sent_is_no_attempt(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated, observed: list[Attempt]
    ) -> None:
        patchbay: Any = hedged(AT_ONCE)
        clients = Unbuilt(patchbay.runtime.clients, second_model(chain), lambda: bool(observed))
        patchbay.runtime.clients = clients
        provider.hold(first_model(chain), until=clients.is_wanted.is_set)

        message = call(patchbay.get_llm("f"), "hi")

        assert told(message) == [(first_endpoint(chain), "ok", False)]
        assert [attempt.outcome for attempt in observed] == ["ok"]
        assert len(provider.requests) == 1

    def test_callbacks_see_a_run_for_each(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        runs: dict[Any, list[str]] = {}

        class Diary(BaseCallbackHandler):
            def on_chain_start(self, *_: Any, run_id: Any, **more: Any) -> None:
                runs[run_id] = [more["name"]]

            def on_chain_end(self, *_: Any, run_id: Any, **__: Any) -> None:
                runs[run_id].append("ends")

            def on_chain_error(self, error: BaseException, *, run_id: Any, **__: Any) -> None:
                runs[run_id].append(str(error))

        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))
        call(hedged(AT_ONCE).get_llm("f").with_config(callbacks=[Diary()]), "hi")

        first, second = chain_of(chain)
        assert list(runs.values()) == [
            [f"attempt {first}", f"{first} was cancelled."],
            [f"attempt {second}", "ends"],
        ]


class TestKeys:
    """Whose key the second request is signed with."""

    @pytest.mark.parametrize("policy", [None, "byok_then_house"])
    def test_a_users_call_is_hedged_with_the_houses_key_only_if_they_said_so(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated, policy: Any
    ) -> None:
        name = first_endpoint(chain).partition(":")[0]
        caller = Caller(user_id="ann", keys={name: "anns-own-key"}, key_policy=policy)
        provider.always(Text("from the first"), model=first_model(chain))
        provider.hold(first_model(chain), until=lambda: len(provider.requests) > (policy is not None))
        provider.always(Hang(), model=second_model(chain))

        call(hedged(AT_ONCE).get_llm("f", caller=caller), "hi")

        second = chain_of(chain)[1].partition(":")[0]
        house = set() if policy is None else {f"house-key-of-{second}"}
        assert {request.key for request in provider.requests} == {"anns-own-key", *house}

    def test_a_copy_of_a_call_is_none_that_is_measured_or_counted(self, hedged: Hedged, call: Driver) -> None:
        patchbay = hedged(NEVER, 'shadow = { "openai:gpt-6.1-terra" = 100 }')

        call(patchbay.get_llm("f"), "hi")
        patchbay.runtime.shadows.join(5)

        tails = patchbay.health.traffic.tail_latency
        assert len(tails.recent_latencies("f", "openai:gpt-6.1-terra", "total")) == 0
        assert patchbay.health.traffic.hedge_budget._earned == {"f": CALLS_PER_HEDGE + 1}

    def test_a_call_that_a_user_paid_is_not_copied_because_the_house_paid_the_hedge(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        first, second = (endpoint.partition(":")[0] for endpoint in chain_of(chain))
        caller = Caller(user_id="ann", keys={first: "anns-own-key"}, key_policy="byok_then_house")
        provider.always(Text("from the first"), model=first_model(chain))
        provider.hold(first_model(chain))
        provider.always(Hang(), model=second_model(chain))
        patchbay = hedged(AT_ONCE, 'shadow = { "openai:gpt-6.1-terra" = 100 }')

        call(patchbay.get_llm("f", caller=caller), "hi")
        patchbay.runtime.shadows.join(5)

        assert {request.key for request in provider.requests} == {"anns-own-key", f"house-key-of-{second}"}
        assert {request.model for request in provider.requests} == {first_model(chain), second_model(chain)}
