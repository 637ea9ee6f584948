"""Encodes and decodes records as lines of a file, each with length, checksum, writer and sequence.

::

    LENGTH CHECKSUM WRITER SEQUENCE [VALUE,…]

Length and CRC-32, eight hex digits each, cover the rest of the line. The first line of a file has the
sequence 0 and the names of the values, so that another version can read the file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from backend.ledger.store import SpooledRecord
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD: Final = 18
_HEADING: Final = 0
_encoded: Final = json.JSONEncoder(separators=(",", ":")).encode


def encode_record_values(record: AttemptRecord) -> bytes:
    """Encode the values of ``record``, without their names, as a JSON array."""
    return _encoded(record).encode()


def encode_line(writer: bytes, sequence: int, encoded_values: bytes) -> bytes:
    """Encode one line of a segment file, with its newline.

    Args:
        writer: The id of the writing process.
        sequence: The number of the record; 0 for the first line, which holds the names of the values.
        encoded_values: The values, as a JSON array.
    """
    body = b"%b %d %b" % (writer, sequence, encoded_values)
    return b"%08x %08x %b\n" % (len(body), crc32(body), body)


def encode_header_line(writer: bytes) -> bytes:
    """Encode the first line of a segment file, which holds the names of the values."""
    return encode_line(writer, _HEADING, _encoded(AttemptRecord._fields).encode())


class DecodedRecords(NamedTuple):
    """The records decoded from a part of a segment file.

    Attributes:
        rows: The records, in the order of their lines.
        size: The number of bytes up to the end of the last decoded line.
        damaged: How many lines have a wrong length, checksum or number of values.
        is_all: Whether no complete line is left to decode.
    """

    rows: list[SpooledRecord]
    size: int
    damaged: int
    is_all: bool


def decode_lines(content: bytes, max_lines: int, names: Sequence[str]) -> DecodedRecords:
    """Decode at most ``max_lines`` complete lines of a segment file. Damaged lines are counted and skipped.

    ``content`` begins at the beginning of a line. ``names`` are the names of the values in a line.
    """
    lines = content.split(b"\n", max_lines)
    rest = lines.pop()
    parsed = [_parsed(text) for text in lines]
    rows = [_row(item, names) for item in parsed if item is None or item.sequence != _HEADING]
    whole = [row for row in rows if row is not None]
    return DecodedRecords(whole, len(content) - len(rest), len(rows) - len(whole), b"\n" not in rest)


def read_value_names(content: bytes) -> Sequence[str]:
    """Read the names of a line's values from the first line of a segment file.

    If the first line does not hold names, return the names of this version.
    """
    first = _parsed(content.partition(b"\n")[0])
    is_heading = first is not None and first.sequence == _HEADING
    return tuple(first.values) if first is not None and is_heading else AttemptRecord._fields


class _Parsed(NamedTuple):
    writer: str
    sequence: int
    values: list[Any]


def _parsed(text: bytes) -> _Parsed | None:
    body = text[_HEAD:]
    if text[:_HEAD] != b"%08x %08x " % (len(body), crc32(body)):
        return None
    writer, sequence, values = body.split(b" ", 2)
    return _Parsed(writer.decode(), int(sequence), json.loads(values))


def _row(parsed: _Parsed | None, names: Sequence[str]) -> SpooledRecord | None:
    if parsed is None or len(parsed.values) != len(names):
        return None
    return SpooledRecord(parsed.writer, parsed.sequence, _record(parsed.values, names))


def _record(values: list[Any], names: Sequence[str]) -> AttemptRecord:
    """The record. Values that another version did not write are None, and unknown ones are left out."""
    if names == AttemptRecord._fields:
        return AttemptRecord._make(values)
    known = dict(zip(names, values, strict=True))
    return AttemptRecord._make(known.get(name) for name in AttemptRecord._fields)
