"""Ids that sort by the time at which they were made: UUIDs of version 7 (RFC 9562, method 3)."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from typing_extensions import override

from .forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

_NANOSECONDS = 1_000_000
"""Of a millisecond, whose fraction is told in 12 bits."""
_VERSION, _VARIANT = 0x7 << 76, 0b10 << 62
_62_BITS = (1 << 62) - 1


class Uuid7Maker(PerProcess):
    """Makes ids, each greater than the one before, also if the clock is set back.

    Args:
        now: Nanoseconds since 1970.
        random: So many random bytes.
    """

    def __init__(
        self, now: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._now = now
        self._random = random
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        """A new id, as 36 characters."""
        now = (self._now() << 12) // _NANOSECONDS
        with self._lock:
            self._last = now = max(now, self._last + 1)
        random = int.from_bytes(self._random(8)) & _62_BITS
        digits = f"{(now >> 12) << 80 | _VERSION | (now & 0xFFF) << 64 | _VARIANT | random:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


uuid7 = Uuid7Maker()
"""The process's own."""
