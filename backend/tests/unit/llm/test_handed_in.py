"""What an application hands in for a call: it is looked at before anything is sent, and has no more time than the call."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from backend.utils.llm.caller import use_caller
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import CallTimeoutError, SelectorError
from backend.utils.llm.execution.own_thread import (
    THREAD,
    StillRunningError,
    await_with_timeout,
    call_without_blocking,
    is_async_callable,
    run_in_daemon_thread,
    run_with_timeout,
)
from backend.utils.llm.model_config import Table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing import Json
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .drivers import ainvoke, astream, invoke, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

LUNA, TERRA = "openai:gpt-6-luna", "openai:gpt-6.1-terra"
BLOCKING, AWAITING = [invoke, stream], [ainvoke, astream]


class Answer(BaseModel):
    mark: float


async def yes(_: object) -> bool:
    return True


class Yes:
    async def __call__(self, _: object) -> bool:
        return True


def ways(model: Any, accept: Any) -> dict[str, Callable[[], Any]]:
    """Every way in which a test of the answer comes into a call."""
    return {
        "invoke": lambda: model.invoke("hi", accept=accept),
        "ainvoke": lambda: asyncio.run(model.ainvoke("hi", accept=accept)),
        "stream": lambda: list(model.stream("hi", accept=accept)),
        "batch": lambda: model.batch(["hi"], accept=accept),
        "generate": lambda: model.generate([[HumanMessage("hi")]], accept=accept),
        "bind": lambda: model.bind(accept=accept).invoke("hi"),
        "bind_tools": lambda: model.bind_tools([], accept=accept).invoke("hi"),
        "with_structured_output": lambda: model.with_structured_output(Answer, accept=accept).invoke("hi"),
        "include_raw": lambda: model.with_structured_output(Answer, accept=accept, include_raw=True).invoke(
            "hi"
        ),
        "with_config": lambda: model.bind(accept=accept).with_config(tags=["t"]).invoke("hi"),
        "pipe": lambda: (model.bind(accept=accept) | (lambda one: one)).invoke("hi"),
    }


WAYS = list(ways(None, None))


def str_of_setting(value: Any) -> str:
    """Without the address of a function, which is another one in each process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


class TestLookedAtBeforehand:
    """Nothing is sent, and nothing paid, that cannot come to a good end."""

    @pytest.mark.parametrize("accept", ["yes", False, 0.8, [], {}], ids=repr)
    @pytest.mark.parametrize("way", WAYS)
    def test_a_test_of_the_answer_that_cannot_be_called(
        self, provider: LoopbackProvider, make: Make, way: str, accept: Any
    ) -> None:
        with pytest.raises(TypeError, match="accept= is called with each answer"):
            ways(make(LUNA).get_llm("f"), accept)[way]()

        assert not provider.requests

    @pytest.mark.parametrize(
        "accept",
        [lambda: True, lambda one, two: one is two, functools.partial(yes, None)],
        ids=["0", "2", "full"],
    )
    def test_a_test_of_the_answer_that_takes_something_else(
        self, provider: LoopbackProvider, make: Make, call: Driver, accept: Any
    ) -> None:
        with pytest.raises(TypeError, match=r"accept= is (called with the answer|asynchronous)"):
            call(make(LUNA).get_llm("f").bind(accept=accept), "hi")

        assert not provider.requests

    @pytest.mark.parametrize(
        "accept", [yes, Yes(), functools.partial(yes)], ids=["function", "object", "partial"]
    )
    @pytest.mark.parametrize("driver", BLOCKING)
    def test_an_asynchronous_test_in_a_synchronous_call(
        self, provider: LoopbackProvider, make: Make, driver: Driver, accept: Any
    ) -> None:
        with pytest.raises(TypeError, match="works with ainvoke and astream only"):
            driver(make(LUNA).get_llm("f").bind(accept=accept), "hi")

        assert not provider.requests

    @pytest.mark.parametrize(
        "accept", [bool, id, Mock(return_value=True), [].append], ids=["class", "built in", "mock", "method"]
    )
    def test_whatever_takes_an_answer_may_test_it(self, make: Make, call: Driver, accept: Any) -> None:
        assert call(make(LUNA).get_llm("f").bind(accept=accept), "hi").text

    @pytest.mark.parametrize(
        ("setting", "fault"),
        [
            ({"tools": "add"}, "tools= takes a list"),
            ({"tools": {"type": "function", "function": {"name": "add"}}}, "tools= takes a list"),
            ({"tools": 5}, "tools= takes a list"),
            ({"tools": [5]}, "Unsupported function"),
            ({"tools": [{}]}, "Unsupported function"),
            ({"tools": [{"type": "function", "function": {}}]}, "without a name"),
            ({"tool_choice": ["add"]}, "is none of"),
            ({"tools": [yes], "parallel_tool_calls": "no"}, "takes a bool"),
            ({"cache_key": 5}, "takes a str"),
            ({"schema": "Answer"}, "Unsupported function"),
            ({"schema": 0}, "Unsupported function"),
            ({"response_format": {"type": "json_schema"}}, "has a name and a schema"),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
                "has a name and a schema",
            ),
            ({"stop": 5}, "list of words"),
            ({"stop": [5]}, "list of words"),
            ({"temperature": "hot"}, "temperature"),
        ],
        ids=str_of_setting,
    )
    def test_a_setting_that_no_endpoint_could_use(
        self, provider: LoopbackProvider, make: Make, call: Driver, setting: dict[str, Any], fault: str
    ) -> None:
        with pytest.raises((TypeError, ValueError), match=fault):
            call(make(LUNA).get_llm("f").bind(**setting), "hi")

        assert not provider.requests

    def test_one_word_may_stand_for_a_list_of_them(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        call(make(LUNA).get_llm("f").bind(stop="END"), "hi")

        assert provider.requests[0].body["stop"] == ["END"]

    def test_tools_and_schemas_may_come_as_they_are(
        self, provider: LoopbackProvider, make: Make, call: Driver
    ) -> None:
        def add(left: int, right: int) -> int:
            """Add two numbers."""
            return left + right

        provider.script(Json({"mark": 1.0}))

        call(make(LUNA).get_llm("f").bind(tools=[add], schema=Answer), "hi")

        (tool,) = provider.requests[0].body["tools"]
        assert tool["function"]["name"] == "add"
        assert "mark" in str(provider.requests[0].body["response_format"])

    @pytest.mark.parametrize("caller", ["ann", {"user_id": "ann"}], ids=repr)
    def test_a_caller_that_is_none(self, make: Make, caller: Any) -> None:
        patchbay = make(LUNA)

        for take in (
            lambda: patchbay.get_llm("f", caller=caller),
            lambda: patchbay.explain("f", caller=caller),
            lambda: use_caller(caller).__enter__(),
        ):
            with pytest.raises(TypeError, match="on behalf of a Caller"):
                take()

    @pytest.mark.parametrize("given", [{"observer": 5}, {"selectors": {"mine": "first"}}], ids=repr)
    def test_what_a_patchbay_is_to_call(self, provider: LoopbackProvider, given: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match="must be callable"):
            Patchbay(Table(text=loopback_table(provider, {"f": LUNA}), environ=HOUSE_KEYS), **given)

    @pytest.mark.parametrize("feature", [5, None, b"f"])
    def test_a_feature_without_a_name(self, make: Make, feature: Any) -> None:
        with pytest.raises(TypeError, match="a feature is named by a str"):
            make(LUNA).get_llm(feature)


@pytest.fixture
def hangs() -> Iterator[Callable[[object], bool]]:
    """Does not return before the test is over."""
    over = threading.Event()
    yield lambda _: over.wait(60)
    over.set()


def almost_over(provider: LoopbackProvider) -> Time:
    """A clock by which, of 60 seconds, a tenth of one is left once the provider was asked."""
    return replace(Time(), clock=lambda: 59.9 if provider.requests else 0.0)


ROW = "[features.f]\ndeadline = 60\n"
ROWS = {"plain": ROW, "hedged": ROW + "hedge = true\n", "limited": ROW + "limits = { concurrency = 1 }\n"}


class TestWithinTheDeadline:
    """However long it takes, the call ends in time."""

    @pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
    def test_a_test_of_the_answer_that_hangs(
        self, provider: LoopbackProvider, make: Make, call: Driver, hangs: Callable[[object], bool], row: str
    ) -> None:
        patchbay = make([LUNA, TERRA], row, time=almost_over(provider))

        with pytest.raises(CallTimeoutError, match="The test of the answer") as caught:
            call(patchbay.get_llm("f").bind(accept=hangs), "hi")

        assert [attempt.outcome for attempt in caught.value.attempts] == ["failed"]
        assert len(provider.requests) == 1

    @pytest.mark.parametrize("driver", AWAITING)
    def test_an_asynchronous_one_that_hangs(
        self, provider: LoopbackProvider, make: Make, driver: Driver
    ) -> None:
        async def hangs(_: object) -> None:
            await asyncio.Event().wait()

        with pytest.raises(CallTimeoutError, match="The test of the answer"):
            driver(make(LUNA, ROW, time=almost_over(provider)).get_llm("f").bind(accept=hangs), "hi")

    def test_a_selector_that_hangs(self, make: Make, call: Driver, hangs: Callable[[object], Any]) -> None:
        row = '[features.f]\ndeadline = 0.1\nselect = { by = "custom", name = "slow" }'

        with pytest.raises(SelectorError, match="deadline"):
            call(make(LUNA, row, selectors={"slow": hangs}).get_llm("f"), "hi")

    @pytest.mark.parametrize("kind", [TimeoutError, StopIteration])
    def test_what_a_selector_raises_is_no_lateness(
        self, make: Make, call: Driver, kind: type[Exception]
    ) -> None:
        def odd(_: object) -> None:
            raise kind

        row = '[features.f]\nselect = { by = "custom", name = "odd" }'

        with pytest.raises(SelectorError, match="failed with"):
            call(make(LUNA, row, selectors={"odd": odd}).get_llm("f"), "hi")

    async def test_the_loop_goes_on_beside_a_test_of_the_answer(self, make: Make) -> None:
        loop, asked, went_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def accept(_: object) -> bool:
            loop.call_soon_threadsafe(asked.set)
            return went_on.wait(60)

        call = asyncio.create_task(make(LUNA).get_llm("f").ainvoke("hi", accept=accept))
        await asked.wait()
        went_on.set()

        assert (await call).text

    def test_it_has_the_callers_context(self, make: Make, call: Driver) -> None:
        trace = contextvars.ContextVar("trace", default="none")
        seen: list[Any] = []

        def accept(_: object) -> None:
            seen.append(trace.get())

        trace.set("t1")
        call(make(LUNA).get_llm("f").bind(accept=accept), "hi")

        assert seen == ["t1"]


class TestOwnThread:
    """One question to the application, and its answer or what it raises."""

    def test_what_ends_in_time(self) -> None:
        assert run_with_timeout(lambda: threading.current_thread().name, 30) == THREAD

    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    def test_what_does_not(self, hangs: Callable[[object], bool], seconds: float) -> None:
        with pytest.raises(StillRunningError):
            run_with_timeout(functools.partial(hangs, None), seconds)

    @pytest.mark.parametrize(
        "error", [ValueError("own"), TimeoutError("own"), StopIteration("own"), KeyboardInterrupt()]
    )
    def test_what_it_raises_comes_out_as_it_is(self, error: BaseException) -> None:
        def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            run_with_timeout(fail, 30)

        assert caught.value is error

    async def test_an_end_that_no_future_takes_is_told_all_the_same(self) -> None:
        def fail() -> None:
            raise StopIteration

        with pytest.raises(RuntimeError):
            await run_in_daemon_thread(fail)

    @pytest.mark.parametrize("seconds", [0.0, 0.01])
    async def test_a_promise_has_no_more_time(self, seconds: float) -> None:
        with pytest.raises(StillRunningError):
            await await_with_timeout(asyncio.Event().wait(), seconds)

    async def test_a_time_out_of_its_own_is_no_lateness(self) -> None:
        async def fail() -> None:
            raise TimeoutError("own")

        with pytest.raises(TimeoutError, match="own"):
            await await_with_timeout(fail(), 30)

    @pytest.mark.parametrize(
        "work",
        [lambda: "said", functools.partial(asyncio.sleep, 0, "said"), lambda: asyncio.sleep(0, "said")],
        ids=["now", "later", "a promise"],
    )
    async def test_whoever_is_asked_may_answer_later(self, work: Callable[[], Any]) -> None:
        assert await call_without_blocking(work) == "said"

    @pytest.mark.parametrize(
        ("work", "verdict"),
        [
            (yes, True),
            (Yes(), True),
            (functools.partial(Yes(), None), True),
            (Yes, False),
            (print, False),
        ],
    )
    def test_what_only_makes_a_coroutine(self, work: Any, *, verdict: bool) -> None:
        assert is_async_callable(work) is verdict
