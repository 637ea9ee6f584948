"""Two requests of one call over real sockets: whoever answers first, nothing of the other one is left."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from pydantic import BaseModel
from typing_extensions import override

from backend.tests.fakes.children import in_child
from backend.tests.fakes.hedging import learn
from backend.tests.fakes.threads import hammer
from backend.utils.llm import MemorySink
from backend.utils.llm.caller import Caller, current_caller, use_caller
from backend.utils.llm.errors import AllAttemptsFailedError, RejectedRequestError, StreamInterruptedError
from backend.utils.llm.execution import hedged_request
from backend.utils.llm.execution.loop_thread import THREAD, RunningLoop
from backend.utils.llm.state.tail_latency import CALLS_PER_HEDGE, ENOUGH
from backend.utils.llm.testing import (
    Cut,
    Hang,
    Json,
    LoopbackProvider,
    SlowFirstByte,
    Status,
    Text,
    Trickle,
    Usage,
)

from .drivers import ainvoke, invoke, joined
from .samples import receipt
from .test_deadline import Exceeded, at_most, chain_of, first_model, warm  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import AIMessage

    from backend.utils.llm.clients import Patchbay
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route
    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.transmission import Exchange

    from .conftest import Make
    from .drivers import Driver

    Hedged = Callable[..., Patchbay]

AT_ONCE, NEVER = 0.01, 30.0
"""After how long a call is hedged."""
SLACK = 20.0
"""What a busy machine may add."""
ENDLESS = Trickle(Text("word " * 2000, chunks=2000), 0.05)


class Gated(LoopbackProvider):
    """Holds its replies back until something has happened."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: dict[str | None, Callable[[], bool]] = {}
        self._pause = threading.Event()

    def hold(self, model: str, until: Callable[[], bool] | None = None) -> None:
        """Replies of ``model`` wait ``until`` then; by default until two requests have come."""
        self._gates[model] = until or (lambda: len(self.requests) > 1)

    @override
    def next_reply(self, exchange: Exchange) -> Reply:
        reply, gate = super().next_reply(exchange), self._gates.get(exchange.model)
        until = time.monotonic() + 30.0
        while gate is not None and not gate() and time.monotonic() < until:
            self._pause.wait(0.002)
        return reply


@pytest.fixture
def provider() -> Iterator[Gated]:
    """A provider whose replies can be held back."""
    with Gated() as running:
        yield running


class Unbuilt:
    """Clients, one of which is not built before the call is over."""

    def __init__(self, clients: Any, model: str, is_over: Callable[[], bool]) -> None:
        self.is_wanted = threading.Event()
        self._clients = clients
        self._model = model
        self._is_over = is_over

    def __contains__(self, endpoint: Any) -> bool:
        return endpoint.model_id != self._model and endpoint in self._clients

    def begin(self, endpoint: Any) -> Future[Any]:
        return ThreadPoolExecutor(1).submit(self.client, endpoint)

    def client(self, endpoint: Any, _seconds: float | None = None) -> Any:
        if endpoint.model_id == self._model:
            self.is_wanted.set()
            until = time.monotonic() + 30.0
            while not self._is_over() and time.monotonic() < until:
                threading.Event().wait(0.002)
        return self._clients.client(endpoint)


class Answer(BaseModel):
    """What is asked for."""

    items: list[str]


def first_endpoint(chain: str) -> str:
    return chain_of(chain)[0]


def second_model(chain: str) -> str:
    return chain_of(chain)[1].partition(":")[2]


@pytest.fixture
def observed() -> list[Attempt]:
    """Every attempt that the observer was told of."""
    return []


@pytest.fixture
def hedged(make: Make, chain: str, observed: list[Attempt]) -> Iterator[Hedged]:
    """Makes a patchbay whose feature ``f`` hedges, after so many seconds; nothing of its calls may be left."""
    made: list[Patchbay] = []

    def observer(_: Route, attempt: Attempt) -> None:
        observed.append(attempt)

    def hedged(after: float, row: str = "", **settings: Any) -> Patchbay:
        table = f"[features.f]\nhedge = true\nhouse_fallback = true\n{row}"
        patchbay = make(chain_of(chain), table, observer=observer, **settings)
        learn(patchbay, after)
        made.append(patchbay)
        return patchbay

    yield hedged
    for patchbay in made:
        assert_nothing_is_left(patchbay)


def assert_nothing_is_left(patchbay: Patchbay) -> None:
    patchbay.close()
    assert [thread for thread in threading.enumerate() if thread.name == THREAD] == []
    traffic = patchbay.health.traffic
    assert len(patchbay.runtime.transport.tickets) == 0
    assert [
        load.in_flight.count(0.0) for load in traffic.targets._loads.values() if load.in_flight.count(0.0)
    ] == []


def is_closed(provider: LoopbackProvider, model: str) -> bool:
    """Whether the client has hung up on the request for ``model``."""
    return provider.wait_until(
        lambda requests: any(one.closed_by_client for one in requests if one.model == model)
    )


def told(message: AIMessage) -> list[tuple[str, str, bool]]:
    return [(one["endpoint"], one["outcome"], one["hedge"]) for one in receipt(message)["attempts"]]


class TestWhoAnswers:
    """The first good answer is the call's, however it is called and whichever API serves."""

    def test_the_hedge_if_the_first_one_hangs(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.always(Text("from the hedge"), model=second_model(chain))
        provider.hold(second_model(chain))

        message = call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert message.text == "from the hedge"
        first, second = chain_of(chain)
        assert told(message) == [(first, "cancelled", False), (second, "ok", True)]
        assert (receipt(message)["endpoint"], receipt(message)["degraded"]) == (second, True)
        assert is_closed(provider, first_model(chain))

    def test_the_first_one_if_the_hedge_hangs(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        provider.always(Text("from the first"), model=first_model(chain))
        provider.hold(first_model(chain))
        provider.always(Hang(), model=second_model(chain))

        message = call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert message.text == "from the first"
        first, second = chain_of(chain)
        assert told(message) == [(first, "ok", False), (second, "cancelled", True)]
        assert (receipt(message)["endpoint"], receipt(message)["degraded"]) == (first, False)
        assert is_closed(provider, second_model(chain))

    def test_no_hedge_is_sent_if_the_answer_comes_in_time(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        message = call(hedged(NEVER).get_llm("f"), "hi")

        assert told(message) == [(first_endpoint(chain), "ok", False)]
        assert len(provider.requests) == 1

    def test_no_hedge_is_sent_while_the_usual_time_is_unknown(
        self, make: Make, chain: str, call: Driver, provider: Gated
    ) -> None:
        patchbay = make(chain_of(chain), "[features.f]\nhedge = true")
        for _ in range(3):
            call(patchbay.get_llm("f"), "hi")

        assert len(provider.requests) == 3
        assert len({one.model for one in provider.requests}) == 1

    def test_what_calls_take_is_learnt_from_them(
        self, make: Make, chain: str, call: Driver, provider: Gated
    ) -> None:
        patchbay = make(chain_of(chain), "[features.f]\nhedge = true")
        for _ in range(ENOUGH):
            call(patchbay.get_llm("f"), "hi")
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain), until=lambda: len(provider.requests) > ENOUGH + 1)

        assert call(patchbay.get_llm("f"), "hi").text
        assert len(provider.requests) == ENOUGH + 2
        assert_nothing_is_left(patchbay)

    @pytest.mark.parametrize("fault", [Status(503), Status(404)], ids=["again", "never again"])
    def test_the_hedge_if_the_first_one_fails_meanwhile(
        self,
        hedged: Hedged,
        chain: str,
        call: Driver,
        provider: Gated,
        observed: list[Attempt],
        fault: Status,
    ) -> None:
        provider.always(fault, model=first_model(chain))
        provider.hold(first_model(chain))
        provider.always(Text("from the hedge"), model=second_model(chain))
        provider.hold(second_model(chain), until=lambda: len(observed) == 1)

        message = call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert message.text == "from the hedge"
        assert [outcome for _, outcome, _ in told(message)] == ["failed", "ok"]
        assert len(provider.requests) == 2

    def test_the_first_one_if_the_hedge_fails(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.always(Text("from the first"), model=first_model(chain))
        provider.hold(first_model(chain), until=lambda: len(observed) == 1)
        provider.always(Status(400), model=second_model(chain))

        message = call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert message.text == "from the first"
        assert [outcome for _, outcome, _ in told(message)] == ["ok", "failed"]
        assert len(provider.requests) == 2

    def test_if_both_fail_the_error_lists_both(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        provider.always(Status(404))
        provider.hold(first_model(chain))

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert [one.endpoint for one in caught.value.attempts] == chain_of(chain)
        assert len(provider.requests) == 2

    def test_who_is_asked_again_if_both_fail(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        down = Status(503, retry_after=0.01)
        provider.script(down, down, Text("at last"))
        provider.hold(first_model(chain))
        provider.hold(second_model(chain))

        message = call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert message.text == "at last"
        assert [outcome for _, outcome, _ in told(message)] == ["failed", "failed", "ok"]

    def test_a_malformed_request_ends_the_call_despite_a_hedge(
        self, hedged: Hedged, chain: str, call: Driver, provider: Gated
    ) -> None:
        provider.always(Status(400), model=first_model(chain))
        provider.hold(first_model(chain))
        provider.always(Hang(), model=second_model(chain))

        with pytest.raises(RejectedRequestError) as caught:
            call(hedged(AT_ONCE).get_llm("f"), "hi")

        assert [(one.endpoint, one.outcome) for one in caught.value.attempts] == list(
            zip(chain_of(chain), ["failed", "cancelled"], strict=True)
        )
        assert is_closed(provider, second_model(chain))

    def test_a_feature_that_does_not_hedge_goes_its_usual_way(
        self, make: Make, chain: str, call: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hedged_request, "HedgedRequest", None)

        assert call(make(chain_of(chain)).get_llm("f"), "hi").text


class TestGoodAnswers:
    """Good is what has passed its tests."""

    def test_an_answer_that_does_not_fit_waits_for_the_other_one(
        self, hedged: Hedged, chain: str, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.always(Text("no JSON"), model=first_model(chain))
        provider.hold(first_model(chain))
        provider.always(Json({"items": ["a"]}), model=second_model(chain))
        provider.hold(second_model(chain), until=lambda: len(observed) == 1)
        model = hedged(AT_ONCE).get_llm("f").with_structured_output(Answer, include_raw=True)

        found = model.invoke("hi")

        assert isinstance(found, dict)
        assert found["parsed"] == Answer(items=["a"])
        assert [outcome for _, outcome, _ in told(found["raw"])] == ["rejected", "ok"]
        assert len(provider.requests) == 2

    async def test_so_it_does_asynchronously(
        self, hedged: Hedged, chain: str, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.always(Text("good"), model=first_model(chain))
        provider.hold(first_model(chain), until=lambda: len(observed) == 1)
        provider.always(Text("bad"), model=second_model(chain))
        patchbay = hedged(AT_ONCE)

        async def accept(message: AIMessage) -> bool:
            await asyncio.sleep(0)
            return message.text == "good"

        message = await patchbay.get_llm("f").ainvoke("hi", accept=accept)

        assert message.text == "good"
        assert [outcome for _, outcome, _ in told(message)] == ["ok", "rejected"]
        await patchbay.aclose()

    @pytest.mark.parametrize("driver", [invoke, ainvoke])
    def test_if_neither_does_the_last_one_is_mended(
        self, hedged: Hedged, chain: str, driver: Driver, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.script(Text("no"), model=first_model(chain))
        provider.hold(first_model(chain))
        provider.script(Text("nor this"), Text("good"), model=second_model(chain))
        provider.hold(second_model(chain), until=lambda: len(observed) > 0)
        model = hedged(AT_ONCE).get_llm("f").bind(accept=lambda message: message.text == "good")

        message = driver(model, "hi")

        assert len(provider.requests) == 3
        assert "nor this" in str(provider.requests[2].body)
        assert told(message)[2] == (chain_of(chain)[1], "ok", False)

    @pytest.mark.parametrize("driver", [invoke, ainvoke])
    def test_what_the_test_itself_raises_is_raised(
        self, hedged: Hedged, chain: str, driver: Driver, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))

        with pytest.raises(ZeroDivisionError):
            driver(hedged(AT_ONCE).get_llm("f").bind(accept=lambda _: 1 / 0), "hi")

        assert is_closed(provider, first_model(chain))

    @pytest.mark.parametrize("driver", [invoke, ainvoke])
    def test_the_test_runs_on_behalf_of_the_caller(
        self, hedged: Hedged, chain: str, driver: Driver, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))
        seen: list[str | None] = []

        def accept(_: AIMessage) -> bool:
            seen.append(current_caller().user_id)
            return True

        with use_caller(Caller(user_id="ann")):
            driver(hedged(AT_ONCE).get_llm("f").bind(accept=accept), "hi")

        assert seen == ["ann"]


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

        assert [(one.endpoint, one.outcome, one.hedge) for one in observed] == [
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
        assert [one.outcome for one in observed] == ["ok"]
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
        assert {one.key for one in provider.requests} == {"anns-own-key", *house}

    def test_a_copy_of_a_call_is_none_that_is_measured_or_counted(self, hedged: Hedged, call: Driver) -> None:
        patchbay = hedged(NEVER, 'shadow = { "openai:gpt-6.1-terra" = 100 }')

        call(patchbay.get_llm("f"), "hi")
        patchbay.runtime.shadows.join(5)

        tails = patchbay.health.traffic.tail_latency
        assert len(tails.of("f", "openai:gpt-6.1-terra", "total")) == 0
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

        assert {one.key for one in provider.requests} == {"anns-own-key", f"house-key-of-{second}"}
        assert {one.model for one in provider.requests} == {first_model(chain), second_model(chain)}


class TestStreams:
    """Until the first content there are two; from then on there is one."""

    def test_the_loser_is_closed_at_the_first_content(
        self, hedged: Hedged, chain: str, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))
        provider.always(ENDLESS, model=second_model(chain))
        chunks: Any = hedged(AT_ONCE).get_llm("f").stream("hi")

        assert "word " in [next(chunks).text, next(chunks).text]
        assert is_closed(provider, first_model(chain))
        assert next(chunks).text == "word "
        chunks.close()
        assert is_closed(provider, second_model(chain))

    async def test_so_it_is_asynchronously(self, hedged: Hedged, chain: str, provider: Gated) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))
        provider.always(ENDLESS, model=second_model(chain))
        patchbay = hedged(AT_ONCE)
        chunks: Any = patchbay.get_llm("f").astream("hi")

        assert "word " in [(await anext(chunks)).text, (await anext(chunks)).text]
        assert await asyncio.to_thread(is_closed, provider, first_model(chain))
        assert len(asyncio.all_tasks()) == 1
        await chunks.aclose()
        assert await asyncio.to_thread(is_closed, provider, second_model(chain))
        await patchbay.aclose()

    def test_the_end_of_the_loop_is_one_of_the_stream(
        self, hedged: Hedged, chain: str, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))
        provider.always(ENDLESS, model=second_model(chain))
        patchbay = hedged(AT_ONCE)

        async def begin() -> None:
            chunks: Any = patchbay.get_llm("f").astream("hi")
            await anext(chunks)

        asyncio.run(begin())

        assert is_closed(provider, second_model(chain))

    def test_the_text_is_of_one_of_them(
        self, hedged: Hedged, chain: str, stream: Driver, provider: Gated
    ) -> None:
        provider.always(Trickle(Text("one two three"), 0.1), model=first_model(chain))
        provider.always(Trickle(Text("four five six"), 0.1), model=second_model(chain))

        assert stream(hedged(AT_ONCE).get_llm("f"), "hi").text in {"one two three", "four five six"}

    def test_one_that_breaks_after_its_first_content_is_not_saved_by_the_other(
        self, hedged: Hedged, chain: str, stream: Driver, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.hold(second_model(chain))
        provider.always(Cut(1, "one two three"), model=second_model(chain))

        with pytest.raises(StreamInterruptedError) as caught:
            stream(hedged(AT_ONCE).get_llm("f"), "hi")

        assert caught.value.partial.startswith("one")
        assert [one.outcome for one in caught.value.attempts] == ["cancelled", "failed"]


class TestCancelled:
    """A call that is given up gives up both."""

    @pytest.mark.parametrize("driver", ["ainvoke", "astream"])
    async def test_both_are_cancelled(
        self, hedged: Hedged, chain: str, driver: str, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.always(Hang())
        patchbay = hedged(AT_ONCE)
        model = patchbay.get_llm("f")

        async def call() -> None:
            if driver == "ainvoke":
                await model.ainvoke("hi")
            else:
                _ = [chunk async for chunk in model.astream("hi")]

        task = asyncio.create_task(call())
        await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await asyncio.to_thread(is_closed, provider, first_model(chain))
        assert await asyncio.to_thread(is_closed, provider, second_model(chain))
        assert [(one.outcome, one.estimated) for one in observed] == [("cancelled", True)] * 2
        assert len(asyncio.all_tasks()) == 1
        await patchbay.aclose()

    async def test_so_is_the_first_one_before_there_is_another(
        self, hedged: Hedged, provider: Gated, observed: list[Attempt]
    ) -> None:
        provider.always(Hang())
        patchbay = hedged(NEVER)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await patchbay.get_llm("f").ainvoke("hi")

        assert [one.outcome for one in observed] == ["cancelled"]
        assert len(asyncio.all_tasks()) == 1
        await patchbay.aclose()

    @pytest.mark.parametrize("streams", [False, True])
    def test_an_interrupt_from_the_keyboard_ends_both(
        self,
        hedged: Hedged,
        chain: str,
        provider: Gated,
        observed: list[Attempt],
        monkeypatch: pytest.MonkeyPatch,
        *,
        streams: bool,
    ) -> None:
        provider.always(Hang())

        run, waits = RunningLoop.run, 0

        def interrupted(loop: RunningLoop, work: Any) -> Any:
            """The key is pressed while both requests are waited for."""
            nonlocal waits
            waits += work.__name__ == "_first_of"
            if waits == 2 and work.__name__ == "_first_of":
                work.close()
                provider.wait_until(lambda requests: len(requests) == 2)
                raise KeyboardInterrupt
            return run(loop, work)

        monkeypatch.setattr(RunningLoop, "run", interrupted)
        model = hedged(AT_ONCE).get_llm("f")

        with pytest.raises(KeyboardInterrupt):
            list(model.stream("hi")) if streams else model.invoke("hi")

        assert is_closed(provider, first_model(chain))
        assert is_closed(provider, second_model(chain))
        assert [one.outcome for one in observed] == ["cancelled"] * 2


class TestSynchronous:
    """The race of a synchronous call is run on a loop in another thread; whatever else it does stays in its own."""

    @pytest.fixture
    def full(self) -> Iterator[Exceeded]:
        made = Exceeded()
        yield made
        made.close()

    @pytest.mark.parametrize("streams", [False, True])
    def test_one_that_is_still_connecting_does_not_hold_up_the_answer(
        self, make: Make, full: Exceeded, provider: Gated, *, streams: bool
    ) -> None:
        gone = f'[providers.gone]\napi = "openai"\nbase_url = "{full.openai_url}"'
        row = f"[features.f]\nhedge = true\noptions = {{ connect_timeout = 30.0 }}\n{gone}"
        sink = MemorySink()
        patchbay = make(["gone:m", "openai:gpt-6-luna"], row, ledger=sink)
        learn(patchbay, AT_ONCE)
        model = patchbay.get_llm("f")

        with at_most(SLACK):
            answer = joined(model.stream("hi")) if streams else model.invoke("hi")

        assert answer.text
        assert told(answer) == [
            ("openai:gpt-6-luna", "ok", True)
        ]  # the other one never left: it is no attempt
        assert [(one.endpoint, one.number) for one in sink.records] == [("openai:gpt-6-luna", 1)]
        assert_nothing_is_left(patchbay)

    def test_many_at_once_leave_nothing(self, hedged: Hedged, chain: str, provider: Gated) -> None:
        provider.always(SlowFirstByte(0.05, Text("from the first")), model=first_model(chain))
        provider.always(SlowFirstByte(0.04, Text("from the hedge")), model=second_model(chain))
        patchbay = hedged(AT_ONCE)
        model = patchbay.get_llm("f")

        def work(_: int) -> set[str]:
            answers: set[str] = set()
            for _ in range(8):
                learn(patchbay, AT_ONCE)
                answers.add(model.invoke("hi").text)
            return answers

        assert set().union(*hammer(work)) <= {"from the first", "from the hedge"}

    async def test_a_synchronous_call_in_a_running_loop_is_hedged(
        self, hedged: Hedged, chain: str, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.always(Text("from the hedge"), model=second_model(chain))

        assert hedged(AT_ONCE).get_llm("f").invoke("hi").text == "from the hedge"

    def test_a_test_of_answers_may_make_a_hedged_call_itself(
        self, hedged: Hedged, chain: str, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.always(Text("good"), model=second_model(chain))
        patchbay = hedged(AT_ONCE)
        learn(patchbay, AT_ONCE, hedges=2)
        judge = patchbay.get_llm("f")

        def accept(message: AIMessage) -> bool:
            return judge.invoke(message.text).text == "good"

        assert judge.bind(accept=accept).invoke("hi").text == "good"

    def test_the_observer_and_callbacks_run_in_the_callers_thread(
        self, make: Make, chain: str, provider: Gated
    ) -> None:
        seen: set[threading.Thread] = set()

        class Diary(BaseCallbackHandler):
            def on_chain_start(self, *_: Any, **__: Any) -> None:
                seen.add(threading.current_thread())

            on_chain_end = on_chain_error = on_chain_start

        def observer(*_: object) -> None:
            seen.add(threading.current_thread())

        provider.always(Hang(), model=first_model(chain))
        patchbay = make(chain_of(chain), "[features.f]\nhedge = true", observer=observer)
        learn(patchbay, AT_ONCE)

        patchbay.get_llm("f").with_config(callbacks=[Diary()]).invoke("hi")

        assert seen == {threading.current_thread()}
        assert_nothing_is_left(patchbay)

    def test_a_stream_that_is_abandoned_is_closed(self, hedged: Hedged, chain: str, provider: Gated) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.always(ENDLESS, model=second_model(chain))
        chunks: Any = hedged(AT_ONCE).get_llm("f").stream("hi")
        next(chunks)

        del chunks

        assert is_closed(provider, second_model(chain))

    def test_a_call_that_is_under_way_when_its_patchbay_is_closed_is_answered(
        self, hedged: Hedged, chain: str, provider: Gated
    ) -> None:
        patchbay, closed = hedged(AT_ONCE), threading.Event()
        provider.always(Hang(), model=first_model(chain))
        provider.always(Text("in the end"), model=second_model(chain))
        provider.hold(second_model(chain), until=closed.is_set)
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(patchbay.get_llm("f").invoke("hi").text))
        thread.start()
        provider.wait_until(lambda requests: len(requests) == 2)

        patchbay.close()
        closed.set()
        thread.join(5)

        assert found == ["in the end"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_a_forked_child_hedges_on_a_loop_of_its_own(
        self, hedged: Hedged, chain: str, provider: Gated
    ) -> None:
        provider.always(Hang(), model=first_model(chain))
        provider.always(Text("from the hedge"), model=second_model(chain))
        patchbay = hedged(AT_ONCE)

        def call() -> str:
            learn(patchbay, AT_ONCE)
            return patchbay.get_llm("f").invoke("hi").text

        assert [call(), in_child(call), call()] == ["from the hedge"] * 3
