"""What the server itself refuses, over real sockets: heads, chunks, slow clients and too many of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from typing_extensions import override

from backend import protocol
from backend.main import create_app
from backend.protocol import make_uvicorn_config
from backend.settings import Settings
from backend.tests.fakes.services import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

POST = b"POST /v1/conversations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
ANN = b"authorization: Bearer token-of-ann\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


class Server(uvicorn.Server):
    """Leaves the signals of the test process alone."""

    @override
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    app = create_app(Settings(_env_file=None, data_dir=tmp_path))
    app.state.services = services()
    async with serving(app, grace_seconds=1) as server:
        yield server


@asynccontextmanager
async def serving(app: ASGIApp, grace_seconds: int) -> AsyncIterator[Server]:
    config = make_uvicorn_config(app, grace_seconds=grace_seconds)
    config.port, config.lifespan = 0, "off"
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0)
    yield server
    server.should_exit = True
    await task


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, sent: bytes = b"") -> tuple[int, dict[str, str], Any]:
        """The next answer to what is sent: its status, its headers and its JSON."""
        self.writer.write(sent)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, json.loads(body or b"null")

    async def is_over(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, "bad_request", id="no HTTP"),
        pytest.param(b"GET / HTTP/1.1\r\na b: c\r\n\r\n", 400, "bad_request", id="no header"),
        pytest.param(
            b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 20_000,
            431,
            "request_header_fields_too_large",
            id="long",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 20_000 + b"\r\n",
            431,
            "request_header_fields_too_large",
            id="whole, long",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 200 + b"\r\n",
            431,
            "request_header_fields_too_large",
            id="many",
        ),
        pytest.param(POST + ANN + CHUNKED + b"1\r\n \r\n" * 9_000, 413, "content_too_large", id="chunks"),
        pytest.param(POST + ANN + CHUNKED + b"x\r\n", 400, "bad_request", id="no chunk"),
        pytest.param(POST + CHUNKED + b"1\r\n \r\n" * 9_000, 401, "unauthorized", id="chunks, no token"),
        pytest.param(
            POST + b"content-length: 9000000\r\n\r\n" + b" " * 9_000_000, 401, "unauthorized", id="no token"
        ),
        pytest.param(
            POST + ANN + b"content-length: 9000000\r\n\r\n" + b" " * 9_000_000,
            413,
            "content_too_large",
            id="long body",
        ),
        pytest.param(
            b"GET /x HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n" + b" " * 9_000_000,
            404,
            "not_found",
            id="no route",
        ),
    ],
)
async def test_every_refusal_has_the_one_shape_and_ends_the_connection(
    sent: bytes, status: int, code: str, server: Server
) -> None:
    async with connected(server) as client:
        answered, headers, told = await client.answer(sent)

        assert (answered, told["error"]["code"]) == (status, code)
        assert set(told["error"]) == {"code", "message"}
        assert headers["connection"] == "close"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        client.writer.write_eof()
        assert await client.is_over()


@pytest.mark.parametrize("length", [b"", b"content-length: 3\r\n"])
async def test_a_connection_serves_on_where_nothing_is_left_unread(length: bytes, server: Server) -> None:
    body = b"{ }" if length else b""
    async with connected(server) as client:
        refused, _, _ = await client.answer(
            b"POST /v1/chat HTTP/1.1\r\nhost: x\r\n" + length + b"\r\n" + body
        )
        served, _, _ = await client.answer(HEALTH)

    assert (refused, served) == (401, 200)


async def test_requests_that_come_at_once_are_answered_in_turn(server: Server) -> None:
    post = (
        b"POST /v1/chat HTTP/1.1\r\nhost: x\r\n"
        + ANN
        + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )
    async with connected(server) as client:
        client.writer.write(post + HEALTH + post)
        answers = [(await client.answer())[0] for _ in range(3)]

    assert answers == [422, 200, 422]


async def test_a_client_that_expects_100_continue_gets_it_only_with_a_token(server: Server) -> None:
    asks = b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    async with connected(server) as client, connected(server) as stranger:
        go_on, _, _ = await client.answer(POST + ANN + asks)
        answered, _, _ = await client.answer(b"{}")
        refused, _, _ = await stranger.answer(POST + asks)

    assert (go_on, answered, refused) == (100, 422, 401)


async def test_a_websocket_is_an_ordinary_request(server: Server) -> None:
    upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    async with connected(server) as client:
        client.writer.write(upgrade)
        assert (await client.reader.readline()).split()[1] == b"401"


async def test_a_head_that_does_not_end_is_answered_and_one_that_does_not_begin_is_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    async with connected(server) as slow, connected(server) as silent:
        status, _, told = await slow.answer(b"GET / HTTP/1.1\r\nhost:")

        assert (status, told["error"]["code"]) == (408, "request_timeout")
        assert await silent.is_over()


async def test_what_a_client_goes_on_sending_is_taken_for_a_while_only(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.05)
    async with connected(server) as client:
        assert (await client.answer(POST + b"content-length: 99\r\n\r\n"))[0] == 401

        while server.server_state.connections:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0)
        assert await client.is_over()


async def test_of_too_many_connections_the_one_that_waits_longest_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 2)
    async with connected(server) as first, connected(server) as second, connected(server) as third:
        assert (await third.answer(HEALTH))[0] == 200
        assert await first.is_over()
        assert (await second.answer(HEALTH))[0] == 200


async def test_health_is_answered_beside_too_many_requests(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_REQUESTS", 0)
    async with connected(server) as client:
        busy, headers, told = await client.answer(HEALTH.replace(b"/healthz", b"/v1/llm/qos"))
        healthy, _, _ = await client.answer(HEALTH)

    assert (busy, told["error"]["code"], headers["retry-after"], healthy) == (503, "too_busy", "1", 200)


LONG = 20_000_000


async def long_answer(_scope: Any, _receive: Any, send: Any) -> None:
    head = [(b"content-length", str(LONG).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b" " * LONG})


async def test_who_reads_nothing_of_a_long_answer_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READING_SECONDS", 0.02)
    server.config.loaded_app = long_answer
    async with connected(server) as client:
        client.writer.write(HEALTH)
        while not server.server_state.connections:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0)
        while server.server_state.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_who_reads_some_of_a_long_answer_from_one_look_to_the_next_is_waited_for(
    server: Server,
) -> None:
    server.config.loaded_app = long_answer
    async with connected(server) as client:
        client.writer.write(HEALTH)
        await client.reader.readuntil(b"\r\n\r\n")
        (connection,) = server.server_state.connections
        assert isinstance(connection, protocol.LimitedH11Protocol)
        left = LONG
        for _ in range(3):
            before = connection.transport.get_write_buffer_size()
            while connection.transport.get_write_buffer_size() == before:
                left -= len(await client.reader.read(1_000_000))
            connection._mind_reading(before)
            assert not connection.transport.is_closing()

        assert len(await client.reader.readexactly(left)) == left


async def test_a_stop_with_time_answers_once_more_on_a_connection_that_was_not_told_of_it() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        begun.set()
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"null"})

    async with serving(app, grace_seconds=60) as server, connected(server) as client:
        asking = asyncio.create_task(client.answer(HEALTH))
        await begun.wait()
        server.should_exit = True
        while server.servers[0].is_serving():  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0)
        goes_on.set()
        _, first, _ = await asking
        _, second, _ = await client.answer(HEALTH)

        assert "connection" not in first
        assert second["connection"] == "close"
        assert await client.is_over()
