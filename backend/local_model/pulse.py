"""Health checks of the running model process, which may hang."""

from __future__ import annotations

import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

EVERY: Final = 2.0
"""Seconds between two checks."""
ANSWER: Final = 5.0
"""Seconds that an answer may take. The model answers while it generates; on few cores that takes long."""
SILENCE: Final = 15.0
"""Seconds without an answer after which the process is killed."""

Pulse = Literal["well", "silent", "gone"]


def watch_health(
    check_once: Callable[[], bool], ended: threading.Event, clock: Callable[[], float] = time.monotonic
) -> Iterator[Pulse]:
    """Check the process's health every two seconds until ``ended`` is set, and yield each result.

    ``well``: the process answered. ``silent``: it did not answer. ``gone``: it has not answered for
    `SILENCE` seconds, after which the checks end.

    Args:
        check_once: Makes one health check: True if the process answered.
        ended: Is set when the process has ended.
        clock: The monotonic clock, in seconds.
    """
    answered_at = clock()
    while not ended.wait(EVERY):
        began = clock()
        if check_once():
            answered_at = clock()
            yield "well"
        elif began - answered_at > SILENCE:
            yield "gone"
            return
        else:
            yield "silent"


def is_healthy(base_url: str) -> bool:
    """Ask the server at ``base_url`` once whether it is healthy. False on any error."""
    try:
        url = urlsplit(base_url)
        with closing(HTTPConnection(url.hostname or "", url.port, timeout=ANSWER)) as connection:
            connection.request("GET", f"{url.path}/health")
            return connection.getresponse().status == 200  # noqa: PLR2004 - OK
    except Exception:  # noqa: BLE001 - also of what is no HTTP
        return False
