"""A new master key for everything that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import UnreadableKeyError
from .vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .masters import Masters
    from .store import KeptKey, KeyStore


class Rotation(NamedTuple):
    """What came of a rotation, in versions of keys.

    Attributes:
        master: The name of the master key that locks them now.
        unreadable: Those that were left as they are, because they do not open.
    """

    master: str
    locked_anew: int
    unreadable: int


async def rotate(store: KeyStore, masters: Masters) -> Rotation:
    """Lock everything anew under a new master key, also while servers are running.

    What does not open is left as it is.

    Raises:
        MasterKeyError: If the master keys cannot be read or written.
    """
    vault = Vault(masters)
    unreadable = 0

    def renew(keys: Sequence[KeptKey]) -> Iterable[KeptKey]:
        nonlocal unreadable
        newest = masters.renew({key.sealed.master for key in keys})
        for key in keys:
            try:
                if key.sealed.master != newest.name:
                    yield key._replace(sealed=vault.rewrap(key.sealed, key.place))
            except UnreadableKeyError:
                unreadable += 1

    locked_anew = await store.rewrap(renew)
    return Rotation(masters.newest().name, locked_anew, unreadable)
