"""LangChain's wrappers around a model, threads and loops."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import (
    LLMError,
    ProviderDownError,
)
from backend.utils.llm.testing import Status, Text

from ..drivers import ainvoke, astream, invoke, stream

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from ..drivers import Driver


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
