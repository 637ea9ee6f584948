"""Derives keys from a master key that sign the audit trail's heads and confirmations. The master key itself signs nothing."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import MasterKeyError

if TYPE_CHECKING:
    from .master_keys import MasterKey, MasterKeys

_USE: Final = b"patchbay 1 audit heads Ed25519"
_SEALING: Final = b"patchbay 1 confirmations HMAC-SHA256"
_BYTES: Final = 32


class HeadKey:
    """An Ed25519 key that signs heads of the audit trail, derived from a master key, whose name it has."""

    def __init__(self, master: MasterKey) -> None:
        self.name = master.name
        seed = HKDF(SHA256(), _BYTES, salt=None, info=_USE).derive(master.secret)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``. Returns the signature."""
        return self._key.sign(message)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's signature of ``message``."""
        try:
            self._key.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True


class HeadKeys:
    """Signs heads of the audit trail and verifies their signatures, with a `HeadKey` for each available master key."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._masters = master_keys

    def newest(self, *, is_first: bool) -> HeadKey:
        """The head key of the newest master key, to sign with.

        Args:
            is_first: Whether no key of a user is stored yet, so that a master key may be created.

        Raises:
            MasterKeyError: There is no master key.
        """
        return HeadKey(self._masters.first() if is_first else self._masters.newest())

    def verifies(self, key: str, message: bytes, signature: bytes) -> bool | None:
        """Whether ``signature`` of ``message`` was made by the head key called ``key``; None if the master key of that key is gone."""
        try:
            master = self._masters.find(key)
        except MasterKeyError:
            return None
        return None if master is None else HeadKey(master).verifies(message, signature)


class ConfirmationSeals:
    """Seals with a key derived from the newest master key, and verifies seals of any master key.

    A seal is the name of the master key, a dot, and an HMAC-SHA256 in hex.
    """

    def __init__(self, master_keys: MasterKeys) -> None:
        self._masters = master_keys

    def seal(self, message: bytes) -> str:
        """Compute the seal of ``message`` with the newest master key.

        Raises:
            MasterKeyError: There is no master key.
        """
        return _seal(self._masters.newest(), message)

    def verifies(self, seal: str, message: bytes) -> bool | None:
        """Whether ``seal`` is a seal of ``message``; None if the master key that it names is not available.

        Raises:
            MasterKeyError: The master keys cannot be read.
        """
        master = self._masters.find(seal.partition(".")[0])
        return None if master is None else hmac.compare_digest(_seal(master, message).encode(), seal.encode())


def _seal(master: MasterKey, message: bytes) -> str:
    key = HKDF(SHA256(), _BYTES, salt=None, info=_SEALING).derive(master.secret)
    return f"{master.name}.{hmac.new(key, message, hashlib.sha256).hexdigest()}"
