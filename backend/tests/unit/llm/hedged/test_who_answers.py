"""Of two requests of one call, the first good answer is the call's; nothing of the other one is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from backend.utils.llm.caller import Caller, current_caller, use_caller
from backend.utils.llm.errors import AllAttemptsFailedError, RejectedRequestError
from backend.utils.llm.execution import hedged_request
from backend.utils.llm.state.tail_latency import ENOUGH
from backend.utils.llm.testing import (
    Hang,
    Json,
    Status,
    Text,
)

from ..drivers import ainvoke, invoke
from ..samples import receipt
from ..test_deadline import chain_of, first_model
from .conftest import (
    AT_ONCE,
    NEVER,
    Gated,
    assert_nothing_is_left,
    first_endpoint,
    is_closed,
    second_model,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt

    from ..conftest import Make
    from ..drivers import Driver

    Hedged = Callable[..., Patchbay]


class Answer(BaseModel):
    """What is asked for."""

    items: list[str]


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
        assert len({request.model for request in provider.requests}) == 1

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

        assert [attempt.endpoint for attempt in caught.value.attempts] == chain_of(chain)
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

        assert [(attempt.endpoint, attempt.outcome) for attempt in caught.value.attempts] == list(
            zip(chain_of(chain), ["failed", "cancelled"], strict=True)
        )
        assert is_closed(provider, second_model(chain))

    def test_a_feature_that_does_not_hedge_goes_its_usual_way(
        self, make: Make, chain: str, call: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hedged_request, "HedgedPair", None)

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
