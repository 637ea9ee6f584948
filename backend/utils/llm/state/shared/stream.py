"""The stream of events on the state server, read by a thread of each process."""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...forks import PerProcess
from .connection import AWAY, RETRY_SECONDS, SOCKET_SECONDS, Connection
from .names import PREFIX
from .store import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from .store import Heard

log = logging.getLogger(__name__)

EVENTS = f"{PREFIX}:events"
REMEMBERED_SECONDS = 300
"""Who comes new hears what was told in so many seconds before."""
KEPT_SECONDS = 3600
"""After which a stream to which nothing is added is gone."""
MOST_EVENTS = 10_000
_BLOCK_SECONDS = 1.0
_AT_ONCE = 500


def telling(teller: str, events: Sequence[Event]) -> tuple[tuple[Any, ...], ...]:
    """The commands that tell ``events`` to all others."""
    told = json.dumps([[one.kind, *one.values] for one in events], separators=(",", ":"))
    add = ("XADD", EVENTS, "MAXLEN", "~", MOST_EVENTS, "*", "p", teller, "e", told)
    return add, ("EXPIRE", EVENTS, KEPT_SECONDS)


class Listener(PerProcess):
    """Reads what others tell.

    Args:
        url: Where the server is.
        heard: Takes each event. What it raises is logged.
    """

    def __init__(self, url: SecretStr, heard: Heard) -> None:
        self._url = url
        self._heard = heard
        super().__init__()

    @override
    def _begin(self) -> None:
        self._closing = threading.Event()
        self._last: bytes | None = None
        self._offset = 0.0

    def start(self, own_name: str) -> None:
        """Begin to read in a thread. What ``own_name`` tells is left out."""
        work = (own_name, self._closing)
        threading.Thread(target=self._run, args=work, name="shared-events", daemon=True).start()

    def close(self) -> None:
        """Stop reading, within a second or two."""
        self._closing.set()

    def _run(self, own_name: str, closing: threading.Event) -> None:
        while not closing.is_set():
            with suppress(*AWAY):
                connection = Connection(self._url, _BLOCK_SECONDS + SOCKET_SECONDS)
                try:
                    self._read(connection, own_name.encode(), closing)
                finally:
                    connection.close()
            closing.wait(RETRY_SECONDS)

    def _read(self, connection: Connection, own_name: bytes, closing: threading.Event) -> None:
        ((seconds, microseconds),) = connection.run([("TIME",)])
        now = int(seconds) + int(microseconds) / 1e6
        self._offset = now - time.monotonic()
        if self._last is None:
            self._last = b"%d-0" % round(1000 * (now - REMEMBERED_SECONDS))
        block = round(1000 * _BLOCK_SECONDS)
        while not closing.is_set():
            command = ("XREAD", "COUNT", _AT_ONCE, "BLOCK", block, "STREAMS", EVENTS, self._last)
            (found,) = connection.run([command])
            if isinstance(found, Exception):
                raise found
            for number, fields in found[0][1] if found else ():
                self._last = number
                told = dict(zip(fields[::2], fields[1::2], strict=True))
                if told.get(b"p") != own_name:
                    self._hear(told.get(b"e", b"[]"), int(number.split(b"-")[0]) / 1000)

    def _hear(self, told: bytes, at: float) -> None:
        age = max(0.0, time.monotonic() + self._offset - at)
        try:
            for kind, *values in json.loads(told):
                self._heard(Event(kind, tuple(values)), age)
        except Exception:
            log.exception("an event of another process was not understood")
