"""The names used on the state server: keyed hashes, so that no key, user or conversation can be read there."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

PREFIX = "patchbay"
MOST_KNOWN = 10_000


class HashedNames:
    """Replaces names by keyed hashes, which are the same in every process with the same secret.

    Args:
        secret: The key of the hashes, up to 64 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.of = lru_cache(maxsize=MOST_KNOWN)(self._of)

    def _of(self, *parts: str) -> str:
        """The hash of ``parts``, 32 hexadecimal digits."""
        return blake2b("\n".join(parts).encode(), digest_size=16, key=self._secret).hexdigest()

    def counter_key(self, scope: str, *parts: str) -> str:
        """Make the server's key of the counter of ``scope`` that ``parts`` name, such as ``tokens`` and ``minute``.

        All keys of a scope share a Redis hash tag, so that a cluster keeps them on one node.
        """
        return ":".join((PREFIX, f"{{{self.of(scope)}}}", *parts))
