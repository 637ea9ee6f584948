"""Connections on their way from a supervisor to its workers."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from backend.workers import connections
from backend.workers.connections import (
    MOST_UNACCEPTED,
    ConnectionDispatcher,
    WorkerChannel,
    WorkerChannelListener,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
async def dispatcher(
    port: socket.socket,
    channels: list[WorkerChannel],  # noqa: ARG001 - they close after it
) -> AsyncIterator[ConnectionDispatcher]:
    with closing(ConnectionDispatcher(port)) as one:
        yield one


@pytest.fixture
def channels() -> Iterator[list[WorkerChannel]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(WorkerChannel())) for _ in range(3)]


@pytest.fixture
def clients(port: socket.socket) -> Iterator[list[socket.socket]]:
    """Thirty clients that are connected."""
    address = port.getsockname()
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(address)) for _ in range(30)]


def addresses(connections: list[socket.socket]) -> list[Any]:
    return [connection.getsockname() for connection in connections]


async def got(channel: WorkerChannel, number: int) -> list[Any]:
    """The clients of so many connections that a worker accepts."""
    found: list[Any] = []
    with WorkerChannelListener(fileno=socket.dup(channel.worker_descriptor)) as listener:
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
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    for channel in channels:
        dispatcher.add_channel(channel)

    accepted = await asyncio.gather(*(got(channel, 10) for channel in channels))

    assert list(accepted) == [addresses(clients[first::3]) for first in range(3)]


async def test_what_a_worker_has_not_accepted_goes_to_the_others_when_it_is_gone(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    first, second, _ = channels
    dispatcher.add_channel(first)
    accepted = await got(first, 10)
    dispatcher.add_channel(second)

    dispatcher.remove_channel(first)

    assert accepted + await got(second, 20) == addresses(clients)


async def test_clients_wait_while_nobody_serves(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    first, second, _ = channels
    dispatcher.add_channel(first)
    dispatcher.remove_channel(first)
    await asyncio.sleep(0)

    dispatcher.add_channel(second)

    assert await got(second, 30) == addresses(clients)


async def test_a_worker_that_accepts_nothing_leaves_connections_to_the_others(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    hanging, well, _ = channels
    dispatcher.add_channel(hanging)
    dispatcher.add_channel(well)

    accepted = await got(well, 30 - MOST_UNACCEPTED)
    hanging_has = await got(hanging, MOST_UNACCEPTED)

    assert sorted(accepted + hanging_has) == sorted(addresses(clients))


@pytest.mark.usefixtures("clients")
async def test_a_worker_is_sent_so_many_more_as_it_has_accepted(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel]
) -> None:
    dispatcher.add_channel(channels[0])

    await got(channels[0], 5)
    await turns(20)

    dispatcher.remove_channel(channels[0])
    assert len(dispatcher._waiting) == MOST_UNACCEPTED + 1  # and the one that could not be sent


async def test_connections_that_no_worker_has_room_for_are_sent_at_the_next_acknowledgement(
    dispatcher: ConnectionDispatcher,
    channels: list[WorkerChannel],
    clients: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "RETRY_SECONDS", 3600.0)
    dispatcher.add_channel(channels[0])
    await turns(20)

    assert await got(channels[0], 30) == addresses(clients)


async def test_what_the_kernel_did_not_send_is_offered_again(
    dispatcher: ConnectionDispatcher,
    channels: list[WorkerChannel],
    clients: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "RETRY_SECONDS", 0.0)
    refused = iter(range(3))
    send = socket.send_fds

    def refuse_first(*arguments: Any) -> int:
        if next(refused, None) is not None:
            raise OSError(errno.ETOOMANYREFS, "too many descriptors under way")
        return send(*arguments)

    monkeypatch.setattr(socket, "send_fds", refuse_first)
    dispatcher.add_channel(channels[0])

    assert await got(channels[0], 30) == addresses(clients)


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    """All that this process may have are in use."""
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, bounds[1]))  # the lowest that is free
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bounds)


async def test_what_a_worker_without_a_free_descriptor_cannot_accept_waits_until_there_is_one(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    dispatcher.add_channel(channels[0])
    await turns(20)
    with (
        WorkerChannelListener(fileno=socket.dup(channels[0].worker_descriptor)) as listener,
        no_descriptor_free(),
    ):
        with pytest.raises(OSError, match="Too many open files"):
            listener.accept()
        with pytest.raises(BlockingIOError):  # which ends the row of calls that asyncio makes
            listener.accept()

    assert await got(channels[0], 30) == addresses(clients)


async def test_a_connection_that_got_lost_is_told_and_is_not_the_end(
    channels: list[WorkerChannel], clients: list[socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    channels[0]._sending.send(b"\0")
    channels[0].send_connection(clients[0])
    with WorkerChannelListener(fileno=socket.dup(channels[0].worker_descriptor)) as listener:
        with pytest.raises(ConnectionAbortedError):
            listener.accept()
        accepted, _ = listener.accept()
        accepted.close()

    assert "workers.connection_lost" in caplog.text


async def test_what_cannot_be_taken_back_for_want_of_a_descriptor_goes_to_the_others_later(
    dispatcher: ConnectionDispatcher,
    channels: list[WorkerChannel],
    clients: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "PAUSE_SECONDS", 0.0)
    gone, well, _ = channels
    dispatcher.add_channel(gone)
    await turns(20)
    with no_descriptor_free():
        dispatcher.remove_channel(gone)
        dispatcher.remove_channel(gone)
    dispatcher.add_channel(well)

    assert sorted(await got(well, 30)) == sorted(addresses(clients))
    assert gone.fileno() < 0


async def test_a_listener_is_asked_no_more_once_its_supervisor_is_gone(
    channels: list[WorkerChannel], clients: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    accept = WorkerChannelListener.accept

    def counted(listener: WorkerChannelListener) -> Any:
        asked.append(listener)
        return accept(listener)

    monkeypatch.setattr(WorkerChannelListener, "accept", counted)
    listener = WorkerChannelListener(fileno=socket.dup(channels[0].worker_descriptor))
    async with await asyncio.start_server(lambda _, writer: writer.close(), sock=listener):
        channels[0].send_connection(clients[0])
        await turns(20)
        before = len(asked)
        channels[0].close()  # with an acknowledgement that nobody has read
        await turns(20)

    assert len(asked) == before + 1


async def turns(number: int) -> None:
    """Let the loop make so many turns."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_connections_that_nobody_has_taken_are_closed_at_the_end(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    dispatcher.add_channel(channels[0])
    await got(channels[0], 5)

    dispatcher.close()
    channels[0].close()

    assert [is_closed(client) for client in clients] == [True] * 30
    dispatcher.remove_channel(channels[0])


async def test_a_worker_that_serves_only_when_all_are_stopping_takes_no_turn(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel]
) -> None:
    dispatcher.close()

    dispatcher.add_channel(channels[0])
    dispatcher.remove_channel(channels[0])

    assert channels[0].fileno() < 0


def is_closed(client: socket.socket) -> bool:
    client.settimeout(10)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_a_server_of_asyncio_answers_what_comes_over_a_channel(
    dispatcher: ConnectionDispatcher, channels: list[WorkerChannel], clients: list[socket.socket]
) -> None:
    def greeting(number: int) -> Any:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(str(number).encode())
            writer.close()

        return greet

    async with AsyncExitStack() as stack:
        for number, channel in enumerate(channels):
            listener = WorkerChannelListener(fileno=socket.dup(channel.worker_descriptor))
            await stack.enter_async_context(await asyncio.start_server(greeting(number), sock=listener))
            dispatcher.add_channel(channel)

        said = [await read(client) for client in clients]

    assert said == [b"0", b"1", b"2"] * 10


async def read(client: socket.socket) -> bytes:
    client.settimeout(0)
    return await asyncio.get_running_loop().sock_recv(client, 10)


async def test_a_client_that_is_gone_is_not_accepted(channels: list[WorkerChannel]) -> None:
    unconnected = socket.socket()
    with unconnected, WorkerChannelListener(fileno=socket.dup(channels[0].worker_descriptor)) as listener:
        channels[0].send_connection(unconnected)

        with pytest.raises(ConnectionAbortedError):
            listener.accept()
