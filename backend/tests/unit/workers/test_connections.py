"""Connections on their way from a supervisor to its workers."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from backend.workers.connections import Channel, ChannelListener, Dispatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def dispatcher(port: socket.socket) -> AsyncIterator[Dispatcher]:
    with closing(Dispatcher(port)) as one:
        yield one


@pytest.fixture
def channels() -> Iterator[list[Channel]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Channel())) for _ in range(3)]


@pytest.fixture
def clients(port: socket.socket) -> Iterator[list[socket.socket]]:
    """Thirty clients that are connected."""
    address = port.getsockname()
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(address)) for _ in range(30)]


def addresses(connections: list[socket.socket]) -> list[Any]:
    return [one.getsockname() for one in connections]


async def got(channel: Channel, number: int) -> list[Any]:
    """The clients of so many connections that a worker accepts."""
    found: list[Any] = []
    with ChannelListener(fileno=socket.dup(channel.descriptor)) as listener:
        while len(found) < number:
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                await asyncio.sleep(0)
            else:
                connection.close()
                found.append(address)
    return found


async def test_workers_have_equally_many_connections_in_turn(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    for channel in channels:
        dispatcher.add(channel)

    accepted = [await got(channel, 10) for channel in channels]

    assert accepted == [addresses(clients[first::3]) for first in range(3)]


async def test_what_a_worker_has_not_accepted_goes_to_the_others_when_it_is_gone(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    first, second, _ = channels
    dispatcher.add(first)
    accepted = await got(first, 10)
    dispatcher.add(second)

    dispatcher.remove(first)

    assert accepted + await got(second, 20) == addresses(clients)


async def test_clients_wait_while_nobody_serves(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    first, second, _ = channels
    dispatcher.add(first)
    dispatcher.remove(first)
    await asyncio.sleep(0)

    dispatcher.add(second)

    assert await got(second, 30) == addresses(clients)


async def test_a_worker_that_accepts_nothing_leaves_connections_to_the_others(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    stuck, well, _ = channels
    while stuck.send(clients[0]):
        pass
    dispatcher.add(stuck)
    dispatcher.add(well)

    assert await got(well, 30) == addresses(clients)


async def test_connections_that_nobody_can_take_are_offered_again(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    stuck = channels[0]
    before = 0
    while stuck.send(clients[0]):
        before += 1
    dispatcher.add(stuck)
    await asyncio.sleep(0)
    await got(stuck, before)

    assert await got(stuck, 30) == addresses(clients)


async def test_connections_that_nobody_has_taken_are_closed_at_the_end(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    dispatcher.add(channels[0])
    await got(channels[0], 5)

    dispatcher.close()
    channels[0].close()

    assert [is_closed(client) for client in clients] == [True] * 30
    dispatcher.remove(channels[0])


def is_closed(client: socket.socket) -> bool:
    client.settimeout(10)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_a_server_of_asyncio_answers_what_comes_over_a_channel(
    dispatcher: Dispatcher, channels: list[Channel], clients: list[socket.socket]
) -> None:
    def greeting(number: int) -> Any:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(str(number).encode())
            writer.close()

        return greet

    async with AsyncExitStack() as stack:
        for number, channel in enumerate(channels):
            listener = ChannelListener(fileno=socket.dup(channel.descriptor))
            await stack.enter_async_context(await asyncio.start_server(greeting(number), sock=listener))
            dispatcher.add(channel)

        said = [await read(client) for client in clients]

    assert said == [b"0", b"1", b"2"] * 10


async def read(client: socket.socket) -> bytes:
    client.settimeout(0)
    return await asyncio.get_running_loop().sock_recv(client, 10)


def test_a_client_that_is_gone_is_not_accepted(channels: list[Channel]) -> None:
    unconnected = socket.socket()
    with unconnected, ChannelListener(fileno=socket.dup(channels[0].descriptor)) as listener:
        channels[0].send(unconnected)

        with pytest.raises(ConnectionAbortedError):
            listener.accept()
