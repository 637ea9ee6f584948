"""What every request asks of the database, remembered: what a token or a session gives, and its user's keys, still sealed.

Nothing is believed for longer than a moment, nor after a change: `Version` is the one place where a change is told. An SQLite file
counts itself how often what gives access was written, in whichever process; a process tells its own changes; PostgreSQL tells
those of others.
"""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from typing_extensions import override

from backend.database.file import DatabaseFile
from backend.database.keys import SqlKeyStore
from backend.database.tokens import hashed, utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.access import AccessToken, Grant, Owner
    from backend.database.sessions import SessionStore
    from backend.database.tokens import TokenStore
    from backend.keys.store import KeyVersion, Renew, Seal
    from backend.keys.vault import Place

SECONDS: Final = 5.0
"""How long something of an SQLite file is believed, whose every change is seen."""
UNSEEN_SECONDS: Final = 0.4
"""How long something of PostgreSQL is, in case that nobody told of a change."""
MOST: Final = 10_000
"""Of each kind."""
_CHANGES: Final = "SELECT number FROM access_changes"

K = TypeVar("K")
V = TypeVar("V")


class Version:
    """Tells whether access tokens, sessions or keys were changed since they were last read.

    Args:
        path: Of the SQLite file; None for PostgreSQL.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.seconds = UNSEEN_SECONDS if path is None else SECONDS
        self._number = 0
        self._file = None if path is None else DatabaseFile.at(path)
        self._connection = None if path is None else _opened(path)

    def mark(self) -> object:
        """A mark that equals one before only if nothing was changed in between."""
        if self._connection is None or self._file is None:
            return self._number
        try:
            if self._file.fault() is not None:
                return object()
            return self._number, self._connection.execute(_CHANGES).fetchall()
        except sqlite3.Error:
            return object()

    def changed(self) -> None:
        """Tell that a token, a session or a key of a user is another than it was."""
        self._number += 1

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Call `changed` at the end of the block, even if it raises."""
        try:
            yield
        finally:
            self.changed()

    async def look(self) -> None:
        """Note a change that another process has told of."""
        self.changed()

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()


class _Entry(NamedTuple, Generic[V]):
    value: V
    mark: object
    until: float


class Memory(Generic[K, V]):
    """Remembers the last 10,000 answers to a question, each for a moment, and only while nothing is changed."""

    def __init__(self, version: Version, clock: Callable[[], float] = time.monotonic) -> None:
        self._version = version
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value remembered under ``key``; None if there is none, it is too old, or something was changed since."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() < entry.until and entry.mark == self._version.mark():
            return entry.value
        del self._entries[key]
        return None

    async def get_or_ask(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        """The value remembered under ``key``, or else the result of ``ask``, which is then remembered unless it is None."""
        value = self.get(key)
        if value is None:
            mark = self.mark()
            value = await ask()
            if value is not None:
                self.keep(key, value, mark)
        return value

    def mark(self) -> object:
        """A mark for `keep`. Take it before the database is asked for the value."""
        return self._version.mark()

    def keep(self, key: K, value: V, mark: object) -> None:
        """Remember ``value``, which was read after ``mark`` was taken."""
        self._entries[key] = _Entry(value, mark, self._clock() + self._version.seconds)
        if len(self._entries) > MOST:
            self._entries.popitem(last=False)


class RememberedTokens:
    """The access tokens of a `TokenStore`."""

    def __init__(
        self, store: TokenStore, version: Version, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._version = version
        self._clock = clock
        self._grants: Memory[str, Grant] = Memory(version)

    async def find(self, plain: str) -> Grant | None:
        """See `TokenStore.find`."""
        grant = await self._grants.get_or_ask(hashed(plain), lambda: self._store.find(plain))
        return None if grant is None or grant.is_over(self._clock()) else grant

    async def make(self, grant: Grant, name: str, *, by: str) -> tuple[AccessToken, str]:
        """See `TokenStore.make`."""
        return await self._store.make(grant, name, by=by)

    async def all(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """See `TokenStore.all`."""
        return await self._store.all(tenant_id)

    async def revoke(self, token_id: str, *, by: str, tenant_id: str | None = None) -> bool:
        """See `TokenStore.revoke`."""
        with self._version.changing():
            return await self._store.revoke(token_id, by=by, tenant_id=tenant_id)


class RememberedSessions:
    """The sessions of a `SessionStore`."""

    def __init__(
        self, store: SessionStore, version: Version, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._version = version
        self._clock = clock
        self._grants: Memory[str, Grant] = Memory(version)

    async def open(self, user_id: str, token_id: str | None = None) -> str:
        """See `SessionStore.open`."""
        return await self._store.open(user_id, token_id)

    async def find(self, plain: str) -> Grant | None:
        """See `SessionStore.find`."""
        grant = await self._grants.get_or_ask(hashed(plain), lambda: self._store.find(plain))
        return None if grant is None or grant.is_over(self._clock()) else grant

    async def end(self, plain: str) -> None:
        """See `SessionStore.end`."""
        with self._version.changing():
            await self._store.end(plain)


class RememberedKeyStore(SqlKeyStore):
    """A `KeyStore` that remembers who has which keys. None of them is open."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], version: Version) -> None:
        super().__init__(sessions)
        self._version = version
        self._held: Memory[Owner, Sequence[KeyVersion]] = Memory(version)

    @override
    async def of(self, owner: Owner, now: datetime) -> Sequence[KeyVersion]:
        ask = super().of
        held = await self._held.get_or_ask(owner, lambda: ask(owner, now))
        return [key for key in held or () if key.valid_until is None or key.valid_until > now]

    @override
    async def add(self, place: Place, seal: Seal, *, now: datetime, until: datetime) -> KeyVersion:
        with self._version.changing():
            return await super().add(place, seal, now=now, until=until)

    @override
    async def remove(self, owner: Owner, provider: str, now: datetime) -> bool:
        with self._version.changing():
            return await super().remove(owner, provider, now)

    @override
    async def choose(self, owner: Owner, *, house_fallback: bool) -> None:
        with self._version.changing():
            await super().choose(owner, house_fallback=house_fallback)

    @override
    async def record_use(self, rows: Collection[str], now: datetime) -> None:
        with self._version.changing():
            await super().record_use(rows, now)

    @override
    async def rewrap(self, renew: Renew) -> int:
        with self._version.changing():
            return await super().rewrap(renew)


def _opened(path: Path) -> Any:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
