"""Decompresses and parses request bodies, within limits on their bytes and on the number of JSON values."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import zstandard
from pydantic_core import from_json

from .faults import InvalidRequestError, RequestFault, RequestFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST: Final = 16 * 1024 * 1024
"""The most bytes of a body, compressed and decompressed. A million tokens are some 4 MB; the rest is for images."""
MOST_VALUES: Final = 50_000
"""The most objects, lists and members together. Building that many takes some 8 ms."""

_QUOTES_OF_A_VALUE: Final = 4
"""At most: those of a key and of a text."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_ANY_ZLIB: Final = 32 + zlib.MAX_WBITS


def parse_json_object(body: bytes, encoding: str = "") -> dict[str, Any]:
    """Parse a request body as a JSON object.

    ``encoding`` is the header ``Content-Encoding``; empty for a body that is not compressed.

    Raises:
        RequestFaultError: The encoding is unknown, or the body is too long, has too many values, or is no
            JSON object.
    """
    plain = decompress_body(body, encoding)
    if count_json_values(plain, MOST_VALUES) > MOST_VALUES:
        raise InvalidRequestError(f"The body has more than {MOST_VALUES:,} values.")
    try:
        read = from_json(plain, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequestError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(read, dict):
        raise InvalidRequestError("The body is not a JSON object.")
    return read


def check_embedded_json_size(texts: Iterable[object], param: str) -> None:
    """Check the size of JSON inside strings of a body, such as tool calls' arguments, before that JSON is parsed.

    Args:
        texts: The strings with JSON. Values of other types are skipped.
        param: The name of the request's field with these strings, for the error.

    Raises:
        InvalidRequestError: The strings together have more than `MOST_VALUES` JSON values.
    """
    left = MOST_VALUES
    for text in texts:
        if isinstance(text, str):
            left -= count_json_values(text.encode(errors="replace"), left)
            if left < 0:
                raise InvalidRequestError(f"Arguments of calls have more than {MOST_VALUES:,} values.", param)


def decompress_body(body: bytes, encoding: str) -> bytes:
    """Decompress a request body. An empty ``encoding`` or ``identity`` returns ``body`` unchanged.

    Raises:
        RequestFaultError: The result has more than `LONGEST` bytes, ``body`` is damaged, or ``encoding`` is unknown.
    """
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        return body
    unpack = _UNPACKERS.get(kind)
    if unpack is None:
        known = ", ".join(_UNPACKERS)
        raise RequestFaultError(
            RequestFault(
                415, "unsupported_media_type", f"The body may be packed as {known}, and in no other way."
            )
        )
    try:
        plain = unpack(body)
    except ValueError:
        raise InvalidRequestError(f"The body is not packed as {kind}, or not all of it is there.") from None
    if len(plain) > LONGEST:
        raise RequestFaultError(
            RequestFault(
                413, "content_too_large", f"The body is too long: unpacked, it may have {LONGEST} bytes."
            )
        )
    return plain


def _inflated(window: int) -> Callable[[bytes], bytes]:
    def unpack(body: bytes) -> bytes:
        machine = zlib.decompressobj(window)
        try:
            plain = machine.decompress(body, LONGEST + 1)
        except zlib.error:
            raise ValueError from None
        if len(plain) <= LONGEST and not machine.eof:
            raise ValueError
        return plain

    return unpack


def _unpacked_zstd(body: bytes) -> bytes:
    machine = zstandard.ZstdDecompressor(max_window_size=LONGEST)
    try:
        return machine.stream_reader(body).read(LONGEST + 1)
    except zstandard.ZstdError:
        raise ValueError from None


_UNPACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": _inflated(_GZIP),
    "deflate": _inflated(_ANY_ZLIB),
    "zstd": _unpacked_zstd,
}


# What JSON holds, without building it -----------------------------------------------------------------------------------


def count_json_values(text: bytes, limit: int) -> int:
    """Count the objects, lists and members in JSON text, without parsing it.

    The count is approximate, and only meant to tell whether there are more than ``limit``.
    """
    if (signs := _signs_in(text)) <= limit:
        return signs
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text
    if (quotes := plain.count(b'"')) > _QUOTES_OF_A_VALUE * limit:
        return quotes // _QUOTES_OF_A_VALUE
    return sum(map(_signs_in, plain.split(b'"')[::2]))


def _signs_in(part: bytes) -> int:
    return part.count(b",") + part.count(b"[") + part.count(b"{")
