"""A connection to the state server."""

from __future__ import annotations

import math
import selectors
import time
from contextlib import suppress
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from redis import ConnectionPool, RedisError, ResponseError
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

SOCKET_SECONDS = 1.0
"""The longest wait for an answer, in the threads that talk to the server. Calls wait less."""
RETRY_SECONDS = 0.25
"""Mean seconds between two attempts to connect to a server that is away."""
AWAY = (RedisError, OSError, ValueError)
"""The errors of a server that cannot be reached; ``ValueError`` is an invalid address."""
_CHANCE = SystemRandom()
"""Gives other numbers in each forked child."""


def random_reconnect_delay() -> float:
    """A random number of seconds, 0.19 to 0.31, until the next attempt to connect to an unreachable server."""
    return RETRY_SECONDS * _CHANCE.uniform(0.75, 1.25)


class StateServerConnection:
    """A connection to the state server, for one thread. Failed commands are not retried.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, or the same with ``valkey``.
        seconds: The longest wait for an answer.

    Attributes:
        asked_at: When the commands in flight were sent, by the monotonic clock; inf if none are.

    Raises:
        RedisError: On construction, if the server cannot be reached.
        ValueError: The address is invalid.
    """

    def __init__(self, url: SecretStr, seconds: float = SOCKET_SECONDS) -> None:
        address = url.get_secret_value()
        if address.startswith("valkey"):
            address = address.replace("valkey", "redis", 1)
        self._pool = ConnectionPool.from_url(
            address,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=seconds,
            socket_connect_timeout=SOCKET_SECONDS,
            protocol=2,
        )
        self._connection: Any = self._pool.get_connection()
        # redis-py tells its socket to nobody, and only the socket can tell a slow server from a slow reader.
        self._socket = getattr(self._connection, "_sock", None)
        self._selector = _watching(self._socket)
        self._seconds = seconds
        self.asked_at = math.inf

    def run(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send ``commands`` in one round trip, and return their replies; the reply of a failed command is its error.

        Raises:
            RedisError: The connection is broken and must be closed.
        """
        connection = self._connection
        self.asked_at = time.monotonic()  # a server that reads nothing is slow as well
        connection.send_packed_command(connection.pack_commands(commands))
        self.asked_at = time.monotonic()  # what it took to send was this process
        is_answered = self._socket is None or bool(self._selector.select(self._seconds))
        self.asked_at = math.inf  # before anything is read: who is slow from now on is this process
        if not is_answered:
            raise TimeoutError("no answer")
        return [self._reply() for _ in commands]

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    @property
    def has_unread_answer(self) -> bool:
        """Whether an answer has arrived and was not read yet; False if unknown. May be called from any thread."""
        with suppress(OSError, ValueError), _watching(self._socket) as selector:
            return bool(selector.select(0.0))
        return False

    def close(self) -> None:
        """Close the connection."""
        self._selector.close()
        with suppress(*AWAY):
            self._pool.disconnect()


def _watching(socket: Any) -> selectors.BaseSelector:
    """A selector that tells when ``socket`` can be read."""
    made = selectors.DefaultSelector()
    if socket is not None:
        made.register(socket, selectors.EVENT_READ)
    return made
