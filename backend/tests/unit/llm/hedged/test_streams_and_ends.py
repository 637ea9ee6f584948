"""A hedged stream is of one of its two requests; whoever gives a hedged call up ends both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.execution.loop_thread import BackgroundLoop
from backend.utils.llm.testing import (
    Cut,
    Hang,
    Text,
    Trickle,
)

from ..test_deadline import first_model
from .conftest import AT_ONCE, ENDLESS, NEVER, Gated, is_closed, second_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt

    from ..drivers import Driver

    Hedged = Callable[..., Patchbay]


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
        assert [attempt.outcome for attempt in caught.value.attempts] == ["cancelled", "failed"]


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
        assert [(attempt.outcome, attempt.estimated) for attempt in observed] == [("cancelled", True)] * 2
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

        assert [attempt.outcome for attempt in observed] == ["cancelled"]
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

        run, waits = BackgroundLoop.run, 0

        def interrupted(loop: BackgroundLoop, work: Any) -> Any:
            """The key is pressed while both requests are waited for."""
            nonlocal waits
            waits += work.__name__ == "_first_of"
            if waits == 2 and work.__name__ == "_first_of":
                work.close()
                provider.wait_until(lambda requests: len(requests) == 2)
                raise KeyboardInterrupt
            return run(loop, work)

        monkeypatch.setattr(BackgroundLoop, "run", interrupted)
        model = hedged(AT_ONCE).get_llm("f")

        with pytest.raises(KeyboardInterrupt):
            list(model.stream("hi")) if streams else model.invoke("hi")

        assert is_closed(provider, first_model(chain))
        assert is_closed(provider, second_model(chain))
        assert [attempt.outcome for attempt in observed] == ["cancelled"] * 2
