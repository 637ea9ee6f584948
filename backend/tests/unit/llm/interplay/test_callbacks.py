"""What callbacks and observers are told, and what becomes of what they raise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    UsageMetadataCallbackHandler,
)

from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    LLMError,
    RejectedCredentialError,
    StreamInterruptedError,
)
from backend.utils.llm.testing import Cut, Status, Text, Usage

from ..drivers import ainvoke, astream
from ..samples import Person, receipt
from .conftest import ANN, ENDPOINTS, UNFIT, Diary, GraphBubbleUp, Pause
from .test_errors_travel import everything_in

if TYPE_CHECKING:
    from uuid import UUID

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route
    from backend.utils.llm.testing import LoopbackProvider

    from ..conftest import Make
    from ..drivers import Driver


class AsyncDiary(AsyncCallbackHandler):
    """Like `Diary`, where it is awaited."""

    def __init__(self) -> None:
        self.told: list[tuple[str, UUID | None]] = []

    async def on_chat_model_start(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        await asyncio.sleep(0)
        self.told.append(("model starts", parent_run_id))

    async def on_llm_end(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.told.append(("model ends", parent_run_id))

    async def on_chain_start(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.told.append(("attempt starts", parent_run_id))

    async def on_chain_end(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.told.append(("attempt ends", parent_run_id))

    async def on_chain_error(self, *_: Any, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.told.append(("attempt fails", parent_run_id))


class Faulty(BaseCallbackHandler):
    """Raises at one event."""

    def __init__(self, event: str, error: BaseException, *, loudly: bool) -> None:
        self._error = error
        self.raise_error = loudly
        setattr(self, event, self._fail)

    def _fail(self, *_: Any, **__: Any) -> None:
        raise self._error


def told(diary: BaseCallbackHandler) -> dict[str, Any]:
    return {"callbacks": [diary]}


@pytest.mark.usefixtures("patchbay")
class TestCallbacks:
    """One run for the call, and a child of it for each attempt."""

    def test_a_call_is_one_run_with_one_child(self, feature: str, call: Driver) -> None:
        diary = Diary()

        call(get_llm(feature).with_config(callbacks=[diary]), "hi")

        assert diary.events == ["model starts", "attempt starts", "attempt ends", "model ends"]
        (_, run, parent), (_, attempt, above), *_ = diary.told
        assert parent is None
        assert above == run != attempt

    def test_failed_and_rejected_attempts_are_children_too(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        diary = Diary()
        provider.script(Status(404), UNFIT, ANN)

        call(get_llm(chain).bind(response_format=Person).with_config(callbacks=[diary]), "hi")

        assert diary.events == [
            "model starts",
            *["attempt starts", "attempt fails"] * 2,
            *["attempt starts", "attempt ends"],
            "model ends",
        ]
        run = diary.told[0][1]
        assert {above for what, _, above in diary.told if what.startswith("attempt")} == {run}

    def test_each_child_ends_as_it_began(self, chain: str, call: Driver, provider: LoopbackProvider) -> None:
        diary = Diary()
        provider.script(Status(404), Text("fine"))

        call(get_llm(chain).with_config(callbacks=[diary]), "hi")

        attempts = [run for what, run, _ in diary.told if what.startswith("attempt")]
        assert attempts[0] == attempts[1] != attempts[2] == attempts[3]

    def test_callbacks_get_our_error_of_a_failed_call(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        diary = Diary()
        provider.always(Status(400))

        with pytest.raises(LLMError) as caught:
            call(get_llm(feature).with_config(callbacks=[diary]), "hi")

        assert diary.events == ["model starts", "attempt starts", "attempt fails", "model fails"]
        ((failure,), _) = diary.payloads[-1]
        assert failure is caught.value

    def test_callbacks_get_a_broken_stream_once(
        self, feature: str, stream: Driver, provider: LoopbackProvider
    ) -> None:
        diary = Diary()
        provider.script(Cut(1, "one two"))

        with pytest.raises(StreamInterruptedError):
            stream(get_llm(feature).with_config(callbacks=[diary]), "hi")

        assert diary.events == ["model starts", "attempt starts", "attempt fails", "model fails"]

    @pytest.mark.parametrize("call", [ainvoke, astream])
    def test_asynchronous_callbacks_get_the_same(
        self, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        diary = AsyncDiary()
        provider.script(Status(404), Text("fine"))

        call(get_llm(chain).with_config(callbacks=[diary]), "hi")

        assert [what for what, _ in diary.told] == [
            "model starts",
            "attempt starts",
            "attempt fails",
            "attempt starts",
            "attempt ends",
            "model ends",
        ]
        assert len({above for what, above in diary.told if what.startswith("attempt")}) == 1

    def test_neither_prompt_nor_answer_is_in_a_child(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        diary = Diary()
        provider.script(UNFIT, ANN)

        call(get_llm(feature).bind(response_format=Person).with_config(callbacks=[diary]), "canary-prompt")

        children = [
            payload
            for (what, *_), payload in zip(diary.told, diary.payloads, strict=True)
            if what.startswith("attempt")
        ]
        assert "canary" not in "".join(map(everything_in, children))

    def test_tokens_are_counted_once(self, chain: str, call: Driver, provider: LoopbackProvider) -> None:
        counter = UsageMetadataCallbackHandler()
        provider.script(Status(404), Text("fine", usage=Usage(100, 20)))

        call(get_llm(chain).with_config(callbacks=[counter]), "hi")

        (counted,) = counter.usage_metadata.values()
        assert (counted["input_tokens"], counted["output_tokens"]) == (100, 20)

    def test_they_are_counted_under_the_model_that_served(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        counter = UsageMetadataCallbackHandler()

        message = call(get_llm(feature).with_config(callbacks=[counter]), "hi")

        assert list(counter.usage_metadata) == [receipt(message)["served_model"]]

    @pytest.mark.parametrize("loudly", [False, True])
    @pytest.mark.parametrize("event", ["on_chain_start", "on_chain_end", "on_chain_error"])
    def test_one_that_raises_on_an_attempt_changes_nothing(
        self, chain: str, call: Driver, provider: LoopbackProvider, event: str, *, loudly: bool
    ) -> None:
        faulty = Faulty(event, RuntimeError("the callback's own"), loudly=loudly)
        provider.script(Status(404), Text("fine"))

        message = call(get_llm(chain).with_config(callbacks=[faulty]), "hi")

        assert message.text == "fine"
        assert [attempt["outcome"] for attempt in receipt(message)["attempts"]] == ["failed", "ok"]
        assert len(provider.requests) == 2

    @pytest.mark.parametrize("event", ["on_chain_start", "on_chain_error"])
    def test_one_that_raises_does_not_hide_why_a_call_failed(
        self, feature: str, call: Driver, provider: LoopbackProvider, event: str
    ) -> None:
        faulty = Faulty(event, RuntimeError("the callback's own"), loudly=True)
        provider.always(Status(401))

        with pytest.raises(RejectedCredentialError):
            call(get_llm(feature).with_config(callbacks=[faulty]), "hi")

        assert len(provider.requests) == 1

    @pytest.mark.parametrize("event", ["on_chain_start", "on_chain_end", "on_chain_error"])
    def test_a_graphs_interrupt_passes_through_one(
        self, chain: str, call: Driver, provider: LoopbackProvider, patchbay: Patchbay, event: str
    ) -> None:
        pause = Pause()
        provider.always(Status(404) if event == "on_chain_error" else Text("fine"))

        with pytest.raises(GraphBubbleUp) as caught:
            call(get_llm(chain).with_config(callbacks=[Faulty(event, pause, loudly=True)]), "hi")

        assert caught.value is pause
        assert len(provider.requests) == (event != "on_chain_start")
        assert len(patchbay.runtime.transport.tickets) == 0

    def test_tags_and_metadata_reach_the_children(self, feature: str, call: Driver) -> None:
        diary = Diary()
        config: Any = {"callbacks": [diary], "tags": ["mine"], "metadata": {"request": "r-1"}}

        call(get_llm(feature).with_config(config), "hi")

        (_, more) = diary.payloads[1]
        assert "mine" in more["tags"]
        assert more["metadata"]["request"] == "r-1"


@pytest.fixture
def observed() -> list[tuple[str, Attempt]]:
    """What an observer saw: features and attempts."""
    return []


class TestObservers:
    """A patchbay's observer is told of every attempt, once."""

    @pytest.fixture
    def watched(self, make: Make, chain: str, observed: list[tuple[str, Attempt]]) -> Patchbay:
        """A chain under observation."""

        def observe(route: Route, attempt: Attempt) -> None:
            observed.append((route.feature.name, attempt))

        return make(ENDPOINTS[chain], observer=observe)

    def test_it_sees_each_attempt_as_the_receipt_has_it(
        self, watched: Patchbay, call: Driver, provider: LoopbackProvider, observed: list[tuple[str, Attempt]]
    ) -> None:
        provider.script(Status(503), UNFIT, UNFIT, ANN)

        message = call(watched.get_llm("f").bind(response_format=Person), "hi")

        assert [attempt.as_dict() for _, attempt in observed] == receipt(message)["attempts"]
        assert {feature for feature, _ in observed} == {"f"}

    def test_it_sees_each_attempt_as_the_error_has_it(
        self, watched: Patchbay, call: Driver, provider: LoopbackProvider, observed: list[tuple[str, Attempt]]
    ) -> None:
        provider.always(Status(503))

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(watched.get_llm("f"), "hi")

        assert tuple(attempt for _, attempt in observed) == caught.value.attempts

    def test_it_sees_an_attempt_that_the_callers_own_code_ended(
        self, watched: Patchbay, provider: LoopbackProvider, observed: list[tuple[str, Attempt]]
    ) -> None:
        def accept(_: object) -> None:
            raise TypeError("the caller's own")

        with pytest.raises(TypeError):
            watched.get_llm("f").invoke("hi", accept=accept)

        ((_, attempt),) = observed
        assert attempt.usage is not None
        assert len(provider.requests) == 1

    def test_one_that_raises_changes_nothing(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        def observe(*_: object) -> None:
            raise RuntimeError("the observer's own")

        provider.script(Status(404), Text("fine"))

        message = call(make(ENDPOINTS[chain], observer=observe).get_llm("f"), "hi")

        assert message.text == "fine"
        assert len(provider.requests) == 2


@pytest.mark.usefixtures("patchbay")
class TestControlFlow:
    """What is no failure passes through, and sends nothing more."""

    @pytest.mark.parametrize("kind", [GraphBubbleUp, Pause, KeyboardInterrupt, SystemExit])
    def test_from_the_callers_test(
        self,
        chain: str,
        call: Driver,
        provider: LoopbackProvider,
        patchbay: Patchbay,
        kind: type[BaseException],
    ) -> None:
        signal = kind()

        def accept(_: object) -> None:
            raise signal

        with pytest.raises(kind) as caught:
            call(get_llm(chain).bind(accept=accept), "hi")

        assert caught.value is signal
        assert len(provider.requests) == 1
        assert len(patchbay.runtime.transport.tickets) == 0

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_from_an_observer(
        self, chain: str, call: Driver, provider: LoopbackProvider, make: Make, kind: type[BaseException]
    ) -> None:
        def observe(*_: object) -> None:
            raise kind

        with pytest.raises(kind):
            call(make(ENDPOINTS[chain], observer=observe).get_llm("f"), "hi")

        assert len(provider.requests) == 1

    def test_a_cancelling_in_the_callers_test(
        self, chain: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        async def accept(_: object) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            astream(get_llm(chain).bind(accept=accept), "hi")

        assert len(provider.requests) == 1
        assert len(patchbay.runtime.transport.tickets) == 0
