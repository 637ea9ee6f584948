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
    """An Ed25519 key that signs the audit trail. It is derived from a master key, whose name it has."""

    def __init__(self, master: MasterKey) -> None:
        self.name = master.name
        seed = HKDF(SHA256(), _BYTES, salt=None, info=_USE).derive(master.secret)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``, and return the signature."""
        return self._key.sign(message)

    def is_valid_signature(self, message: bytes, signature: bytes) -> bool:
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

    def newest_signing_key(self, *, may_create_master_key: bool) -> AuditSigningKey:
        """Return the key to sign with, which is derived from the newest master key.

        Args:
            may_create_master_key: Whether to create a master key if there is none. Pass True only while no
                user's key is stored.

        Raises:
            MasterKeyError: There is no master key.
        """
        return AuditSigningKey(
            self._masters.get_or_create_newest_key() if may_create_master_key else self._masters.newest_key()
        )

    def is_valid_signature(self, key_name: str, message: bytes, signature: bytes) -> bool | None:
        """Whether ``signature`` is a signature of ``message`` by the key named ``key_name``.

        None if this cannot be checked, because that master key is missing or the master keys cannot be read.
        """
        try:
            master = self._masters.find_key(key_name)
        except MasterKeyError:
            return None
        return None if master is None else AuditSigningKey(master).is_valid_signature(message, signature)


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
        return _seal(self._masters.newest_key(), message)

    def verify(self, signature: str, message: bytes) -> bool | None:
        """Whether ``signature`` is a signature of ``message``; None if the master key named in it is missing.

        Raises:
            MasterKeyError: The master keys cannot be read.
        """
        master = self._masters.find_key(signature.partition(".")[0])
        return (
            None
            if master is None
            else hmac.compare_digest(_seal(master, message).encode(), signature.encode())
        )


def _seal(master: MasterKey, message: bytes) -> str:
    key = HKDF(SHA256(), _BYTES, salt=None, info=_SEALING).derive(master.secret)
    return f"{master.name}.{hmac.new(key, message, hashlib.sha256).hexdigest()}"
