"""A synchronous hedged call: threads, loops and children."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from backend.tests.fakes.children import in_child
from backend.tests.fakes.hedging import learn
from backend.tests.fakes.threads import hammer
from backend.utils.llm import MemorySink
from backend.utils.llm.testing import (
    Hang,
    SlowFirstByte,
    Text,
)

from ..drivers import joined
from ..test_deadline import Exceeded, at_most, chain_of, first_model
from .conftest import (
    AT_ONCE,
    ENDLESS,
    SLACK,
    Gated,
    assert_nothing_is_left,
    is_closed,
    second_model,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import AIMessage

    from backend.utils.llm.patchbay import Patchbay

    from ..conftest import Make

    Hedged = Callable[..., Patchbay]


class Unbuilt:
    """Clients, one of which is not built before the call is over."""

    def __init__(self, clients: Any, model: str, is_over: Callable[[], bool]) -> None:
        self.is_wanted = threading.Event()
        self._clients = clients
        self._model = model
        self._is_over = is_over

    def __contains__(self, endpoint: Any) -> bool:
        return endpoint.model_id != self._model and endpoint in self._clients

    def start_building_client(self, endpoint: Any) -> Future[Any]:
        return ThreadPoolExecutor(1).submit(self.get_client, endpoint)

    def get_client(self, endpoint: Any, _seconds: float | None = None) -> Any:
        if endpoint.model_id == self._model:
            self.is_wanted.set()
            until = time.monotonic() + 30.0
            while not self._is_over() and time.monotonic() < until:
                threading.Event().wait(0.002)
        return self._clients.get_client(endpoint)


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
        assert [(record.endpoint, record.number) for record in sink.records] == [("openai:gpt-6-luna", 1)]
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
