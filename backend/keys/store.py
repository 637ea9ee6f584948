"""Versions of users' keys as stored, and the Protocol of their store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from backend.access import Owner

    from .problem import KeyProblem
    from .vault import Place, Sealed

_SHOWN: Final = 16


class KeyVersion(NamedTuple):
    """One enrolled key of a user for one provider, as stored. After a replacement, the old version stays valid for a while.

    It holds no key in plain text, so it may be printed.

    Attributes:
        place: The owner, provider and database row.
        sealed: The encrypted key.
        tail: The last characters of the key, to recognise it; blank if the key is short.
        valid_until: When the version ends; None until a newer version replaces it.
        problem: Why the provider refuses the key; None if it does not.
        house_fallback: Whether the owner agreed that the operator's keys pay when the user's own cannot serve.
    """

    place: Place
    sealed: Sealed
    tail: str
    created_at: datetime
    last_used_at: datetime | None = None
    valid_until: datetime | None = None
    problem: KeyProblem | None = None
    house_fallback: bool = False

    @property
    def fingerprint(self) -> str:
        """The first characters of the key's keyed hash, by which people tell keys apart."""
        return self.sealed.fingerprint[:_SHOWN]

    @property
    def is_stored(self) -> bool:
        """Whether the key itself is stored, and not only its fingerprint."""
        return self.sealed.box is not None


class Removal(NamedTuple):
    """The removal or replacement of a key, which running work must notice.

    Attributes:
        number: The number of the removal, from 1, in the order in which all processes wrote them.
        row: The id of the key's database row.
        at: When the key becomes invalid: at the end of its overlap, if it was replaced.
    """

    number: int
    row: str
    at: datetime


Seal = Callable[[bool], KeyVersion]
"""Makes a version of a key. The argument says whether any key is stored, so that a master key must exist."""
Renew = Callable[["Sequence[KeyVersion]"], "Iterable[KeyVersion]"]


class KeyStore(Protocol):
    """Stores versions of keys. Every read returns the present state, whichever process wrote it."""

    async def add(self, place: Place, seal: Seal, *, now: datetime, until: datetime) -> KeyVersion:
        """Store a new version of the key at ``place``, in one transaction.

        Args:
            place: Whose key it is, and the new version's row.
            seal: Makes the encrypted key. It is called under the write lock.
            now: The time, timezone-aware.
            until: When the previous version ends. Older versions end at once.
        """
        ...

    async def of(self, owner: Owner, now: datetime) -> Sequence[KeyVersion]:
        """Every version of ``owner``'s keys that is valid at ``now``, by provider, the newest first."""
        ...

    async def remove(self, owner: Owner, provider: str, now: datetime) -> bool:
        """Delete every version of ``owner``'s key for ``provider``; False if there was none."""
        ...

    async def removed(self, after: int) -> Sequence[Removal]:
        """List the removals and replacements numbered above ``after``, in order. Each is kept for at least an hour."""
        ...

    async def choose(self, owner: Owner, *, house_fallback: bool) -> None:
        """Store whether the operator's keys may pay for ``owner``, for present and future keys."""
        ...

    async def chosen(self, owner: Owner) -> bool:
        """Whether ``owner`` agreed that the operator's keys may pay; False by default."""
        ...

    async def record_use(self, rows: Collection[str], now: datetime) -> None:
        """Record that the keys in ``rows`` were used at ``now``."""
        ...

    async def record_problem(self, row: str, problem: KeyProblem) -> bool:
        """Record that a provider refuses the key version in ``row``. ``since`` stays if the reason is the same as before.

        Returns:
            Whether to notify the owner: True once per reason and day.
        """
        ...

    async def record_success(self, row: str, endpoint: str) -> None:
        """Record that a call with the key version in ``row`` succeeded at ``endpoint``; this may end its problem."""
        ...

    async def rewrap(self, renew: Renew) -> int:
        """Pass every key version to ``renew``, and store each changed version that it returns; used for a rotation.

        It runs under the write lock.

        Returns:
            How many versions were stored.
        """
        ...
