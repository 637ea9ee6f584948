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


class AuditSigningKey:
    """A key that signs the audit trail (Ed25519).

    It is derived from a master key, and has the master key's name.
    """

    def __init__(self, master: MasterKey) -> None:
        self.name = master.name
        seed = HKDF(SHA256(), _BYTES, salt=None, info=_USE).derive(master.secret)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``, and return the signature."""
        return self._key.sign(message)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is a signature of ``message`` by this key."""
        try:
            self._key.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True


class AuditSigningKeys:
    """The keys that sign the audit trail and verify its signatures: one for each available master key."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._masters = master_keys

    def newest(self, *, is_first: bool) -> AuditSigningKey:
        """Return the key to sign with, which is derived from the newest master key.

        Args:
            is_first: Whether no user's key is stored yet. A master key may then be created if there is none.

        Raises:
            MasterKeyError: There is no master key.
        """
        return AuditSigningKey(self._masters.newest_or_create() if is_first else self._masters.newest())

    def verifies(self, key: str, message: bytes, signature: bytes) -> bool | None:
        """Whether ``signature`` is a signature of ``message`` by the key with the name ``key``.

        None if it cannot be verified, because the master key of that name is missing or the master keys cannot
        be read.
        """
        try:
            master = self._masters.find(key)
        except MasterKeyError:
            return None
        return None if master is None else AuditSigningKey(master).verifies(message, signature)


class ConfirmationSigner:
    """Signs and verifies messages with HMAC-SHA256, to protect stored confirmations against changes.

    The HMAC key is derived from a master key. A signature is the name of the master key, a dot, and the HMAC
    in hex.
    """

    def __init__(self, master_keys: MasterKeys) -> None:
        self._masters = master_keys

    def sign(self, message: bytes) -> str:
        """Compute the HMAC of ``message``, with a key derived from the newest master key.

        Raises:
            MasterKeyError: There is no master key.
        """
        return _seal(self._masters.newest(), message)

    def verify(self, seal: str, message: bytes) -> bool | None:
        """Whether ``signature`` is a signature of ``message``; None if the master key that it names is missing.

        Raises:
            MasterKeyError: The master keys cannot be read.
        """
        master = self._masters.find(seal.partition(".")[0])
        return None if master is None else hmac.compare_digest(_seal(master, message).encode(), seal.encode())


def _seal(master: MasterKey, message: bytes) -> str:
    key = HKDF(SHA256(), _BYTES, salt=None, info=_SEALING).derive(master.secret)
    return f"{master.name}.{hmac.new(key, message, hashlib.sha256).hexdigest()}"
