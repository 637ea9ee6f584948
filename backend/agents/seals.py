"""Seals: short codes over everything a person was shown, which they send back with an approval.

A seal is a hash, with or without a key. It proves that the person approved exactly what is stored now.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol


class Seals(Protocol):
    """Makes and verifies the seals of confirmations."""

    def seal(self, message: bytes) -> str:
        """Compute the seal of ``message``: at most 120 characters that are safe in an HTML form.

        Raises:
            LLMError: No seal can be made now.
        """
        ...

    def verifies(self, seal: str, message: bytes) -> bool | None:
        """Whether ``seal`` is the seal of ``message``; None if the key named in ``seal`` is not available."""
        ...


class Digests:
    """The default `Seals`: plain SHA-256 without a key. It detects a change, but anybody can compute such a seal."""

    def seal(self, message: bytes) -> str:
        """The seal of ``message``: at most 120 characters that are safe in an HTML form. See `Seals.seal`."""
        return hashlib.sha256(message).hexdigest()

    def verifies(self, seal: str, message: bytes) -> bool:
        """Whether ``seal`` is a seal of ``message``. See `Seals.verifies`."""
        return hmac.compare_digest(self.seal(message).encode(), seal.encode())
