"""Versions of users' keys as stored, and the Protocol of their store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from backend.access import DataOwner

    from .problem import KeyProblem
    from .vault import EncryptedKey, KeyIdentity

_SHOWN: Final = 16


class KeyVersion(NamedTuple):
    """One version of a user's key for a provider.

    When the user replaces a key, the old version stays valid for a while. The key is encrypted, so a version
    may be printed.

    Attributes:
        place: The user, tenant and provider of the key, and its database row.
        sealed: The encrypted key.
        tail: The last characters of the key, by which its user recognises it; empty if the key is short.
        valid_until: When the version ends; None if no newer version has replaced it.
        problem: Why the provider refuses the key; None if it does not.
        house_fallback: Whether the user agreed that the operator's keys may pay when the user's own cannot.
    """

    place: KeyIdentity
    sealed: EncryptedKey
    tail: str
    created_at: datetime
    last_used_at: datetime | None = None
    valid_until: datetime | None = None
    problem: KeyProblem | None = None
    house_fallback: bool = False

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of a keyed hash of the key, by which people tell versions apart.

        The secret of the hash is another in each row, so the same key has another fingerprint in each version.
        """
        return self.sealed.fingerprint[:_SHOWN]

    @property
    def is_stored(self) -> bool:
        """Whether the key itself is stored, encrypted. If False, only its fingerprint is stored."""
        return self.sealed.box is not None


class KeyRemoval(NamedTuple):
    """The removal or replacement of a user's key. Running work must stop using the key.

    Attributes:
        number: The number of the removal: 1, 2, 3 and so on, for all processes together.
        row: The id of the key's database row.
        at: When the key becomes invalid: at once, or at the end of the overlap if it was replaced.
    """

    number: int
    row: str
    at: datetime


VersionFactory = Callable[[bool], KeyVersion]
"""Makes a version of a key. The argument says whether any key is stored, so that a master key must exist."""
VersionUpdater = Callable[["Sequence[KeyVersion]"], "Iterable[KeyVersion]"]


class KeyStore(Protocol):
    """Stores versions of users' keys, encrypted. Several processes may share a store.

    A read returns what any process has written, except in the last half second.
    """

    async def add_version(
        self,
        identity: KeyIdentity,
        make_version: VersionFactory,
        *,
        now: datetime,
        previous_valid_until: datetime,
    ) -> KeyVersion:
        """Store a new version of a user's key, in one transaction.

        Args:
            identity: The user, tenant and provider of the key, and the row id of the new version.
            make_version: Makes the new version, with the encrypted key. Called while the write lock is held.
            now: The current time, timezone-aware.
            previous_valid_until: When the previous version ends. Older versions end at once.
        """
        ...

    async def list_versions(self, owner: DataOwner, now: datetime) -> Sequence[KeyVersion]:
        """List the versions of ``owner``'s keys that are valid at ``now``, by provider, the newest version first."""
        ...

    async def remove_key(self, owner: DataOwner, provider: str, now: datetime) -> bool:
        """Delete every version of ``owner``'s key for ``provider``; False if there was none."""
        ...

    async def list_removals(self, after_number: int) -> Sequence[KeyRemoval]:
        """List the removals and replacements of keys whose number is above ``after_number``, in ascending order.

        Each is listed for at least an hour.
        """
        ...

    async def set_house_fallback(self, owner: DataOwner, *, house_fallback: bool) -> None:
        """Store whether the operator's keys may pay for ``owner``'s calls when ``owner``'s own keys cannot.

        It holds for present and future keys.
        """
        ...

    async def allows_house_fallback(self, owner: DataOwner) -> bool:
        """Whether ``owner`` agreed that the operator's keys may pay when ``owner``'s own cannot; False by default."""
        ...

    async def record_use(self, row_ids: Collection[str], now: datetime) -> None:
        """Store that the key versions with the ids ``row_ids`` were used at ``now``."""
        ...

    async def record_problem(self, row_id: str, problem: KeyProblem) -> bool:
        """Store that a provider refuses the key version ``row_id``, and why.

        If the reason is the same as before, the stored time of the first refusal is kept.

        Returns:
            Whether to notify the owner: True once per reason and day.
        """
        ...

    async def clear_resolved_problem(self, row_id: str, endpoint: str) -> None:
        """Clear the problem of the key version ``row_id`` if a successful call at ``endpoint`` shows it is over."""
        ...

    async def rewrap_all_data_keys(self, rewrap_versions: VersionUpdater) -> int:
        """Pass all key versions to ``rewrap_versions``, and store those that it returns, with a new master key.

        The write lock is held meanwhile.

        Returns:
            How many versions were stored.
        """
        ...
