"""The stream of events on the state server, read by a thread of each process."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...forks import ForkSafe
from .connection import AWAY, SOCKET_SECONDS, StateServerConnection, random_reconnect_delay
from .names import PREFIX
from .store import SharedEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from .store import EventHandler

log = logging.getLogger(__name__)

EVENTS = f"{PREFIX}:events"
REMEMBERED_SECONDS = 300
"""Seconds of past events that a new process reads."""
KEPT_SECONDS = 3600
"""Seconds after the last event at which the stream is deleted."""
MOST_EVENTS = 10_000
_BLOCK_SECONDS = 1.0
_AT_ONCE = 500


def make_publish_commands(publisher: str, events: Sequence[SharedEvent]) -> tuple[tuple[Any, ...], ...]:
    """Build the commands that publish ``events`` to all processes.

    ``publisher`` is the name of the publishing process, by which that process skips its own events.
    """
    payload = json.dumps([[event.kind, *event.values] for event in events], separators=(",", ":"))
    add = ("XADD", EVENTS, "MAXLEN", "~", MOST_EVENTS, "*", "p", publisher, "e", payload)
    return add, ("EXPIRE", EVENTS, KEPT_SECONDS)


class EventListener(ForkSafe):
    """Reads the events of other processes from the state server, in a thread.

    Args:
        url: The server's address.
        on_event: Called with each event. Its exceptions are logged.
    """

    def __init__(self, url: SecretStr, on_event: EventHandler) -> None:
        self._url = url
        self._on_event = on_event
        super().__init__()

    @override
    def _begin(self) -> None:
        self._closing = threading.Event()
        self._last: bytes | None = None
        self._is_told = False
        self._offset = 0.0

    def start(self, own_name: str) -> None:
        """Start the thread. Events published by ``own_name``, which is this process, are skipped."""
        work = (own_name, self._closing)
        threading.Thread(target=self._run, args=work, name="shared-events", daemon=True).start()

    def close(self) -> None:
        """Stop the thread. It ends within 2 seconds."""
        self._closing.set()

    def _run(self, own_name: str, closing: threading.Event) -> None:
        while not closing.is_set():
            try:
                self._listen(own_name, closing)
            except Exception as error:
                if not (self._is_told or isinstance(error, AWAY)):
                    log.exception("what other processes tell could not be read; it is tried again and again")
                    self._is_told = True
            closing.wait(random_reconnect_delay())

    def _listen(self, own_name: str, closing: threading.Event) -> None:
        connection = StateServerConnection(self._url, _BLOCK_SECONDS + SOCKET_SECONDS)
        try:
            self._read(connection, own_name.encode(), closing)
        finally:
            connection.close()

    def _read(self, connection: StateServerConnection, own_name: bytes, closing: threading.Event) -> None:
        (reply,) = connection.run([("TIME",)])
        if isinstance(reply, Exception):
            raise reply
        now = int(reply[0]) + int(reply[1]) / 1e6
        self._offset = now - time.monotonic()
        self._last = self._from(now)
        block = round(1000 * _BLOCK_SECONDS)
        while not closing.is_set():
            command = ("XREAD", "COUNT", _AT_ONCE, "BLOCK", block, "STREAMS", EVENTS, self._last)
            (found,) = connection.run([command])
            if isinstance(found, Exception):
                raise found
            for number, fields in found[0][1] if found else ():
                self._last = number
                event = dict(zip(fields[::2], fields[1::2], strict=True))
                if event.get(b"p") != own_name:
                    self._hear(event.get(b"e", b"[]"), _milliseconds(number) / 1000)

    def _from(self, now: float) -> bytes:
        """The stream id to read on from: never later than ``now``, as the server's clock may be behind its predecessor's."""
        if self._last is None:
            return b"%d-0" % round(1000 * (now - REMEMBERED_SECONDS))
        return self._last if _milliseconds(self._last) <= 1000 * now else b"%d-0" % round(1000 * now)

    def _hear(self, payload: bytes, at: float) -> None:
        age = max(0.0, time.monotonic() + self._offset - at)
        try:
            for kind, *values in json.loads(payload):
                self._on_event(SharedEvent(kind, tuple(values)), age)
        except Exception:
            log.exception("an event of another process was not understood")


def _milliseconds(number: bytes) -> int:
    """The time at which an entry was added, by the server's clock."""
    return int(number.split(b"-")[0])
