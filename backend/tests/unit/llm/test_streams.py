"""Nothing is handed on before the first content; a stream belongs to whoever asked for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.clients import get_llm
from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.testing import CleanEnd, Cut, Hang, LoopbackProvider, Reply, Status, Text

from .samples import CANARY, add, receipt

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay

    from .drivers import Driver


@pytest.mark.usefixtures("patchbay")
class TestStreams:
    """Nothing is handed on before the first content; after it the call is committed."""

    def test_only_the_last_chunk_has_the_receipt(self, feature: str) -> None:
        chunks = list(get_llm(feature).stream("hi"))

        assert ["receipt" in chunk.response_metadata for chunk in chunks] == [False] * (len(chunks) - 1) + [
            True
        ]

    def test_text_comes_in_several_chunks(self, feature: str, provider: LoopbackProvider) -> None:
        provider.script(Text("one two three", chunks=3))

        texts = [chunk.text for chunk in get_llm(feature).stream("hi") if chunk.text]

        assert texts == ["one ", "two ", "three"]

    @pytest.mark.parametrize(
        "broken", [Cut(after_chunks=1, text="one two three"), CleanEnd(after_chunks=1, text="one two")]
    )
    def test_what_breaks_after_the_first_chunk_is_an_error_with_the_partial_text(
        self, chain: str, stream: Driver, provider: LoopbackProvider, broken: Reply
    ) -> None:
        provider.script(broken, Text("from the second"))

        with pytest.raises(StreamInterruptedError) as caught:
            stream(get_llm(chain), "hi")

        assert caught.value.partial.startswith("one")
        assert "second" not in caught.value.partial
        assert len(provider.requests) == 1

    @pytest.mark.parametrize(
        "broken", [Cut(after_chunks=0, text="one"), CleanEnd(after_chunks=0, text="one"), Status(503)]
    )
    def test_what_breaks_before_it_falls_over_unseen(
        self, chain: str, stream: Driver, provider: LoopbackProvider, broken: Reply
    ) -> None:
        provider.script(broken, Text("from the second"))

        assert stream(get_llm(chain), "hi").text == "from the second"

    async def test_a_reader_who_leaves_ends_the_request(
        self, feature: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Text("word " * 2000))

        chunks = get_llm(feature).astream("hi")
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]

        assert len(patchbay.runtime.transport.tickets) == 0
        assert len(provider.requests) == 1

    async def test_a_cancelled_call_sends_nothing_more(
        self, chain: str, provider: LoopbackProvider, patchbay: Patchbay
    ) -> None:
        provider.script(Hang())
        task = asyncio.create_task(get_llm(chain).ainvoke("hi"))
        await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 1)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert len(provider.requests) == 1
        assert len(patchbay.runtime.transport.tickets) == 0

    async def test_events_carry_the_tokens(self, feature: str) -> None:
        kinds = [event["event"] async for event in get_llm(feature).astream_events("hi", version="v2")]

        assert kinds[0] == "on_chat_model_start"
        assert "on_chat_model_stream" in kinds
        assert kinds[-1] == "on_chat_model_end"

    def test_streaming_models_stream_even_when_invoked(
        self, feature: str, provider: LoopbackProvider
    ) -> None:
        message = get_llm(feature, streaming=True).invoke("hi")

        assert provider.requests[-1].stream
        assert message.usage_metadata is not None
        assert receipt(message)["feature"] == feature


@pytest.mark.usefixtures("patchbay")
class TestCallersOfStreams:
    """A stream is paid for by whoever asked for it, wherever it is read."""

    def test_read_where_there_is_no_caller(self, provider: LoopbackProvider) -> None:
        model = get_llm("over_openai")
        with use_caller(Caller(keys={"openai": CANARY})):
            chunks = model.stream("hi")

        list(chunks)

        assert [request.key for request in provider.requests] == [CANARY]

    async def test_read_by_another_caller(self, provider: LoopbackProvider) -> None:
        with use_caller(Caller(keys={"openai": "key-1"})):
            chunks = get_llm("over_openai").astream("hi")
        with use_caller(Caller(keys={"openai": "key-2"})):
            _ = [chunk async for chunk in chunks]

        assert [request.key for request in provider.requests] == ["key-1"]

    def test_bound_in_a_request_and_read_after_it(self, provider: LoopbackProvider) -> None:
        with use_caller(Caller(keys={"openai": CANARY})):
            chunks = get_llm("over_openai").bind_tools([add]).stream("hi")

        list(chunks)

        assert [request.key for request in provider.requests] == [CANARY]
