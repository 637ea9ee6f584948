"""A table's document: reads a file and parses its TOML. Any fault of the file is a `ConfigError`."""

from __future__ import annotations

import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST: Final = 1_000_000
"""The largest table, in bytes. The default table has about 10,000; a larger file was saved there by mistake."""
DEEPEST: Final = 24
"""The most levels of nesting. No row has ten, and recursion over a document would fail at some hundreds."""
INTEGERS: Final = range(-(2**63), 2**63)
"""The integers of TOML, version 1.0."""

_WAY_OUT: Final = "Set LLM_CONFIG to the path of a table."
_NOT_BLOCKING: Final = getattr(os, "O_NONBLOCK", 0)


def read_table_file(path: Path) -> str:
    """Read the table file at ``path``. Pipes and devices are refused, because reading could block for ever.

    Raises:
        ConfigError: The file cannot be read, is larger than `LARGEST` bytes, or is not UTF-8.
    """
    try:
        content = _content(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is no path"
        raise ConfigError([f"{path}: {reason}. {_WAY_OUT}"]) from error
    if content is None:
        raise ConfigError([f"{path}: is no regular file. {_WAY_OUT}"])
    if len(content) > LARGEST:
        raise ConfigError([f"{path}: holds more than {LARGEST:,} bytes, so it is no table. {_WAY_OUT}"])
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text. {_WAY_OUT}"]) from error


def parse_toml(text: str, source: Path | None = None) -> dict[str, Any]:
    """Parse ``text`` as TOML, at most `DEEPEST` levels deep and with integers in `INTEGERS`.

    ``source`` is the file of the text, for error messages.

    Raises:
        ConfigError: ``text`` is not TOML, or has values out of these bounds.
    """
    named = source or "table"
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError([f"{named}: {_TOO_DEEP}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{named}: not TOML: {error}"]) from error
    except ValueError as error:  # more digits than Python converts, so nobody says where
        raise ConfigError([f"{named}: {_TOO_LARGE}"]) from error
    if faults := list(dict.fromkeys(_faults(document))):
        raise ConfigError([f"{named}: {fault}" for fault in faults])
    return document


_TOO_LARGE: Final = "must hold no integer of more than 64 bits, as TOML has none."
_TOO_DEEP: Final = f"holds values within values, more than {DEEPEST} deep. No row of a table is so deep."


def _content(path: Path) -> bytes | None:
    """The content of a regular file, at most one byte more than is allowed; None for any other file."""
    with open(path, "rb", opener=_opened) as file:
        return file.read(LARGEST + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | _NOT_BLOCKING)


def _faults(document: dict[str, Any]) -> Iterator[str]:
    """The faults of ``document``, level by level, because recursion would fail on the very depth that is checked."""
    level: list[tuple[str, Any]] = list(document.items())
    for _ in range(DEEPEST):
        yield from (f"{path}: {_TOO_LARGE}" for path, value in level if _is_too_large(value))
        level = [below for path, value in level for below in _below(path, value)]
    if level:
        yield _TOO_DEEP


def _below(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"{path}.{key}", element) for key, element in value.items())
    elif isinstance(value, list):
        yield from ((f"{path}.{place}", element) for place, element in enumerate(value))


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and value not in INTEGERS
