"""Seals: what a person sends back with a yes, which stands for everything that they were shown."""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol


class Seals(Protocol):
    """Seals messages, and tells its own seals."""

    def seal(self, message: bytes) -> str:
        """The seal of ``message``: up to 120 characters that can stand in a form.

        Raises:
            LLMError: It cannot be sealed now.
        """
        ...

    def verifies(self, seal: str, message: bytes) -> bool:
        """Whether ``seal`` is that of ``message``."""
        ...


class Digests:
    """Seals without a key: they show that something was changed, and anybody can make one."""

    def seal(self, message: bytes) -> str:
        """See `Seals.seal`."""
        return hashlib.sha256(message).hexdigest()

    def verifies(self, seal: str, message: bytes) -> bool:
        """See `Seals.verifies`."""
        return hmac.compare_digest(self.seal(message).encode(), seal.encode())
