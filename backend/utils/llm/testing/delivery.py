"""Sends an HTTP response in pieces and with pauses, and detects that the client has disconnected."""

from __future__ import annotations

import socket
import struct
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from .transmission import TimedResponse

_POLL_SECONDS = 0.02


class ClientDisconnectedError(ConnectionError):
    """The client closed the connection before the response was complete."""


class ServerClosingError(ConnectionError):
    """The server shut down before the response was complete."""


class ClientConnection:
    """The server's connection to one client, for sending a response with pauses.

    Args:
        connection: A connected socket, from which the request has been read completely.
        closing: Set when the server shuts down; ends every wait.
    """

    def __init__(self, connection: socket.socket, closing: Event) -> None:
        self._connection = connection
        self._closing = closing

    def send(self, data: bytes) -> None:
        """Send all of ``data``. Blocks until it is sent.

        Raises:
            ClientDisconnectedError: The client has closed the connection.
            ServerClosingError: The server is shutting down.
        """
        try:
            self._connection.sendall(data)
        except OSError as error:
            self._raise_gone(error)

    def wait(self, seconds: float) -> None:
        """Wait ``seconds``, and check before and during the wait that the client is still connected.

        Raises:
            ClientDisconnectedError: The client has closed the connection.
            ServerClosingError: The server is shutting down.
        """
        deadline = time.monotonic() + seconds
        while True:
            if self._has_gone():
                self._raise_gone(None)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._closing.wait(min(left, _POLL_SECONDS))

    def reset(self) -> None:
        """Reset the connection (TCP RST), so that the client's next read fails."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def _has_gone(self) -> bool:
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _raise_gone(self, cause: OSError | None) -> None:
        raise (ServerClosingError if self._closing.is_set() else ClientDisconnectedError) from cause


def send_timed_response(response: TimedResponse, client: ClientConnection) -> bool:
    """Send ``response`` to ``client`` piece by piece, with its pauses.

    Returns:
        Whether the connection can be kept alive for a further request.

    Raises:
        ClientDisconnectedError: The client closed the connection before the end.
        ServerClosingError: The server is shutting down.
    """
    if response.ending == "never":
        client.wait(float("inf"))
    client.wait(response.delay_seconds)
    if response.ending == "reset":
        client.reset()
        return False
    head = _head(response)
    for piece in response.opening:
        client.send(head + _framed(piece, response))
        client.wait(response.opening_gap_seconds)
        head = b""
    for index, part in enumerate(_parts(response, head)):
        if index:
            client.wait(response.gap_seconds)
        client.send(part)
    return response.ending == "clean"


def _parts(transmission: TimedResponse, head: bytes) -> Iterator[bytes]:
    """The parts to send at once: the head goes with the first piece, the end mark with the last."""
    pieces = [_framed(piece, transmission) for piece in transmission.pieces[: transmission.send]] or [b""]
    pieces[0] = head + pieces[0]
    if transmission.framing == "chunked" and transmission.ending == "clean":
        pieces[-1] += b"0\r\n\r\n"
    if transmission.framing == "length" and not transmission.gap_seconds:
        pieces = [b"".join(pieces)]
    yield from pieces


def _framed(piece: bytes, transmission: TimedResponse) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece) if transmission.framing == "chunked" else piece


def _head(transmission: TimedResponse) -> bytes:
    rows = {"Date": formatdate(usegmt=True), "Content-Type": transmission.content_type}
    if transmission.framing == "chunked":
        rows["Transfer-Encoding"] = "chunked"
    else:
        rows["Content-Length"] = str(sum(map(len, (*transmission.opening, *transmission.pieces))))
    rows |= dict(transmission.headers)
    status = f"HTTP/1.1 {transmission.status} {_phrase(transmission.status)}"
    lines = [status, *(f"{name}: {value}" for name, value in rows.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"  # 529, say, which vendors use and no RFC names
