"""Encrypts a user's key for one place; it can be decrypted nowhere else.

Every row has its own random bytes: half of them encrypt the key with AES-256-GCM, the other half are the secret of its
fingerprint. A master key encrypts these bytes, so after a rotation only 100 bytes per row are encrypted again, and no key is
decrypted. Both encryptions are bound to the place: moved to another row, user, tenant, provider or address, a key cannot be
decrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import UnreadableKeyError

if TYPE_CHECKING:
    from .master_keys import MasterKey, MasterKeys

_HALF: Final = 32
_NONCE: Final = 12


class OwnEndpointConfig(NamedTuple):
    """The base URL of a user's own endpoint, and the name of its model."""

    base_url: str
    model: str


class KeyIdentity(NamedTuple):
    """Identifies a stored key: its tenant, user, provider and database row, and its server.

    Encryption is bound to all of these values, so a copy in another row cannot be decrypted.

    Attributes:
        row: The id of the database row.
        server: The user's own endpoint that the key is for; None for a provider of the configuration table.
    """

    tenant_id: str
    user_id: str
    provider: str
    row: str
    server: OwnEndpointConfig | None = None

    def associated_data(self, purpose: str) -> bytes:
        """Encode this identity and ``purpose`` as bytes, to which an encryption or a fingerprint is bound.

        The bytes are equal only if both are equal.
        """
        return json.dumps(["patchbay", 1, purpose, *self[:4], *(self.server or ())]).encode()


@dataclass(frozen=True, slots=True)
class EncryptedKey:
    """A user's encrypted key. Only the master key is missing to decrypt it.

    Attributes:
        master: The name of the master key that encrypted ``wrapped``.
        wrapped: The data key of this row, encrypted with the master key.
        box: The user's key, encrypted with the data key; None if only its fingerprint is stored.
        fingerprint: A keyed hash of the user's key.
    """

    master: str
    wrapped: bytes
    box: bytes | None
    fingerprint: str


class KeyVault:
    """Encrypts users' keys with the newest master key, and decrypts them with any available master key."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._masters = master_keys

    def encrypt_key(
        self, key: str, identity: KeyIdentity, *, store_key: bool, may_create_master_key: bool = False
    ) -> EncryptedKey:
        """Encrypt a user's key.

        Args:
            key: The key in plain text.
            identity: The user, tenant, provider and row, with which alone the key can be decrypted.
            store_key: Whether to store the key itself. If False, the result has only its fingerprint.
            may_create_master_key: Whether to create a master key if there is none. Pass True only if nothing is
                encrypted yet.

        Raises:
            MasterKeyError: There is no master key to encrypt with.
        """
        own = secrets.token_bytes(2 * _HALF)
        master = (
            self._masters.get_or_create_newest_key() if may_create_master_key else self._masters.newest_key()
        )
        box = _lock(own[:_HALF], key.encode(), identity.associated_data("key")) if store_key else None
        return EncryptedKey(master.name, _wrap(own, master, identity), box, _fingerprint(own, key, identity))

    def decrypt_key(self, encrypted: EncryptedKey, identity: KeyIdentity) -> str:
        """Decrypt a user's key, and return it in plain text.

        Raises:
            UnreadableKeyError: Only its fingerprint is stored, it was encrypted for another row or user, or its
                master key is missing.
            MasterKeyError: The master keys cannot be read.
        """
        if encrypted.box is None:
            raise UnreadableKeyError(identity.provider)
        own = self._unwrap(encrypted, identity)
        return _open(own[:_HALF], encrypted.box, identity.associated_data("key"), identity).decode()

    def is_same_key(self, key: str, encrypted: EncryptedKey, identity: KeyIdentity) -> bool:
        """Whether ``key`` equals the key in ``encrypted``. Compares their fingerprints, in constant time.

        Raises:
            UnreadableKeyError: The key was encrypted for another row or user, or its master key is missing.
            MasterKeyError: The master keys cannot be read.
        """
        found = _fingerprint(self._unwrap(encrypted, identity), key, identity)
        return hmac.compare_digest(found.encode(), encrypted.fingerprint.encode())

    def rewrap_data_key(self, encrypted: EncryptedKey, identity: KeyIdentity) -> EncryptedKey:
        """Encrypt the row's data key again, with the newest master key. The user's key itself is not decrypted.

        Raises:
            UnreadableKeyError: The key was encrypted for another row or user, or its master key is missing.
            MasterKeyError: The master keys cannot be read.
        """
        own, master = self._unwrap(encrypted, identity), self._masters.newest_key()
        return replace(encrypted, master=master.name, wrapped=_wrap(own, master, identity))

    def _unwrap(self, sealed: EncryptedKey, place: KeyIdentity) -> bytes:
        master = self._masters.find_key(sealed.master)
        if master is None:
            raise UnreadableKeyError(place.provider)
        return _open(master.secret, sealed.wrapped, place.associated_data("data key"), place)


def _wrap(own: bytes, master: MasterKey, place: KeyIdentity) -> bytes:
    return _lock(master.secret, own, place.associated_data("data key"))


def _fingerprint(own: bytes, key: str, place: KeyIdentity) -> str:
    return hmac.new(
        own[_HALF:], place.associated_data("fingerprint") + key.encode(), hashlib.sha256
    ).hexdigest()


def _lock(secret: bytes, plain: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(secret).encrypt(nonce, plain, bound)


def _open(secret: bytes, locked: bytes, bound: bytes, place: KeyIdentity) -> bytes:
    try:
        return AESGCM(secret).decrypt(locked[:_NONCE], locked[_NONCE:], bound)
    except (InvalidTag, ValueError):
        raise UnreadableKeyError(place.provider) from None
