"""Computes digests of confirmations: short codes over everything that a person was shown, which an approval must repeat.

A digest is a hash or a MAC. It proves that the person approved exactly what is stored now.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol


class DigestSigner(Protocol):
    """Computes the digests of confirmations, as a MAC or a hash, and verifies them."""

    def sign(self, message: bytes) -> str:
        """Compute the digest of ``message``: at most 120 characters that are safe in an HTML form.

        Raises:
            LLMError: The key is not available.
        """
        ...

    def verify(self, signature: str, message: bytes) -> bool | None:
        """Whether ``signature`` is the digest of ``message``; None if the key that made it is not available."""
        ...


class PlainHashSigner:
    """The default `DigestSigner`: SHA-256 without a key.

    It detects accidental changes of a confirmation, but not forgery, because anybody can compute the hash.
    """

    def sign(self, message: bytes) -> str:
        """Hash ``message`` with SHA-256, in hexadecimal. See `DigestSigner.sign`."""
        return hashlib.sha256(message).hexdigest()

    def verify(self, signature: str, message: bytes) -> bool:
        """Whether ``signature`` is the hash of ``message``. See `DigestSigner.verify`."""
        return hmac.compare_digest(self.sign(message).encode(), signature.encode())
