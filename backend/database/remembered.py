"""Caches what every request reads: the rights of tokens and sessions, and users' encrypted keys.

An entry expires after some seconds, or when `AccessDataVersion` shows that something was changed. With
SQLite, a counter in the file grows with each change by any process. With PostgreSQL, a process knows its
own changes, and is notified of those of other processes.
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
from backend.database.tokens import hash_token, utc_now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.access import AccessToken, DataOwner, Grant
    from backend.database.sessions import BrowserSessionStore
    from backend.database.tokens import TokenStore
    from backend.keys.store import KeyVersion, VersionFactory, VersionUpdater
    from backend.keys.vault import KeyIdentity

SECONDS: Final = 5.0
"""Seconds for which an entry read from SQLite is cached; every change of the file is noticed."""
UNSEEN_SECONDS: Final = 0.4
"""Seconds for which an entry read from PostgreSQL is cached, in case a change was not announced."""
MOST: Final = 10_000
"""The most cached entries of each kind."""
_CHANGES: Final = "SELECT number FROM access_changes"

K = TypeVar("K")
V = TypeVar("V")


class AccessDataVersion:
    """A version stamp of the access tokens, sessions and users' keys in the database.

    It changes when any process changes one of them. Caches compare it to find entries that are out of date.

    Args:
        path: The SQLite file, in which a counter is read. None for PostgreSQL: `bump_async` must then be
            called when another process announces a change.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.seconds = UNSEEN_SECONDS if path is None else SECONDS
        self._number = 0
        self._file = None if path is None else DatabaseFile.create_if_missing(path)
        self._connection = None if path is None else _opened(path)

    def current_version(self) -> object:
        """Return the present version, to be compared with an earlier one.

        If the version cannot be read, the returned object equals no other.
        """
        if self._connection is None or self._file is None:
            return self._number
        try:
            if self._file.find_fault() is not None:
                return object()
            counted = self._connection.execute(_CHANGES).fetchall()
            return (self._number, counted) if counted else object()
        except sqlite3.Error:
            return object()

    def bump(self) -> None:
        """Change the version, because this process has changed a token, a session or a user's key."""
        self._number += 1

    @contextmanager
    def bump_on_exit(self) -> Iterator[None]:
        """Call `bump` when the context ends, even after an error, because the change may have been stored."""
        try:
            yield
        finally:
            self.bump()

    async def bump_async(self) -> None:
        """Call `bump`. An asynchronous callback for changes that other processes announce."""
        self.bump()

    def close(self) -> None:
        """Close the connection to the SQLite file, if there is one."""
        if self._connection is not None:
            self._connection.close()


class _Entry(NamedTuple, Generic[V]):
    value: V
    mark: object
    until: float


class VersionedCache(Generic[K, V]):
    """A cache for 10,000 values. An entry expires after some seconds, or when the `AccessDataVersion` changes."""

    def __init__(self, version: AccessDataVersion, clock: Callable[[], float] = time.monotonic) -> None:
        self._version = version
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the cached value of ``key``; None if there is none, or if it has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() < entry.until and entry.mark == self._version.current_version():
            return entry.value
        del self._entries[key]
        return None

    async def get_or_load(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the cached value of ``key``; else call ``load`` and cache its result, if not None."""
        value = self.get(key)
        if value is None:
            mark = self.current_version()
            value = await load()
            if value is not None:
                self.put(key, value, mark)
        return value

    def current_version(self) -> object:
        """Return the present version. Take it before reading a value from the database, and pass it to `put`."""
        return self._version.current_version()

    def put(self, key: K, value: V, version: object) -> None:
        """Cache ``value`` under ``key``.

        ``version`` is the `current_version` from before ``value`` was read. If it has changed, the entry is
        never returned.
        """
        self._entries[key] = _Entry(value, version, self._clock() + self._version.seconds)
        if len(self._entries) > MOST:
            self._entries.popitem(last=False)


class CachedTokenStore:
    """A `TokenStore` with a cache: the rights of each access token are cached for some seconds."""

    def __init__(
        self, store: TokenStore, version: AccessDataVersion, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._version = version
        self._clock = clock
        self._grants: VersionedCache[str, Grant] = VersionedCache(version)

    async def find_grant(self, plain_token: str) -> Grant | None:
        """Return the rights of an access token; None if it is unknown, revoked or expired. Cached for some seconds."""
        grant = await self._grants.get_or_load(
            hash_token(plain_token), lambda: self._store.find_grant(plain_token)
        )
        return None if grant is None or grant.has_expired(self._clock()) else grant

    async def issue_token(self, grant: Grant, name: str, *, actor: str) -> tuple[AccessToken, str]:
        """Issue an access token with the rights ``grant``. See `TokenStore.issue_token`."""
        return await self._store.issue_token(grant, name, actor=actor)

    async def list_tokens(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """List all access tokens, or those of one tenant, the newest first."""
        return await self._store.list_tokens(tenant_id)

    async def revoke_token(self, token_id: str, *, actor: str, tenant_id: str | None = None) -> bool:
        """Revoke a token, end the sessions that were opened with it, and empty the cache.

        False if the token is unknown, or was revoked before.
        """
        with self._version.bump_on_exit():
            return await self._store.revoke_token(token_id, actor=actor, tenant_id=tenant_id)


class CachedBrowserSessionStore:
    """A `BrowserSessionStore` with a cache: the rights of each session are cached for some seconds."""

    def __init__(
        self,
        store: BrowserSessionStore,
        version: AccessDataVersion,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._version = version
        self._clock = clock
        self._grants: VersionedCache[str, Grant] = VersionedCache(version)

    async def open_session(self, user_id: str, token_id: str | None = None) -> str:
        """Open a browser session for ``user_id``, and return the value of its cookie.

        See `BrowserSessionStore.open_session`.
        """
        return await self._store.open_session(user_id, token_id)

    async def find_grant(self, cookie_value: str) -> Grant | None:
        """Return the rights of a browser session; None if there is no such session now. Cached for some seconds."""
        grant = await self._grants.get_or_load(
            hash_token(cookie_value), lambda: self._store.find_grant(cookie_value)
        )
        return None if grant is None or grant.has_expired(self._clock()) else grant

    async def end_session(self, cookie_value: str) -> None:
        """End the session with this cookie value, if there is one, and empty the cache."""
        with self._version.bump_on_exit():
            await self._store.end_session(cookie_value)


class CachedKeyStore(SqlKeyStore):
    """A `SqlKeyStore` with a cache: each user's key versions, still encrypted, are cached for some seconds."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], version: AccessDataVersion) -> None:
        super().__init__(sessions)
        self._version = version
        self._held: VersionedCache[DataOwner, Sequence[KeyVersion]] = VersionedCache(version)
        self._used: VersionedCache[str, datetime] = VersionedCache(version)

    @override
    async def list_versions(self, owner: DataOwner, now: datetime) -> Sequence[KeyVersion]:
        ask = super().list_versions
        held = await self._held.get_or_load(owner, lambda: ask(owner, now))
        good = [key for key in held or () if key.valid_until is None or key.valid_until > now]
        return [key._replace(last_used_at=self._used.get(key.place.row) or key.last_used_at) for key in good]

    @override
    async def add_version(
        self,
        identity: KeyIdentity,
        make_version: VersionFactory,
        *,
        now: datetime,
        previous_valid_until: datetime,
    ) -> KeyVersion:
        with self._version.bump_on_exit():
            return await super().add_version(
                identity, make_version, now=now, previous_valid_until=previous_valid_until
            )

    @override
    async def remove_key(self, owner: DataOwner, provider: str, now: datetime) -> bool:
        with self._version.bump_on_exit():
            return await super().remove_key(owner, provider, now)

    @override
    async def set_house_fallback(self, owner: DataOwner, *, house_fallback: bool) -> None:
        with self._version.bump_on_exit():
            await super().set_house_fallback(owner, house_fallback=house_fallback)

    @override
    async def record_use(self, row_ids: Collection[str], now: datetime) -> None:
        mark = self._used.current_version()
        await super().record_use(row_ids, now)
        for row in row_ids:
            self._used.put(row, now, mark)

    @override
    async def rewrap_all_data_keys(self, rewrap_versions: VersionUpdater) -> int:
        with self._version.bump_on_exit():
            return await super().rewrap_all_data_keys(rewrap_versions)


def _opened(path: Path) -> Any:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
