"""A short-lived cache of what every request reads: grants of tokens and sessions, and users' sealed keys.

An entry expires after seconds, or when `Version` shows a change. In SQLite, a counter in the file grows with each write by any
process. With PostgreSQL, a process knows its own changes, and is notified of those of others.
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
from backend.database.tokens import token_hash, utc_now

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
"""Seconds for which an entry read from SQLite is cached; every change of the file is noticed."""
UNSEEN_SECONDS: Final = 0.4
"""Seconds for which an entry read from PostgreSQL is cached, in case a change was not announced."""
MOST: Final = 10_000
"""The most cached entries of each kind."""
_CHANGES: Final = "SELECT number FROM access_changes"

K = TypeVar("K")
V = TypeVar("V")


class Version:
    """Tells whether any access token, session or user's key may have changed, so that cached ones are out of date.

    Args:
        path: The SQLite file, whose change counter is read; None for PostgreSQL, where `look` must be called.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.seconds = UNSEEN_SECONDS if path is None else SECONDS
        self._number = 0
        self._file = None if path is None else DatabaseFile.at(path)
        self._connection = None if path is None else _opened(path)

    def mark(self) -> object:
        """A marker of the present state. Two markers are equal only if nothing was changed between them."""
        if self._connection is None or self._file is None:
            return self._number
        try:
            if self._file.fault() is not None:
                return object()
            counted = self._connection.execute(_CHANGES).fetchall()
            return (self._number, counted) if counted else object()
        except sqlite3.Error:
            return object()

    def changed(self) -> None:
        """Make all earlier markers out of date, because this process has changed a token, a session or a user's key."""
        self._number += 1

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Call `changed` when the context ends, even if it raises."""
        try:
            yield
        finally:
            self.changed()

    async def look(self) -> None:
        """Make all earlier markers out of date, because another process has announced a change."""
        self.changed()

    def close(self) -> None:
        """Close the connection to the SQLite file, if there is one."""
        if self._connection is not None:
            self._connection.close()


class _Entry(NamedTuple, Generic[V]):
    value: V
    mark: object
    until: float


class VersionedCache(Generic[K, V]):
    """A cache of up to 10,000 values, for some seconds each. Any change that `Version` notices empties it."""

    def __init__(self, version: Version, clock: Callable[[], float] = time.monotonic) -> None:
        self._version = version
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The cached value of ``key``; None if none is cached, it has expired, or something was changed since."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() < entry.until and entry.mark == self._version.mark():
            return entry.value
        del self._entries[key]
        return None

    async def get_or_ask(self, key: K, ask: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the cached value of ``key``; else call ``ask``, and cache its result unless that is None."""
        value = self.get(key)
        if value is None:
            mark = self.mark()
            value = await ask()
            if value is not None:
                self.keep(key, value, mark)
        return value

    def mark(self) -> object:
        """A marker to pass to `keep`. Take it before the value is read from the database."""
        return self._version.mark()

    def keep(self, key: K, value: V, mark: object) -> None:
        """Cache ``value``. ``mark`` was taken before it was read, so a change in between is noticed."""
        self._entries[key] = _Entry(value, mark, self._clock() + self._version.seconds)
        if len(self._entries) > MOST:
            self._entries.popitem(last=False)


class CachedTokenStore:
    """A `TokenStore` that caches the rights (grant) of each token for some seconds."""

    def __init__(
        self, store: TokenStore, version: Version, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._version = version
        self._clock = clock
        self._grants: VersionedCache[str, Grant] = VersionedCache(version)

    async def find(self, plain: str) -> Grant | None:
        """The rights of the token ``plain``; None if it is unknown, revoked or expired. Cached for some seconds."""
        grant = await self._grants.get_or_ask(token_hash(plain), lambda: self._store.find(plain))
        return None if grant is None or grant.is_over(self._clock()) else grant

    async def make(self, grant: Grant, name: str, *, by: str) -> tuple[AccessToken, str]:
        """Issue a token for ``grant``. See `TokenStore.make`."""
        return await self._store.make(grant, name, by=by)

    async def all(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """All tokens, or those of one tenant, the newest first. See `TokenStore.all`."""
        return await self._store.all(tenant_id)

    async def revoke(self, token_id: str, *, by: str, tenant_id: str | None = None) -> bool:
        """Revoke a token with its sessions, and empty the cache. See `TokenStore.revoke`."""
        with self._version.changing():
            return await self._store.revoke(token_id, by=by, tenant_id=tenant_id)


class CachedSessionStore:
    """A `SessionStore` that caches the rights (grant) of each session for some seconds."""

    def __init__(
        self, store: SessionStore, version: Version, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._version = version
        self._clock = clock
        self._grants: VersionedCache[str, Grant] = VersionedCache(version)

    async def open(self, user_id: str, token_id: str | None = None) -> str:
        """Open a browser session for ``user_id``, and return the value of its cookie. See `SessionStore.open`."""
        return await self._store.open(user_id, token_id)

    async def find(self, plain: str) -> Grant | None:
        """The rights of the session whose cookie has the value ``plain``; None if it has ended. Cached for some seconds."""
        grant = await self._grants.get_or_ask(token_hash(plain), lambda: self._store.find(plain))
        return None if grant is None or grant.is_over(self._clock()) else grant

    async def end(self, plain: str) -> None:
        """End the session whose cookie is ``plain``, and empty the cache. See `SessionStore.end`."""
        with self._version.changing():
            await self._store.end(plain)


class CachedKeyStore(SqlKeyStore):
    """A `KeyStore` that caches which keys each user has, all of them encrypted."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], version: Version) -> None:
        super().__init__(sessions)
        self._version = version
        self._held: VersionedCache[Owner, Sequence[KeyVersion]] = VersionedCache(version)
        self._used: VersionedCache[str, datetime] = VersionedCache(version)

    @override
    async def of(self, owner: Owner, now: datetime) -> Sequence[KeyVersion]:
        ask = super().of
        held = await self._held.get_or_ask(owner, lambda: ask(owner, now))
        good = [key for key in held or () if key.valid_until is None or key.valid_until > now]
        return [key._replace(last_used_at=self._used.get(key.place.row) or key.last_used_at) for key in good]

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
        mark = self._used.mark()
        await super().record_use(rows, now)
        for row in rows:
            self._used.keep(row, now, mark)

    @override
    async def rewrap(self, renew: Renew) -> int:
        with self._version.changing():
            return await super().rewrap(renew)


def _opened(path: Path) -> Any:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
