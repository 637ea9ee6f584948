"""Decompresses bodies in pieces, because a few kilobytes may become hundreds of megabytes."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class BodyDecompressor:
    """Decompresses a gzip or deflate body in pieces of limited size, and ignores bytes after its end.

    Args:
        piece_bytes: The most bytes of a decompressed piece.
    """

    def __init__(self, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._is_new = True

    def decompress(self, compressed: bytes) -> Iterator[bytes]:
        """Decompress the next part of the body, and yield pieces of at most ``piece_bytes`` bytes.

        Raises:
            httpx2.DecodingError: ``compressed`` is not valid gzip or deflate data.
        """
        while compressed and not self._zlib.eof:
            piece = self._unpacked(compressed)
            compressed = self._zlib.unconsumed_tail
            if piece:
                yield piece

    def _unpacked(self, packed: bytes) -> bytes:
        is_new, self._is_new = self._is_new, False
        try:
            return self._zlib.decompress(packed, self._piece_bytes)
        except zlib.error:
            if is_new:  # some servers call deflate what comes without zlib's header
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
                return self._unpacked(packed)
        raise httpx2.DecodingError("The body cannot be unpacked.")
