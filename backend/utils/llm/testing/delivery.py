"""Sends a transmission through a socket, in pieces and with pauses, and detects that the client has disconnected."""

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

    from .transmission import Transmission

_POLL_SECONDS = 0.02


class PeerGoneError(ConnectionError):
    """The client closed the connection before the answer was complete."""


class ClosingError(ConnectionError):
    """The server is being closed, so that the delivery of an answer ends early."""


class Peer:
    """The client at the other end of a connection.

    Args:
        connection: A connected socket, whose request has been read to its end.
        closing: Set when the server closes; ends every wait.
    """

    def __init__(self, connection: socket.socket, closing: Event) -> None:
        self._connection = connection
        self._closing = closing

    def send(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            PeerGoneError: The client has closed the connection.
            ClosingError: The server is being closed.
        """
        try:
            self._connection.sendall(data)
        except OSError as error:
            self._raise_gone(error)

    def wait(self, seconds: float) -> None:
        """Wait ``seconds``, and check at least once that the client is still connected.

        Raises:
            PeerGoneError: The client has closed the connection.
            ClosingError: The server is being closed.
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
        """Close the connection so that the client's next read fails."""
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
        raise (ClosingError if self._closing.is_set() else PeerGoneError) from cause


def deliver(transmission: Transmission, peer: Peer) -> bool:
    """Send ``transmission`` piece by piece with its pauses; True if the connection can then be kept alive.

    Raises:
        PeerGoneError: The client closed the connection first.
        ClosingError: The server is being closed.
    """
    if transmission.ending == "never":
        peer.wait(float("inf"))
    peer.wait(transmission.delay_seconds)
    if transmission.ending == "reset":
        peer.reset()
        return False
    head = _head(transmission)
    for piece in transmission.opening:
        peer.send(head + _framed(piece, transmission))
        peer.wait(transmission.opening_gap_seconds)
        head = b""
    for index, part in enumerate(_parts(transmission, head)):
        if index:
            peer.wait(transmission.gap_seconds)
        peer.send(part)
    return transmission.ending == "clean"


def _parts(transmission: Transmission, head: bytes) -> Iterator[bytes]:
    """The parts to send at once: the head goes with the first piece, the end mark with the last."""
    pieces = [_framed(piece, transmission) for piece in transmission.pieces[: transmission.send]] or [b""]
    pieces[0] = head + pieces[0]
    if transmission.framing == "chunked" and transmission.ending == "clean":
        pieces[-1] += b"0\r\n\r\n"
    if transmission.framing == "length" and not transmission.gap_seconds:
        pieces = [b"".join(pieces)]
    yield from pieces


def _framed(piece: bytes, transmission: Transmission) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece) if transmission.framing == "chunked" else piece


def _head(transmission: Transmission) -> bytes:
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
