"""Callbacks, observers, batches, wrappers, threads and loops: nothing around a call changes what it does."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    UsageMetadataCallbackHandler,
)
from langchain_core.messages import AIMessage

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    BudgetExceededError,
    CallError,
    ConfigError,
    LLMError,
    MissingCallerError,
    ProviderDownError,
    RejectedCredentialError,
    StreamInterruptedError,
    UnknownEndpointError,
    UnknownFeatureError,
)
from backend.utils.llm.failures import Category
from backend.utils.llm.receipt import Attempt
from backend.utils.llm.receipt import Usage as Tokens
from backend.utils.llm.testing import Cut, Json, Raw, Status, StreamError, Text, Usage

from .drivers import ainvoke, astream, invoke, stream
from .samples import CANARY, Person, receipt
from .test_errors import ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from backend.utils.llm.clients import Patchbay
    from backend.utils.llm.routing.route import Route
    from backend.utils.llm.testing import LoopbackProvider, Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .conftest import Make
    from .drivers import Driver

    Failed = Callable[[Reply], tuple[LLMError, "Diary"]]

OPENAI, GEMINI = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
ENDPOINTS: dict[str, str | list[str]] = {
    "over_openai": OPENAI,
    "over_gemini": GEMINI,
    "over_anthropic": "anthropic:claude-sonnet-5-5",
    "openai_then_gemini": [OPENAI, GEMINI],
    "gemini_then_openai": [GEMINI, OPENAI],
}
UNFIT = Text("canary-answer")
ANN = Json({"name": "Ann", "age": 30})


class GraphBubbleUp(Exception):  # noqa: N818 - LangGraph's own name
    """As LangGraph's: an interrupt that travels as an exception."""


class Pause(GraphBubbleUp):
    """One of its kinds."""


@pytest.fixture
def make(make: Make, virtual: VirtualTime) -> Make:
    """Patchbays in virtual time."""
    return partial(make, time=virtual.time)


class Diary(BaseCallbackHandler):
    """Writes down what it is told, and by which run."""

    def __init__(self) -> None:
        self.told: list[tuple[str, UUID, UUID | None]] = []
        self.payloads: list[Any] = []

    def _note(self, what: str, payload: Any, run_id: UUID, parent_run_id: UUID | None) -> None:
        self.told.append((what, run_id, parent_run_id))
        self.payloads.append(payload)

    def on_chat_model_start(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("model starts", (payload, more), run_id, parent_run_id)

    def on_llm_end(self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any) -> None:
        self._note("model ends", (payload, more), run_id, parent_run_id)

    def on_llm_error(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("model fails", (payload, more), run_id, parent_run_id)

    def on_chain_start(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("attempt starts", (payload, more), run_id, parent_run_id)

    def on_chain_end(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("attempt ends", (payload, more), run_id, parent_run_id)

    def on_chain_error(
        self, *payload: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        self._note("attempt fails", (payload, more), run_id, parent_run_id)

    @property
    def events(self) -> list[str]:
        return [what for what, *_ in self.told]


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


# Observers ---------------------------------------------------------------------------------------------------------


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


# What passes -------------------------------------------------------------------------------------------------------


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


# Errors travel -----------------------------------------------------------------------------------------------------

ATTEMPT = Attempt(
    endpoint=OPENAI,
    key_owner="house",
    outcome="rejected",
    started=datetime(2026, 11, 21, 12, tzinfo=UTC),
    duration=timedelta(seconds=1.5),
    category=Category.INVALID_OUTPUT,
    status=200,
    served_model="gpt-6-luna-2026-11-01",
    usage=Tokens(100, 20),
    cost_usd=Decimal("0.000123"),
)


def example(kind: type[LLMError]) -> LLMError:
    """An error of ``kind`` with everything that it can carry."""
    if issubclass(kind, ConfigError):
        return kind(["a.b: wrong", "c: wrong"])
    if issubclass(kind, UnknownFeatureError):
        return kind("conv_action_item", ["conv_action_items"])
    if issubclass(kind, UnknownEndpointError):
        return kind("openai:gpt-6-lunar", "conv_action_items", ["openai:gpt-6-luna"])
    if issubclass(kind, MissingCallerError):
        return kind("conv_action_items")
    error = kind("what happened", feature="f", attempts=[ATTEMPT], retry_after=1.5)
    if isinstance(error, CallError):
        error.answer = AIMessage("canary-answer", response_metadata={"finish_reason": "stop"})
    if isinstance(error, StreamInterruptedError):
        error.partial = "so far"
    error.http_status, error.retryable = 418, True
    return error


COPIES = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301 - our own bytes
    "the oldest pickle": lambda error: pickle.loads(pickle.dumps(error, 0)),  # noqa: S301 - our own bytes
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


class TestErrorsTravel:
    """An error may be sent to another process, with all that it knows."""

    @pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
    def test_a_copy_is_the_same(self, kind: type[LLMError], copied: Callable[[LLMError], LLMError]) -> None:
        error = example(kind)

        made = copied(error)

        assert type(made) is kind
        assert vars(made) == vars(error)
        assert (str(made), made.args, made.as_dict()) == (str(error), error.args, error.as_dict())

    def test_a_real_one_travels_too(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(UNFIT)

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(make(ENDPOINTS[chain]).get_llm("f").bind(response_format=Person), "hi")
        made = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes

        assert vars(made) == vars(caught.value)
        assert made.answer.text == UNFIT.text

    def test_what_is_retryable_is_so_in_langchains_words_too(
        self, make: Make, chain: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(503))

        with pytest.raises(AllAttemptsFailedError) as caught:
            call(make(ENDPOINTS[chain]).get_llm("f"), "hi")

        assert caught.value.retryable
        assert caught.value.is_retryable

    def test_every_error_was_tried(self) -> None:
        assert {AllAttemptsFailedError, StreamInterruptedError, BudgetExceededError} <= set(ERRORS)


# Secrets -----------------------------------------------------------------------------------------------------------


def everything_in(payload: Any) -> str:
    """Whatever a log or a tracer could make of it."""
    parts = payload if isinstance(payload, list | tuple) else [payload]
    texts = [repr(payload), str(payload)]
    for part in parts:
        if isinstance(part, BaseException):
            texts += traceback.format_exception(part)
            texts += map(repr, getattr(part, "attempts", ()))
        elif isinstance(part, list | tuple | dict):
            texts.append(everything_in(list(part.values()) if isinstance(part, dict) else list(part)))
    return "".join(texts)


PARROTS: dict[str, Reply] = {
    **{
        str(status): Status(status, message=f"Incorrect API key provided: {CANARY}.")
        for status in (400, 401, 403, 404, 422, 429, 500, 503)
    },
    "a page": Raw(502, f"<html>Bad key {CANARY}</html>", content_type="text/html"),
    "no JSON": Raw(401, f"Bearer {CANARY} is not known"),
    "JSON of its own kind": Raw(500, json.dumps([{"detail": {"Authorization": f"Bearer {CANARY}"}}])),
    "a redirect": Raw(307, "Moved", headers={"Location": f"https://elsewhere.invalid/?key={CANARY}"}),
    "a challenge": Raw(401, "{}", headers={"WWW-Authenticate": f'Bearer error="{CANARY}"'}),
}
PARROTS_BEHIND_200: dict[str, Reply] = {
    "an error": StreamError(0, "", {"message": f"Incorrect API key: {CANARY}", "code": "invalid_api_key"}),
    "a page": Raw(200, f"<html>Bad key {CANARY}</html>", content_type="text/html"),
    "no JSON": Raw(200, f"data: {{{CANARY}\n\n", content_type="text/event-stream"),
}


@pytest.mark.parametrize("owner", ["user", "house"])
class TestSecrets:
    """A key that a provider repeats is nowhere."""

    @pytest.fixture
    def failed(
        self, make: Make, feature: str, call: Driver, provider: LoopbackProvider, owner: str
    ) -> Failed:
        """Calls with the canary as the key, and gives what came of it."""
        house = "house-key" if owner == "user" else CANARY
        patchbay = make(
            ENDPOINTS[feature], environ={"LOOPBACK_OPENAI_KEY": house, "LOOPBACK_GEMINI_KEY": house}
        )
        caller = Caller(keys={"openai": CANARY, "gemini": CANARY}) if owner == "user" else Caller()

        def fail(parrot: Reply) -> tuple[LLMError, Diary]:
            diary = Diary()
            provider.always(parrot)
            with pytest.raises(LLMError) as caught, use_caller(caller):
                call(patchbay.get_llm("f").with_config(callbacks=[diary]), "hi")
            assert provider.requests[0].key == CANARY
            return caught.value, diary

        return fail

    @pytest.mark.parametrize("parrot", PARROTS.values(), ids=PARROTS)
    def test_a_repeated_key_is_in_no_error_no_log_and_no_callback(
        self, failed: Failed, caplog: pytest.LogCaptureFixture, parrot: Reply
    ) -> None:
        caplog.set_level(logging.DEBUG)

        error, diary = failed(parrot)

        assert CANARY not in everything_in([error, *diary.payloads])
        assert CANARY not in json.dumps(error.as_dict())
        assert CANARY not in pickle.dumps(error).decode("latin-1")
        assert CANARY not in caplog.text

    @pytest.mark.parametrize("parrot", PARROTS_BEHIND_200.values(), ids=PARROTS_BEHIND_200)
    def test_one_behind_a_200_is_in_no_error_no_log_and_no_callback(
        self, failed: Failed, caplog: pytest.LogCaptureFixture, parrot: Reply
    ) -> None:
        caplog.set_level(logging.DEBUG)

        error, diary = failed(parrot)

        assert CANARY not in everything_in([error, *diary.payloads])
        assert CANARY not in caplog.text


# Wrappers ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patchbay")
class TestWrappers:
    """LangChain's own wrappers go around a feature as around any model."""

    def test_a_batch_may_have_failures_in_it(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text("one"), Status(400), Text("three"))

        first, second, third = get_llm(feature).batch(
            ["1", "2", "3"], config={"max_concurrency": 1}, return_exceptions=True
        )

        assert (first.text, third.text) == ("one", "three")
        assert isinstance(second, LLMError)

    async def test_an_asynchronous_batch_may_have_failures_in_it(
        self, feature: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Text("one"), Status(400), Text("three"))

        first, second, third = await get_llm(feature).abatch(
            ["1", "2", "3"], config={"max_concurrency": 1}, return_exceptions=True
        )

        assert (first.text, third.text) == ("one", "three")
        assert isinstance(second, LLMError)
        assert len(patchbay.runtime.transport.tickets) == 0
        await patchbay.aclose()

    async def test_many_at_once_do_not_mix(
        self, chain: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        answers = await get_llm(chain).abatch([f"number {n}" for n in range(30)])

        assert [f"number {n}”" in answer.text for n, answer in enumerate(answers)] == [True] * 30
        assert len(provider.requests) == 30
        await patchbay.aclose()

    def test_a_fallback_of_langchain_takes_over(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Status(400), Text("from the fallback"))

        model = get_llm(feature).with_fallbacks([get_llm("openai_then_gemini")])

        assert call(model, "hi").text == "from the fallback"
        assert len(provider.requests) == 2

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    def test_a_retry_of_langchain_calls_again(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Status(400), Text("the second time"))

        model = get_llm(feature).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)

        assert call(model, "hi").text == "the second time"

    def test_a_retry_of_langchain_may_pick_what_is_worth_it(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(400))
        model = get_llm(feature).with_retry(
            retry_if_exception_type=(ProviderDownError,), stop_after_attempt=3, wait_exponential_jitter=False
        )

        with pytest.raises(LLMError):
            model.invoke("hi")

        assert len(provider.requests) == 1

    def test_an_error_may_be_handled_by_langchains_name(
        self, feature: str, call: Driver, provider: LoopbackProvider
    ) -> None:
        from langchain_core.exceptions import ModelAPIError

        provider.always(Status(503))
        model = get_llm(feature).with_fallbacks(
            [get_llm("gemini_then_openai").with_config(tags=["second"])],
            exceptions_to_handle=(ModelAPIError,),
        )

        with pytest.raises(LLMError):
            call(model, "hi")

        assert len(provider.requests) > 3


# Threads and loops -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patchbay")
class TestThreadsAndLoops:
    """One model serves them all."""

    def test_threads_do_not_mix(self, chain: str, provider: LoopbackProvider, patchbay: Patchbay) -> None:
        model = get_llm(chain)

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda n: model.invoke(f"number {n}").text, range(64)))

        assert [f"number {n}”" in answer for n, answer in enumerate(answers)] == [True] * 64
        assert len(patchbay.runtime.transport.tickets) == 0

    def test_drivers_do_not_mix(self, chain: str, patchbay: Patchbay) -> None:
        model = get_llm(chain)
        drivers = [invoke, ainvoke, stream, astream]

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: drivers[n % 4](model, f"number {n}").text, range(32)))

        assert [f"number {n}”" in answer for n, answer in enumerate(answers)] == [True] * 32
        assert len(patchbay.runtime.transport.tickets) == 0

    def test_two_loops_at_once(self, chain: str, patchbay: Patchbay) -> None:
        model = get_llm(chain)
        together = threading.Barrier(2, timeout=10)

        def loop(name: str) -> list[str]:
            async def ask() -> list[str]:
                together.wait()
                answers = await asyncio.gather(*(model.ainvoke(f"{name} {n}") for n in range(8)))
                return [answer.text for answer in answers]

            return asyncio.run(ask())

        with ThreadPoolExecutor(2) as threads:
            left, right = threads.map(loop, ["left", "right"])

        assert [f"left {n}”" in text for n, text in enumerate(left)] == [True] * 8
        assert [f"right {n}”" in text for n, text in enumerate(right)] == [True] * 8
        assert len(patchbay.runtime.transport.tickets) == 0

    def test_one_loop_after_another(self, feature: str, call: Driver) -> None:
        model = get_llm(feature)

        assert [call(model, "hi").text for _ in range(3)] == [call(model, "hi").text] * 3

    def test_a_call_inside_a_stream(self, chain: str, stream: Driver, provider: LoopbackProvider) -> None:
        provider.script(Text("one two three"))
        model = get_llm(chain)
        inner = [model.invoke(chunk.text).text for chunk in model.stream("hi") if chunk.text]

        assert len(inner) == 3
        assert len(provider.requests) == 4

    def test_concurrent_failures_each_raise_their_own_error(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(400))

        def fail(_: int) -> LLMError:
            with pytest.raises(LLMError) as caught:
                get_llm(feature).invoke("hi")
            return caught.value

        with ThreadPoolExecutor(8) as threads:
            errors = list(threads.map(fail, range(16)))

        assert len({id(error) for error in errors}) == 16
        assert {len(error.attempts) for error in errors} == {1}
