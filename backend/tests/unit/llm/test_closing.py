"""A patchbay that is closed ends its connections, each as soon as no request is under way on it."""

from __future__ import annotations

import asyncio
import select
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.sockets import none_left_open
from backend.tests.fakes.strangers import WELL, Stranger, certificate, running
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import Cut, Html, SlowFirstByte, Status, Text, Trickle, WrongJson
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.transport import Credential, Request, connections

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider, Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime
    from backend.utils.llm.transport.loop_pool import LoopConnectionPool

    from .conftest import Make


def test_a_stream_that_is_under_way_comes_to_its_end(make: Make, provider: LoopbackProvider) -> None:
    provider.always(Trickle(Text("one two three"), 0.05))
    patchbay = make("openai:gpt-6-luna")

    with none_left_open():
        chunks = patchbay.get_llm("f").stream("hi")
        begun = next(chunks).text
        patchbay.close()
        whole = begun + "".join(chunk.text for chunk in chunks)
        del chunks

    assert whole == "one two three"


async def pool_of(patchbay: Patchbay) -> LoopConnectionPool:
    """The connections of this loop."""
    return await patchbay.runtime.transport.pools.get_loop_pool()


async def closed(pool: LoopConnectionPool, turns: int = 1000) -> bool:
    """Whether its connections are, once the loop has had its turns."""
    for _ in range(turns):
        if pool.session.closed:
            break
        await asyncio.sleep(0)
    return pool.session.closed


async def test_an_asynchronous_stream_that_is_under_way_comes_to_its_end(
    make: Make, provider: LoopbackProvider
) -> None:
    provider.always(Trickle(Text("one two three"), 0.05))
    patchbay = make("openai:gpt-6-luna")
    pool = await pool_of(patchbay)

    with none_left_open():
        chunks = patchbay.get_llm("f").astream("hi")
        begun = (await anext(chunks)).text
        await patchbay.aclose()
        assert not await closed(pool, turns=50)
        whole = begun + "".join([chunk.text async for chunk in chunks])

    assert whole == "one two three"
    assert await closed(pool)


@pytest.mark.parametrize("row", ["", "[features.f]\nhedge = true"], ids=["plain", "hedged"])
async def test_asynchronous_calls_that_are_under_way_are_answered(
    make: Make, provider: LoopbackProvider, row: str
) -> None:
    provider.always(SlowFirstByte(0.5, Text("ok")))
    patchbay = make(["openai:gpt-6-luna", "openai:gpt-6.1-terra"], row)
    pool = await pool_of(patchbay)

    with none_left_open():
        calls = [asyncio.create_task(patchbay.get_llm("f").ainvoke("hi")) for _ in range(3)]
        await asyncio.to_thread(provider.wait_until, lambda requests: len(requests) == 3, timeout_seconds=30)
        await patchbay.aclose()
        answers = [(await call).text for call in calls]

    assert answers == ["ok"] * 3
    assert len(provider.requests) == 3
    assert await closed(pool)


@pytest.mark.parametrize("reply", [Status(503), Text("ok")], ids=["failed", "answered"])
async def test_who_is_left_after_the_end_of_its_patchbay_closes_its_connection(
    make: Make, provider: LoopbackProvider, reply: Reply
) -> None:
    provider.always(SlowFirstByte(30.0, reply))
    patchbay = make("openai:gpt-6-luna")
    pool = await pool_of(patchbay)

    with none_left_open():
        call = asyncio.create_task(patchbay.get_llm("f").ainvoke("hi"))
        await asyncio.to_thread(provider.wait_until, bool, timeout_seconds=30)
        await patchbay.aclose()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert await closed(pool)


async def test_where_nothing_is_under_way_it_is_closed_at_once(
    make: Make, provider: LoopbackProvider
) -> None:
    patchbay = make("openai:gpt-6-luna")
    pool = await pool_of(patchbay)

    with none_left_open():
        await patchbay.get_llm("f").ainvoke("hi")
        async for _ in patchbay.get_llm("f").astream("hi"):
            pass
        await patchbay.aclose()

    assert pool.session.closed
    assert len(provider.requests) == 2


@pytest.mark.parametrize(
    "reply", [Status(503), Status(400), Cut(1, "one two"), Html(), WrongJson()], ids=repr
)
async def test_however_a_request_ends_it_is_under_way_no_longer(
    make: Make, provider: LoopbackProvider, reply: Reply
) -> None:
    provider.always(reply)
    patchbay = make("openai:gpt-6-luna", "[features.f]\nattempts = 1")
    pool = await pool_of(patchbay)

    with pytest.raises(LLMError):
        await patchbay.get_llm("f").ainvoke("hi")
    with pytest.raises(LLMError):
        [chunk async for chunk in patchbay.get_llm("f").astream("hi")]

    assert not pool.in_flight


def test_a_call_that_outlives_its_patchbay_leaves_no_connection(
    provider: LoopbackProvider, virtual: VirtualTime
) -> None:
    provider.script(SlowFirstByte(0.3, Status(503)), Text("from a new connection"))
    patchbay = loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}, time=virtual.time)

    with none_left_open():
        thread = threading.Thread(target=patchbay.get_llm("f").invoke, args=("hi",))
        thread.start()
        provider.wait_until(bool)
        patchbay.close()
        thread.join()
        del patchbay, thread

    assert len(provider.requests) == 2


def test_an_unclosed_patchbay_closes_its_connections(provider: LoopbackProvider) -> None:
    with none_left_open():
        loopback_patchbay(provider, {"f": "openai:gpt-6-luna"}).get_llm("f").invoke("hi")

    assert len(provider.requests) == 1


def test_a_connection_is_closed_that_is_still_being_made_when_its_pool_is(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate("models.example", tmp_path)
    served, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=file)
    served.load_cert_chain(file)
    trusted.check_hostname = False
    monkeypatch.setattr(connections, "_tls", lambda: trusted)
    server = Stranger(served)
    server.reply = 200, {"Connection": "keep-alive", "Content-Length": str(len(WELL))}, [WELL]
    patchbay = make("openai:gpt-6-luna")
    provider, transport = patchbay.table.snapshot.providers["openai"], patchbay.runtime.transport
    ticket = transport.tickets.open(provider, Credential("house", None), 60.0)
    answers: list[bytes] = []

    def call() -> None:
        request = Request(f"https://127.0.0.1:{server.port}/v1", {}, b"{}")
        answers.append(transport.pools.send(request, ticket).read())

    with none_left_open():
        thread = threading.Thread(target=call)
        thread.start()
        select.select([server.socket], [], [], 5.0)
        transport.pools.close()
        with running(server):
            thread.join()

    assert answers == [WELL]
