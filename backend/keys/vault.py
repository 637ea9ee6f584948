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


class Server(NamedTuple):
    """An endpoint of the user's own: its base URL and its name of the model."""

    base_url: str
    model: str


class Place(NamedTuple):
    """Everything that an encrypted key is bound to, so that it cannot be decrypted for another row, owner or server.

    Attributes:
        row: The id of the database row.
        server: The endpoint of the user's own that the key is for; None for a provider of the table.
    """

    tenant_id: str
    user_id: str
    provider: str
    row: str
    server: Server | None = None

    def bound(self, use: str) -> bytes:
        """Encode the place and the purpose ``use`` as bytes, to authenticate an encryption: equal only if both are equal."""
        return json.dumps(["patchbay", 1, use, *self[:4], *(self.server or ())]).encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted key, with all that is needed to decrypt it except the master key.

    Attributes:
        master: The name of the master key that decrypts ``wrapped``.
        wrapped: The row's random bytes, encrypted by the master key.
        box: The key, encrypted; None if only its fingerprint is stored.
        fingerprint: The key's keyed hash.
    """

    master: str
    wrapped: bytes
    box: bytes | None
    fingerprint: str


class Vault:
    """Encrypts users' keys under the newest master key, and decrypts them with any available master key."""

    def __init__(self, master_keys: MasterKeys) -> None:
        self._masters = master_keys

    def seal(self, key: str, place: Place, *, keep: bool, is_first: bool = False) -> Sealed:
        """Encrypt ``key`` for ``place``; without ``keep``, only its fingerprint is kept.

        Args:
            key: The key.
            place: The only place where it can be decrypted.
            keep: Whether to keep the key itself.
            is_first: Whether nothing is encrypted yet, so that a master key may be created.

        Raises:
            MasterKeyError: There is no master key to encrypt with.
        """
        own = secrets.token_bytes(2 * _HALF)
        master = self._masters.first() if is_first else self._masters.newest()
        box = _lock(own[:_HALF], key.encode(), place.bound("key")) if keep else None
        return Sealed(master.name, _wrap(own, master, place), box, _fingerprint(own, key, place))

    def open(self, sealed: Sealed, place: Place) -> str:
        """Decrypt the sealed key.

        Raises:
            UnreadableKeyError: Only its fingerprint was kept, it was sealed for another place, or its master key is gone.
            MasterKeyError: The master keys cannot be read.
        """
        if sealed.box is None:
            raise UnreadableKeyError(place.provider)
        own = self._unwrap(sealed, place)
        return _open(own[:_HALF], sealed.box, place.bound("key"), place).decode()

    def matches(self, key: str, sealed: Sealed, place: Place) -> bool:
        """Whether ``key`` is the key that was sealed, compared in constant time.

        Raises:
            UnreadableKeyError: The key was sealed for another place, or its master key is gone.
            MasterKeyError: The master keys cannot be read.
        """
        found = _fingerprint(self._unwrap(sealed, place), key, place)
        return hmac.compare_digest(found.encode(), sealed.fingerprint.encode())

    def rewrap(self, sealed: Sealed, place: Place) -> Sealed:
        """Encrypt the row's random bytes in ``sealed`` again, under the newest master key.

        The user's key itself is not decrypted.

        Raises:
            UnreadableKeyError: The key was sealed for another place, or its master key is gone.
        """
        own, master = self._unwrap(sealed, place), self._masters.newest()
        return replace(sealed, master=master.name, wrapped=_wrap(own, master, place))

    def _unwrap(self, sealed: Sealed, place: Place) -> bytes:
        master = self._masters.find(sealed.master)
        if master is None:
            raise UnreadableKeyError(place.provider)
        return _open(master.secret, sealed.wrapped, place.bound("data key"), place)


def _wrap(own: bytes, master: MasterKey, place: Place) -> bytes:
    return _lock(master.secret, own, place.bound("data key"))


def _fingerprint(own: bytes, key: str, place: Place) -> str:
    return hmac.new(own[_HALF:], place.bound("fingerprint") + key.encode(), hashlib.sha256).hexdigest()


def _lock(secret: bytes, plain: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(secret).encrypt(nonce, plain, bound)


def _open(secret: bytes, locked: bytes, bound: bytes, place: Place) -> bytes:
    try:
        return AESGCM(secret).decrypt(locked[:_NONCE], locked[_NONCE:], bound)
    except (InvalidTag, ValueError):
        raise UnreadableKeyError(place.provider) from None
