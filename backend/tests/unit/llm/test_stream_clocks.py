"""A stream has clocks of its own, and ends when its reader leaves: at the provider too."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.clock import Time
from backend.utils.llm.errors import CallTimeoutError, LLMError, StreamInterruptedError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.options import Options
from backend.utils.llm.state.circuit_breaker import IN_A_ROW, OPEN_SECONDS
from backend.utils.llm.testing import (
    CleanEnd,
    Cut,
    Hang,
    KeepAlive,
    SlowFirstByte,
    Status,
    Text,
    Trickle,
    Usage,
)

from .drivers import ainvoke, invoke
from .samples import receipt
from .test_deadline import (
    AT_ONCE,
    ENDPOINTS,
    SLACK,
    EachTokenTakes,
    Misbehaving,
    at_most,
    chain_of,
    first_model,
    read_request,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable, Generator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route
    from backend.utils.llm.testing import LoopbackProvider, Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .conftest import Make
    from .drivers import Driver


ENDLESS = Trickle(Text("word " * 2000, chunks=2000), 0.05)
FIRST = "[features.f]\nattempts = 1\noptions = { first_chunk_timeout = 0.2 }"
BETWEEN = "[features.f]\noptions = { chunk_timeout = 0.2 }"


def hurried(chain: str) -> str:
    """Like `FIRST`, but of the first endpoint alone: the other one has all the time that a busy machine takes."""
    return f"[models.'{chain_of(chain)[0]}']\noptions = {{ first_chunk_timeout = 0.2 }}\n[features.f]\nattempts = 1"


COMMENTED = ["over_openai", "over_gemini"]
COMMENTED_CHAINS = ["openai_then_gemini", "gemini_then_openai"]
COMMENT = b": still here\n\n"
ONE_WORD = {
    "over_openai": {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "one "}, "finish_reason": None}],
    },
    "over_gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": "one "}]}, "index": 0}]},
}


def says_one_word(feature: str, more: bytes | None) -> Callable[[socket.socket, threading.Event], None]:
    """A server that streams one word, and ``more``, if anything, for ever after."""

    def conduct(connection: socket.socket, closing: threading.Event) -> None:
        read_request(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        piece: bytes | None = f"data: {json.dumps(ONE_WORD[feature])}\n\n".encode()
        while True:
            if piece is not None:
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            piece = more
            if closing.wait(0.05):
                return

    return conduct


class TestFirstChunk:
    """Until there is content, a stream that is late is left for the next endpoint."""

    @pytest.mark.parametrize(
        "late",
        [
            Hang(),
            SlowFirstByte(30, Text("late")),
        ],
        ids=["silence", "a late head"],
    )
    def test_what_is_no_content_in_time_falls_over_unseen(
        self, chain: str, stream: Driver, provider: LoopbackProvider, make: Make, late: Reply
    ) -> None:
        patchbay = make(chain_of(chain), hurried(chain))
        provider.always(late, model=first_model(chain))
        provider.always(Text("from the second"))

        with at_most(SLACK):
            message = stream(patchbay.get_llm("f"), "hi")

        assert message.text == "from the second"
        assert [attempt["category"] for attempt in receipt(message)["attempts"]] == ["timeout", None]

    @pytest.mark.parametrize("chain", COMMENTED_CHAINS)
    def test_comments_are_no_content(
        self, chain: str, stream: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(chain_of(chain), hurried(chain))
        provider.always(KeepAlive(0.05, Text("late"), 1200), model=first_model(chain))
        provider.always(Text("from the second"))

        with at_most(SLACK):
            message = stream(patchbay.get_llm("f"), "hi")

        assert message.text == "from the second"
        assert [attempt["category"] for attempt in receipt(message)["attempts"]] == ["timeout", None]

    @pytest.mark.parametrize("feature", COMMENTED)
    def test_comments_do_not_disturb_what_comes_after_them(
        self, feature: str, stream: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature])
        provider.always(KeepAlive(0.02, Text("one two three")))

        assert stream(patchbay.get_llm("f"), "hi").text == "one two three"
        assert len(provider.requests) == 1

    def test_a_chunk_without_content_does_not_count(
        self, stream: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(chain_of("openai_then_gemini"), hurried("openai_then_gemini"))
        provider.always(Trickle(Text("late"), 30), model=first_model("openai_then_gemini"))
        provider.always(Text("from the second"))

        assert stream(patchbay.get_llm("f"), "hi").text == "from the second"

    def test_without_another_endpoint_it_is_a_time_out(
        self, feature: str, stream: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature], FIRST)
        provider.always(Hang())

        with at_most(SLACK), pytest.raises(CallTimeoutError):
            stream(patchbay.get_llm("f"), "hi")

    def test_it_is_retried_before_the_next_endpoint_is_asked(
        self, chain: str, stream: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        row = "[features.f]\noptions = { first_chunk_timeout = 1.0 }"
        patchbay = make(chain_of(chain), row, time=AT_ONCE)
        provider.script(Hang(), Text("from the first"))

        message = stream(patchbay.get_llm("f"), "hi")

        assert message.text == "from the first"
        assert receipt(message)["degraded"] is False

    @pytest.mark.parametrize("call", [invoke, ainvoke])
    def test_a_whole_answer_has_no_first_chunk(
        self, feature: str, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature], FIRST)
        provider.always(SlowFirstByte(0.4, Text("late, and in time")))

        assert call(patchbay.get_llm("f"), "hi").text == "late, and in time"

    def test_a_stream_in_time_is_left_alone_after_it(
        self, feature: str, stream: Driver, provider: LoopbackProvider, virtual: VirtualTime, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature], "[features.f]\ndeadline = 100", time=virtual.time)
        provider.always(Trickle(Text("one two three four", chunks=4), 0.05))

        slow = EachTokenTakes(20, virtual)
        message = stream(patchbay.get_llm("f").with_config(callbacks=[slow]), "hi")

        assert message.text == "one two three four"
        assert virtual.clock() > Options().first_chunk_timeout


class TestBetweenChunks:
    """After the first content the call is committed, and the next chunk has to come in time."""

    def test_silence_interrupts_the_stream_and_carries_its_partial_text(
        self, chain: str, stream: Driver, make: Make
    ) -> None:
        first = f"over_{chain.partition('_')[0]}"
        with Misbehaving(says_one_word(first, None)) as server:
            patchbay = make(chain_of(chain), BETWEEN, server=server)

            with at_most(SLACK), pytest.raises(StreamInterruptedError) as caught:
                stream(patchbay.get_llm("f"), "hi")

            assert server.connections == 1
        assert caught.value.partial == "one "
        assert [attempt.category for attempt in caught.value.attempts] == ["timeout"]

    @pytest.mark.parametrize("feature", COMMENTED)
    def test_comments_are_no_chunks(self, feature: str, stream: Driver, make: Make) -> None:
        with Misbehaving(says_one_word(feature, COMMENT)) as server:
            patchbay = make(ENDPOINTS[feature], BETWEEN, server=server)

            with at_most(SLACK), pytest.raises(StreamInterruptedError) as caught:
                stream(patchbay.get_llm("f"), "hi")

        assert caught.value.partial == "one "
        assert caught.value.attempts[0].category == "timeout"

    def test_a_gap_may_be_longer_than_the_first_chunk_may_take(
        self, feature: str, stream: Driver, make: Make
    ) -> None:
        row = "[features.f]\noptions = { first_chunk_timeout = 0.8, chunk_timeout = 1.0 }"
        with Misbehaving(says_one_word(feature, None)) as server:
            patchbay = make(ENDPOINTS[feature], row, server=server)

            with pytest.raises(StreamInterruptedError) as caught:
                stream(patchbay.get_llm("f"), "hi")

        assert caught.value.attempts[0].duration.total_seconds() >= 1.0

    def test_a_slow_reader_is_not_timed_out(
        self, feature: str, provider: LoopbackProvider, make: Make, virtual: VirtualTime
    ) -> None:
        patchbay = make(ENDPOINTS[feature], BETWEEN, time=virtual.time)
        provider.always(Text("one two three four five"))
        texts = []

        for chunk in patchbay.get_llm("f").stream("hi"):
            virtual.sleep(10)
            texts.append(chunk.text)

        assert "".join(texts) == "one two three four five"

    async def test_a_reader_who_awaits_something_else_is_not_timed_out(
        self, feature: str, provider: LoopbackProvider, make: Make, virtual: VirtualTime
    ) -> None:
        patchbay = make(ENDPOINTS[feature], BETWEEN, time=virtual.time)
        provider.always(Text("one two three four five"))
        texts = []

        async for chunk in patchbay.get_llm("f").astream("hi"):
            await virtual.asleep(10)
            texts.append(chunk.text)

        assert "".join(texts) == "one two three four five"
        await patchbay.aclose()

    @pytest.mark.parametrize(
        "broken", [Cut(2, "one two three"), CleanEnd(2, "one two three")], ids=["cut", "clean end"]
    )
    def test_the_partial_text_is_exactly_what_was_handed_on(
        self, feature: str, provider: LoopbackProvider, make: Make, broken: Reply
    ) -> None:
        patchbay = make(ENDPOINTS[feature])
        provider.always(broken)
        handed_on: list[str] = []

        with pytest.raises(StreamInterruptedError) as caught:
            handed_on.extend(chunk.text for chunk in patchbay.get_llm("f").stream("hi"))

        assert caught.value.partial == "one two "


# Leaving -----------------------------------------------------------------------------------------------------------


def close(chunks: list[Generator[Any]]) -> None:
    chunks.pop().close()


def forget(chunks: list[Generator[Any]]) -> None:
    del chunks[:]
    gc.collect()


def close_elsewhere(chunks: list[Generator[Any]]) -> None:
    thread = threading.Thread(target=chunks.pop().close)
    thread.start()
    thread.join()


async def aclose(chunks: list[AsyncGenerator[Any]]) -> None:
    await chunks.pop().aclose()


async def aforget(chunks: list[AsyncGenerator[Any]]) -> None:
    del chunks[:]
    gc.collect()


def is_closed(provider: LoopbackProvider) -> bool:
    """Whether the provider's only request was abandoned, soon."""
    return provider.wait_until(lambda requests: [request.closed_by_client for request in requests] == [True])


@pytest.fixture
def observed() -> list[Attempt]:
    """What an observer saw."""
    return []


@pytest.fixture
def watched(make: Make, feature: str, virtual: VirtualTime, observed: list[Attempt]) -> Patchbay:
    """A feature ``f`` over each wire, with an observer."""

    def observe(_: Route, attempt: Attempt) -> None:
        observed.append(attempt)

    return make(ENDPOINTS[feature], time=virtual.time, observer=observe)


class TestLeaving:
    """A reader who stops reading stops the provider from writing."""

    @pytest.mark.parametrize("leave", [close, forget, close_elsewhere], ids=lambda leave: leave.__name__)
    def test_the_providers_connection_is_closed(
        self, watched: Patchbay, provider: LoopbackProvider, leave: Callable[[list[Any]], None]
    ) -> None:
        provider.script(ENDLESS)
        chunks = [watched.get_llm("f").stream("hi")]
        next(chunks[0])

        leave(chunks)

        assert is_closed(provider)
        assert len(watched.runtime.transport.tickets) == 0

    def test_leaving_a_loop_is_leaving(self, watched: Patchbay, provider: LoopbackProvider) -> None:
        provider.script(ENDLESS)

        for _ in watched.get_llm("f").stream("hi"):
            break

        assert is_closed(provider)
        assert len(watched.runtime.transport.tickets) == 0

    def test_an_error_of_the_reader_closes_the_stream(
        self, watched: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.script(ENDLESS)

        def divide() -> None:
            for chunk in watched.get_llm("f").stream("hi"):
                _ = len(chunk.text) / 0

        with pytest.raises(ZeroDivisionError):
            divide()

        assert is_closed(provider)
        assert len(watched.runtime.transport.tickets) == 0

    @pytest.mark.parametrize("leave", [aclose, aforget], ids=lambda leave: leave.__name__)
    async def test_leaving_an_asynchronous_loop_closes_the_stream(
        self, watched: Patchbay, provider: LoopbackProvider, leave: Callable[[list[Any]], Any]
    ) -> None:
        provider.script(ENDLESS)
        chunks: list[Any] = [watched.get_llm("f").astream("hi")]
        await anext(chunks[0])

        await leave(chunks)

        assert await asyncio.to_thread(is_closed, provider)
        assert len(watched.runtime.transport.tickets) == 0
        await watched.aclose()

    async def test_no_garbage_collection_is_needed_for_it(
        self, watched: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.script(ENDLESS)
        gc.disable()
        try:
            chunks: Any = watched.get_llm("f").astream("hi")
            await anext(chunks)

            await chunks.aclose()

            assert await asyncio.to_thread(is_closed, provider)
        finally:
            gc.enable()
        await watched.aclose()

    async def test_leaving_a_loop_there_is_leaving(
        self, watched: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.script(ENDLESS)

        async for _ in watched.get_llm("f").astream("hi"):
            break

        assert await asyncio.to_thread(is_closed, provider)
        assert len(watched.runtime.transport.tickets) == 0
        await watched.aclose()

    def test_the_end_of_the_loop_is_one_of_the_stream(
        self, watched: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.script(ENDLESS)

        async def begin() -> None:
            chunks: Any = watched.get_llm("f").astream("hi")
            await anext(chunks)

        asyncio.run(begin())

        assert is_closed(provider)
        assert len(watched.runtime.transport.tickets) == 0

    def test_an_unread_stream_sends_nothing(self, watched: Patchbay, provider: LoopbackProvider) -> None:
        chunks = watched.get_llm("f").stream("hi")
        del chunks
        gc.collect()

        assert provider.requests == ()
        assert len(watched.runtime.transport.tickets) == 0

    def test_a_stream_may_be_read_in_another_thread(
        self, watched: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("one two three"))
        chunks = watched.get_llm("f").stream("hi")
        texts = [next(chunks).text]

        thread = threading.Thread(target=lambda: texts.extend(chunk.text for chunk in chunks))
        thread.start()
        thread.join()

        assert "".join(texts) == "one two three"
        assert len(watched.runtime.transport.tickets) == 0

    def test_a_cancelled_stream_is_observed_once(
        self, watched: Patchbay, provider: LoopbackProvider, observed: list[Attempt]
    ) -> None:
        provider.script(ENDLESS)
        chunks: Any = watched.get_llm("f").stream("hi")
        next(chunks)

        chunks.close()

        assert [(attempt.outcome, attempt.status) for attempt in observed] == [("cancelled", 200)]

    def test_leaving_at_the_last_chunk_is_no_cancelling(
        self, watched: Patchbay, provider: LoopbackProvider, observed: list[Attempt]
    ) -> None:
        provider.script(Text("one"))
        chunks: Any = watched.get_llm("f").stream("hi")

        for chunk in chunks:
            if "receipt" in chunk.response_metadata:
                chunks.close()

        assert [attempt.outcome for attempt in observed] == ["ok"]

    def test_a_broken_stream_leaves_nothing(
        self, watched: Patchbay, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Cut(1, "one two three"))

        with pytest.raises(StreamInterruptedError):
            stream(watched.get_llm("f"), "hi")

        assert len(watched.runtime.transport.tickets) == 0


class TestUsage:
    """What a stream used is known at its end."""

    def test_the_receipt_of_a_stream_has_it(
        self, watched: Patchbay, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("one two three", usage=Usage(100, 20, cached_tokens=40)))

        (attempt,) = receipt(stream(watched.get_llm("f"), "hi"))["attempts"]

        used = attempt["usage"]
        assert (used["input"], used["output"], used["cached"]) == (100, 20, 40)

    def test_a_cancelled_stream_reaches_the_observer(
        self, watched: Patchbay, stream: Driver, provider: LoopbackProvider, observed: list[Attempt]
    ) -> None:
        provider.script(Text("one two three", usage=Usage(100, 20)))

        stream(watched.get_llm("f"), "hi")

        assert [(attempt.usage.input, attempt.usage.output) for attempt in observed if attempt.usage] == [
            (100, 20)
        ]

    def test_an_empty_stream_is_retried_and_recorded(
        self, watched: Patchbay, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(CleanEnd(0, ""), Text("one two three"))

        message = stream(watched.get_llm("f"), "hi")

        assert [attempt["outcome"] for attempt in receipt(message)["attempts"]] == ["failed", "ok"]


# Cancelling --------------------------------------------------------------------------------------------------------


class Cancelled:
    """A call in a task, cancelled at a moment; what is left is looked at."""

    def __init__(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        self.patchbay = patchbay
        self._provider = provider

    async def at(self, moment: asyncio.Event, call: Any) -> None:
        """Cancel ``call`` when ``moment`` has come."""
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(call)
        await moment.wait()
        sent = len(self._provider.requests)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert len(self._provider.requests) == sent
        assert asyncio.all_tasks() <= before
        assert len(self.patchbay.runtime.transport.tickets) == 0

    async def at_arrival(self, call: Any) -> None:
        """Cancel ``call`` when its request has arrived."""
        moment = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait() -> None:
            self._provider.wait_until(lambda requests: len(requests) > 0)
            loop.call_soon_threadsafe(moment.set)

        waiting = asyncio.create_task(asyncio.to_thread(wait))
        await self.at(moment, call)
        await waiting


async def read(chunks: Any, begun: asyncio.Event) -> None:
    async for _ in chunks:
        begun.set()


@pytest.fixture
async def half_open(watched: Patchbay, virtual: VirtualTime) -> Patchbay:
    """``f``'s only endpoint has failed again and again, some time ago: one request may probe it."""
    (candidate,) = watched.explain("f").candidates
    for _ in range(IN_A_ROW):
        watched.runtime.health.record_failure(candidate.endpoint_circuit, FailureCategory.SERVER)
    assert watched.runtime.health.find_unavailable_reason(candidate.endpoint_circuit) is not None
    virtual.sleep(OPEN_SECONDS)
    return watched


def may_be_probed(patchbay: Patchbay) -> bool:
    """Whether nobody's probe is in the way of the next."""
    (candidate,) = patchbay.explain("f").candidates
    return candidate.rest is None


class TestCancelling:
    """Whenever a call is cancelled, nothing more is sent, and nothing is left."""

    async def test_before_an_answer(self, half_open: Patchbay, provider: LoopbackProvider) -> None:
        provider.always(Hang())

        await Cancelled(half_open, provider).at_arrival(half_open.get_llm("f").ainvoke("hi"))

        assert may_be_probed(half_open)
        assert await asyncio.to_thread(is_closed, provider)
        await half_open.aclose()

    async def test_before_a_streams_answer(self, half_open: Patchbay, provider: LoopbackProvider) -> None:
        provider.always(Hang())
        chunks = half_open.get_llm("f").astream("hi")

        await Cancelled(half_open, provider).at_arrival(read(chunks, asyncio.Event()))

        assert may_be_probed(half_open)
        assert await asyncio.to_thread(is_closed, provider)
        await half_open.aclose()

    async def test_in_the_middle_of_a_stream(self, half_open: Patchbay, provider: LoopbackProvider) -> None:
        provider.always(ENDLESS)
        begun = asyncio.Event()
        chunks = half_open.get_llm("f").astream("hi")

        await Cancelled(half_open, provider).at(begun, read(chunks, begun))

        assert may_be_probed(half_open)
        assert await asyncio.to_thread(is_closed, provider)
        await half_open.aclose()

    @pytest.mark.parametrize("streaming", ["ainvoke", "astream"])
    async def test_while_it_waits_to_ask_again(
        self, feature: str, provider: LoopbackProvider, make: Make, streaming: str
    ) -> None:
        waiting = asyncio.Event()

        async def asleep(_: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        patchbay = make(ENDPOINTS[feature], time=Time(asleep=asleep))
        provider.always(Status(503, retry_after=1))
        model = patchbay.get_llm("f")
        call = model.ainvoke("hi") if streaming == "ainvoke" else read(model.astream("hi"), asyncio.Event())

        await Cancelled(patchbay, provider).at(waiting, call)

        assert len(provider.requests) == 1
        await patchbay.aclose()

    async def test_while_its_answer_is_tested(self, half_open: Patchbay, provider: LoopbackProvider) -> None:
        testing = asyncio.Event()

        async def accept(_: object) -> None:
            testing.set()
            await asyncio.Event().wait()

        call = half_open.get_llm("f").ainvoke("hi", accept=accept)
        await Cancelled(half_open, provider).at(testing, call)

        assert may_be_probed(half_open)
        await half_open.aclose()

    async def test_cancelled_inside_a_callback(self, half_open: Patchbay, provider: LoopbackProvider) -> None:
        from langchain_core.callbacks import AsyncCallbackHandler

        told = asyncio.Event()

        class Slow(AsyncCallbackHandler):
            async def on_chain_start(self, *_: Any, **__: Any) -> None:
                told.set()
                await asyncio.Event().wait()

        call = half_open.get_llm("f").ainvoke("hi", config={"callbacks": [Slow()]})
        await Cancelled(half_open, provider).at(told, call)

        assert provider.requests == ()
        assert may_be_probed(half_open)
        await half_open.aclose()

    async def test_a_cancelled_call_is_observed_once(
        self, half_open: Patchbay, provider: LoopbackProvider, observed: list[Attempt]
    ) -> None:
        provider.always(Hang())

        await Cancelled(half_open, provider).at_arrival(half_open.get_llm("f").ainvoke("hi"))

        assert [attempt.outcome for attempt in observed] == ["cancelled"]
        await half_open.aclose()

    async def test_time_that_a_caller_set_is_a_cancelling_too(
        self, half_open: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.always(Hang())

        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(half_open.get_llm("f").ainvoke("hi"), 0.1)

        assert not isinstance(caught.value, LLMError)
        assert may_be_probed(half_open)
        await half_open.aclose()

    def test_a_stream_that_is_closed_frees_the_probes_place(
        self, half_open: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.always(ENDLESS)
        chunks: Any = half_open.get_llm("f").stream("hi")
        next(chunks)
        assert not may_be_probed(half_open)

        chunks.close()

        assert may_be_probed(half_open)

    def test_a_stream_that_is_forgotten_frees_the_probes_place(
        self, half_open: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.always(ENDLESS)
        chunks: Any = half_open.get_llm("f").stream("hi")
        next(chunks)

        del chunks
        gc.collect()

        assert may_be_probed(half_open)

    def test_an_interrupt_from_the_keyboard_does_too(
        self, half_open: Patchbay, provider: LoopbackProvider
    ) -> None:
        def accept(_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            half_open.get_llm("f").invoke("hi", accept=accept)

        assert may_be_probed(half_open)
        assert len(provider.requests) == 1


def test_a_process_may_go_on_after_a_cancelled_call(
    feature: str, provider: LoopbackProvider, make: Make
) -> None:
    patchbay = make(ENDPOINTS[feature])
    provider.script(Hang(), Text("after it"))

    async def both() -> str:
        await Cancelled(patchbay, provider).at_arrival(patchbay.get_llm("f").ainvoke("hi"))
        return str((await patchbay.get_llm("f").ainvoke("hi")).text)

    assert asyncio.run(both()) == "after it"
