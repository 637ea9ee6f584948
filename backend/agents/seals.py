"""Seals: short codes that stand for everything a person was shown, and that they send back with an approval."""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol


class Seals(Protocol):
    """Seals messages and verifies seals."""

    def seal(self, message: bytes) -> str:
        """The seal of ``message``: at most 120 characters that are safe in an HTML form.

        Raises:
            LLMError: No seal can be made now.
        """
        ...

    def verifies(self, seal: str, message: bytes) -> bool | None:
        """Whether ``seal`` is the seal of ``message``; None if the key named in ``seal`` is not available."""
        ...


class Digests:
    """Seals without a key, as plain SHA-256: they detect a change, but anybody can make one."""

    def seal(self, message: bytes) -> str:
        """The seal of ``message``: at most 120 characters that are safe in an HTML form. See `Seals.seal`."""
        return hashlib.sha256(message).hexdigest()

    def verifies(self, seal: str, message: bytes) -> bool:
        """Whether ``seal`` is a seal of ``message``. See `Seals.verifies`."""
        return hmac.compare_digest(self.seal(message).encode(), seal.encode())
