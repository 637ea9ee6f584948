"""Server-sent events: what came together is written together, and nobody waits for anybody longer than they must."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from backend.routers.event_stream import MOST_UNSENT, TOGETHER_SECONDS, EventStreamResponse
from backend.wires.sse import encode_event, encode_json_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


class Client:
    """Reads a stream. It stops reading while ``reads`` is not set, and leaves when ``leaves`` is."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.leaves = asyncio.Event()
        self.got_some = asyncio.Event()
        self.bodies: list[bytes] = []
        self.is_over = False

    async def receive(self) -> Any:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            self.is_over = not message["more_body"]
            self.got_some.set()

    async def read(self, stream: EventStreamResponse) -> None:
        await stream(dict(SCOPE), self.receive, self.send)


async def yielding(*some: bytes) -> AsyncGenerator[bytes, None]:
    for one in some:
        yield one


@pytest.mark.parametrize(
    ("data", "name", "written"),
    [
        ("[DONE]", None, b"data: [DONE]\n\n"),
        ("x", "delta", b"event: delta\ndata: x\n\n"),
        ("a\nb\r\nc\rd", None, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ("\u2028\x00", None, "data: \u2028\x00\n\n".encode()),
    ],
    ids=["plain", "named", "lines", "no ends of lines"],
)
def test_an_event_is_framed_line_by_line(data: str, name: str | None, written: bytes) -> None:
    assert encode_event(data, name) == written


@pytest.mark.parametrize("text", ["é\n🜁", "\ud800", 'a "b" \\ \r'])
def test_any_text_comes_out_of_json_as_it_was(text: str) -> None:
    head, data, *rest = encode_json_event({"text": text}, "delta").decode().split("\n")

    assert (head, rest) == ("event: delta", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"text": text}


async def test_what_came_together_is_written_together_with_the_end() -> None:
    client = Client()

    await client.read(EventStreamResponse(yielding(b"one", b"two", b"three")))

    assert (client.bodies, client.is_over) == ([b"onetwothree"], True)


async def test_what_has_come_does_not_wait_for_what_is_to_come() -> None:
    client, more = Client(), asyncio.Event()

    async def halting() -> AsyncGenerator[bytes, None]:
        yield b"one"
        yield b"two"
        await more.wait()
        yield b"three"

    reading = asyncio.create_task(client.read(EventStreamResponse(halting())))
    await client.got_some.wait()
    assert client.bodies == [b"onetwo"]
    more.set()
    await reading

    assert client.bodies == [b"onetwo", b"three"]


async def test_a_source_that_never_waits_lets_others_have_a_turn() -> None:
    client, turns = Client(), 0

    async def count() -> None:
        nonlocal turns
        while not client.is_over:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await client.read(EventStreamResponse(yielding(*[b"x"] * 50_000)))
    await counting

    assert b"".join(client.bodies) == b"x" * 50_000
    assert turns > 3


async def test_a_source_waits_for_a_client_that_reads_nothing() -> None:
    client, yielded = Client(), 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal yielded
        while True:
            yielded += 1
            client.reads.clear()
            yield b"x" * 1024

    reading = asyncio.create_task(client.read(EventStreamResponse(endless())))
    for _ in range(1_000):
        await asyncio.sleep(0)
    client.leaves.set()
    client.reads.set()
    await reading

    assert yielded <= 2 * MOST_UNSENT / 1024


async def test_a_client_that_is_slow_at_the_end_gets_all_of_it() -> None:
    client = Client()

    async def two() -> AsyncGenerator[bytes, None]:
        yield b"one"
        client.reads.clear()
        await asyncio.sleep(0)
        yield b"two"

    reading = asyncio.create_task(client.read(EventStreamResponse(two())))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not client.bodies
    client.reads.set()
    await reading

    assert (b"".join(client.bodies), client.is_over) == (b"onetwo", True)


async def test_a_client_that_leaves_closes_the_source() -> None:
    client, closed = Client(), False

    async def silent() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed = True

    reading = asyncio.create_task(client.read(EventStreamResponse(silent())))
    await client.got_some.wait()
    client.leaves.set()
    await reading

    assert (closed, client.is_over) == (True, False)


async def test_a_silent_stream_says_that_it_lives() -> None:
    client, goes_on = Client(), asyncio.Event()

    async def silent() -> AsyncGenerator[bytes, None]:
        await goes_on.wait()
        yield b"one"

    reading = asyncio.create_task(client.read(EventStreamResponse(silent(), ping_seconds=0.001)))
    await client.got_some.wait()
    goes_on.set()
    await reading

    assert (client.bodies[0], client.bodies[-1][-3:]) == (b": ping\n\n", b"one")


async def test_a_source_that_breaks_breaks_the_answer_off() -> None:
    client = Client()

    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await client.read(EventStreamResponse(broken()))

    assert not client.is_over


async def test_a_server_that_cannot_send_ends_the_source() -> None:
    client = Client()

    async def broken_send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 1024

    with pytest.raises(OSError, match="gone"):
        await EventStreamResponse(endless())(dict(SCOPE), client.receive, broken_send)


async def test_the_head_is_sent_in_the_same_turn_as_the_first_event() -> None:
    client, turn, sent_in = Client(), 0, []

    async def count() -> None:
        nonlocal turn
        while not client.is_over:
            turn += 1
            await asyncio.sleep(0)

    async def send(message: Any) -> None:
        sent_in.append((message["type"], turn))
        await client.send(message)

    counting = asyncio.create_task(count())
    await EventStreamResponse(yielding(b"one"))(dict(SCOPE), client.receive, send)
    await counting

    (_, head), (_, first) = sent_in
    assert head == first


async def test_what_comes_in_quick_succession_is_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 0.0)
    client = Client()

    async def hasty() -> AsyncGenerator[bytes, None]:
        for _ in range(50):
            yield b"x"
            await asyncio.sleep(0)

    await client.read(EventStreamResponse(hasty()))

    assert b"".join(client.bodies) == b"x" * 50
    assert len(client.bodies) == 2


async def test_what_comes_after_a_pause_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    client, goes_on, now = Client(), asyncio.Event(), 0.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)

    async def slow() -> AsyncGenerator[bytes, None]:
        yield b"one"
        await goes_on.wait()
        yield b"two"
        await asyncio.Event().wait()

    reading = asyncio.create_task(client.read(EventStreamResponse(slow())))
    await client.got_some.wait()
    client.got_some.clear()
    now = TOGETHER_SECONDS
    goes_on.set()
    await client.got_some.wait()
    client.leaves.set()
    await reading

    assert client.bodies == [b"one", b"two"]
