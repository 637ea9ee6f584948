"""Replaces the master key: encrypts all stored keys under a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import UnreadableKeyError
from .vault import KeyVault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .master_keys import MasterKeys
    from .store import KeyStore, KeyVersion


class RotationResult(NamedTuple):
    """The result of a rotation of the master key.

    Attributes:
        master: The name of the new master key.
        locked_anew: How many key versions were encrypted again with the new master key.
        unreadable: How many key versions were not changed, because they cannot be decrypted.
    """

    master: str
    locked_anew: int
    unreadable: int


async def rotate_master_key(store: KeyStore, master_keys: MasterKeys) -> RotationResult:
    """Create a new master key, and encrypt all stored users' keys with it. Servers may keep running.

    Key versions that cannot be decrypted are not changed.

    Raises:
        MasterKeyError: The master keys cannot be read or written.
    """
    vault = KeyVault(master_keys)
    unreadable = 0

    def renew(keys: Sequence[KeyVersion]) -> Iterable[KeyVersion]:
        nonlocal unreadable
        newest = master_keys.rotate({key.sealed.master for key in keys})
        for key in keys:
            try:
                if key.sealed.master != newest.name:
                    yield key._replace(sealed=vault.rewrap_data_key(key.sealed, key.place))
            except UnreadableKeyError:
                unreadable += 1

    locked_anew = await store.rewrap_all_data_keys(renew)
    return RotationResult(master_keys.newest_key().name, locked_anew, unreadable)
