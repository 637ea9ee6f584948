"""The data that is kept of users' keys, and the promises of a store."""

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
    """One version of a user's key for one provider, as it is kept. It may be printed.

    Attributes:
        tail: The last characters of the key, to be told by; blank if that would tell too much of it.
        valid_until: Set when another version took its place.
        problem: Set while its provider refuses it.
        house_fallback: Whether its owner chose that the house may pay where their keys do not serve.
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
        """The beginning of the key's keyed hash: enough to tell keys apart."""
        return self.sealed.fingerprint[:_SHOWN]

    @property
    def is_stored(self) -> bool:
        """Whether the key itself is kept, and not only its fingerprint."""
        return self.sealed.box is not None


class Removal(NamedTuple):
    """The end of a key.

    Attributes:
        number: Counts all of them, from 1 on.
        at: From when on; the one before is used while the overlap lasts.
    """

    number: int
    row: str
    at: datetime


Seal = Callable[[bool], KeyVersion]
"""Makes a version of a key. Its argument says whether any key is kept, so that a master key has to be there."""
Renew = Callable[["Sequence[KeyVersion]"], "Iterable[KeyVersion]"]


class KeyStore(Protocol):
    """Keeps versions of keys. What it answers holds now, for every process."""

    async def add(self, place: Place, seal: Seal, *, now: datetime, until: datetime) -> KeyVersion:
        """Keep what ``seal`` makes as the current version at ``place``. All, or nothing.

        The one before it holds ``until`` then, and older ones end. ``seal`` is called while nobody else writes.
        """
        ...

    async def of(self, owner: Owner, now: datetime) -> Sequence[KeyVersion]:
        """Every version that holds at ``now``, by provider, the newest first."""
        ...

    async def remove(self, owner: Owner, provider: str, now: datetime) -> bool:
        """Forget every version; False if there was none."""
        ...

    async def removed(self, after: int) -> Sequence[Removal]:
        """Removals and replacements after the one with that number, in order. Each is kept for an hour at least."""
        ...

    async def choose(self, owner: Owner, *, house_fallback: bool) -> None:
        """Keep what ``owner`` chose, for the keys that they have and those to come."""
        ...

    async def chosen(self, owner: Owner) -> bool:
        """Whether ``owner`` chose that the house may pay; False if they chose nothing."""
        ...

    async def record_use(self, rows: Collection[str], now: datetime) -> None:
        """Record that the keys of ``rows`` were used."""
        ...

    async def record_problem(self, row: str, problem: KeyProblem) -> bool:
        """Record that this version is refused. ``since`` stays as it was if it already was, for the same reason.

        Returns:
            Whether its owner has to be notified: they were not, of that reason, on that day. From now on they count as notified.
        """
        ...

    async def record_success(self, row: str, endpoint: str) -> None:
        """Record that a call with this version worked at ``endpoint``, which may end its problem."""
        ...

    async def rewrap(self, renew: Renew) -> int:
        """Hand every version to ``renew`` and keep those that it returns, while nobody else writes.

        Returns:
            How many those were.
        """
        ...
