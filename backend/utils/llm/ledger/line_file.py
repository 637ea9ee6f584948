"""A file to which several threads and processes append lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_END = b"\n"
_OWNER_ALONE = 0o600


class LineFile:
    """A file to which several threads and processes append lines. It must be on a local disk.

    Each line is a single write. A line that a full disk or a crash cuts off does not damage the next line,
    but blank lines may occur.

    Args:
        path: The file. A missing file is created, readable and writable for its owner only.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = open(path, "a+b", buffering=0, opener=_opened)  # noqa: SIM115 - it stays open

    def append(self, text: str) -> None:
        """Append ``text``, which must not contain a line break, as a line.

        Raises:
            OSError: The disk is full or fails.
            ValueError: The file was closed.
        """
        line = text.encode() + _END
        if not self._is_at_a_line():
            line = _END + line
        if (written := self._file.write(line)) != len(line):
            raise OSError(f"{written} of {len(line)} bytes of a line were written")

    def close(self) -> None:
        """Close the file. Later `append` calls raise ValueError."""
        self._file.close()

    def _is_at_a_line(self) -> bool:
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        return not size or os.pread(descriptor, 1, size - 1) == _END


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _OWNER_ALONE)
