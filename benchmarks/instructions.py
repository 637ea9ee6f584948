"""Instructions that this process and its threads run, where the machine counts them: virtual ones often do not."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

_SYSTEM_CALL = {"x86_64": 298, "aarch64": 241}
_SIZE = 112
_HARDWARE, _INSTRUCTIONS = 0, 1
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6


class Instructions:
    """Of user space, in this process and in threads that begin after this. None if the machine does not tell."""

    def __init__(self, kind: int = _HARDWARE, event: int = _INSTRUCTIONS) -> None:
        self._counter = _opened(kind, event)

    def now(self) -> int | None:
        """So far."""
        if self._counter < 0:
            return None
        return int.from_bytes(os.read(self._counter, 8), sys.byteorder)


def _opened(kind: int, event: int) -> int:
    number = _SYSTEM_CALL.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return -1
    flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
    # perf_event_attr: type, size, config, period, sample_type, read_format, flags; what follows is not used.
    asked = struct.pack("=IIQQQQQ", kind, _SIZE, event, 0, 0, 0, flags).ljust(_SIZE, b"\0")
    opened = ctypes.CDLL(None, use_errno=True).syscall(number, asked, 0, -1, -1, 0)
    return int(opened)
