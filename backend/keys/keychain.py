"""Enrols, lists and removes a user's keys, and hands them to a request."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from backend.utils.llm.clock import Time
from backend.utils.llm.model_config import OWN

from .errors import (
    EndpointAndKeysError,
    KeyNotFoundError,
    MalformedKeyError,
    NotEnrolledError,
)
from .removals import Removals
from .request_keys import RequestKeys, StoredKey, SuppliedKey, key_policy_of, serving_providers
from .store import KeyStore, KeyVersion
from .vault import Place, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import SecretStr

    from backend.access import Owner

    from .request_keys import RequestKey
    from .vault import Server

log = logging.getLogger(__name__)

_KEY: Final = re.compile(r"[\x21-\x7e]{8,512}")
_TAIL: Final = 4
_LONG: Final = 20
"""From how many characters on a key's last four tell little enough of it to be shown."""
_STALE: Final = timedelta(minutes=1)
"""How old ``last_used_at`` may be: so that a request is not a write each time."""


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid4().hex


class Keychain:
    """Enrols, lists and removes users' own provider keys, and gives a request the keys that it may use.

    It decrypts nothing: each `RequestKey` decrypts itself when its value is first read.
    """

    def __init__(
        self,
        store: KeyStore,
        vault: Vault,
        *,
        removals: Removals | None = None,
        clock: Callable[[], datetime] = _now,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._store = store
        self._removals = removals or Removals(store, Time(now=clock))
        self._vault = vault
        self._clock = clock
        self._new_id = new_id

    async def enrol(
        self, owner: Owner, provider: str, key: SecretStr, *, keep: bool = True, overlap: timedelta
    ) -> KeyVersion:
        """Make ``key`` the user's key for ``provider``; the previous key stays valid for ``overlap``.

        Args:
            owner: The user whose key it is.
            provider: The provider that the key is for.
            key: The key itself.
            keep: Whether to store the key; else the client sends it with every request.
            overlap: How long the previous key stays valid.

        Raises:
            MalformedKeyError: ``key`` cannot be a key.
            MasterKeyError: There is no master key to encrypt it with.
        """
        return await self._enrol(self._place(owner, provider), key, keep, overlap)

    async def enrol_own(
        self, owner: Owner, server: Server, key: SecretStr, *, keep: bool = True, overlap: timedelta
    ) -> KeyVersion:
        """Register ``server`` as the user's own endpoint, with ``key``. Otherwise the same as `enrol`."""
        return await self._enrol(self._place(owner, OWN, server), key, keep, overlap)

    async def of(self, owner: Owner) -> Sequence[KeyVersion]:
        """List every valid version of the user's keys, sorted by provider, the newest version first. Empty without keys."""
        return await self._store.of(owner, self._clock())

    async def choose(self, owner: Owner, *, house_fallback: bool) -> None:
        """Store whether the operator's keys may pay for this user's calls when the user's own keys cannot serve them.

        It has an effect only for features whose configuration allows it.
        """
        await self._store.choose(owner, house_fallback=house_fallback)
        log.info("keys.chosen user=%s house_fallback=%s", owner.user_id, house_fallback)

    async def chosen(self, owner: Owner) -> bool:
        """Whether the user agreed that the operator's keys may pay when the user's own cannot serve; False by default."""
        return await self._store.chosen(owner)

    async def remove(self, owner: Owner, provider: str) -> None:
        """Delete the user's key for ``provider``. No process accepts it from now on; running work stops using it within half a second.

        Raises:
            KeyNotFoundError: The user has no key for ``provider``.
        """
        if not await self._store.remove(owner, provider, self._clock()):
            raise KeyNotFoundError
        await self._removals.level_up()
        log.info("keys.removed user=%s provider=%s", owner.user_id, provider)

    async def for_request(self, owner: Owner, supplied: Mapping[str, SecretStr]) -> RequestKeys:
        """Collect the keys that one request may use: those sent with it, and the stored ones of the other providers.

        Args:
            owner: The authenticated user of the request.
            supplied: The keys sent with the request, by provider; empty for none.

        Raises:
            EndpointAndKeysError: ``supplied`` has provider keys and also a key for an endpoint of the user's own.
            NotEnrolledError: A supplied key is not enrolled by the user.
            UnreadableKeyError: A supplied key cannot be compared with the enrolled one.
        """
        if OWN in supplied and len(supplied) > 1:
            raise EndpointAndKeysError
        held = await self.of(owner)
        versions = self._stored(held) | self._recognised(supplied, held)
        keys = {
            provider: self._request_key(version, supplied.get(provider))
            for provider, version in versions.items()
        }
        return RequestKeys(keys, versions, serving_providers(versions, supplied), key_policy_of(held))

    async def release(self, request_keys: RequestKeys) -> None:
        """Erase the keys' values at the end of a request, and record which keys were used.

        A failure to record does not fail the request.
        """
        for key in request_keys.keys.values():
            key.release()
        now = self._clock()
        stale = [key.place.row for key in request_keys.used_versions() if _is_stale(key, now)]
        if not stale:
            return
        try:
            await self._store.record_use(stale, now)
        except Exception:
            log.exception("keys.use_not_recorded")

    def _place(self, owner: Owner, provider: str, server: Server | None = None) -> Place:
        return Place(owner.tenant_id, owner.user_id, provider, self._new_id(), server)

    async def _enrol(self, place: Place, key: SecretStr, keep: bool, overlap: timedelta) -> KeyVersion:  # noqa: FBT001
        plain = key.get_secret_value().strip()
        if not _KEY.fullmatch(plain):
            raise MalformedKeyError(place.provider)
        now = self._clock()
        tail = plain[-_TAIL:] if len(plain) >= _LONG else ""

        def seal(any_kept: bool) -> KeyVersion:  # noqa: FBT001 - as of `Seal`
            return KeyVersion(
                place, self._vault.seal(plain, place, keep=keep, is_first=not any_kept), tail, now
            )

        kept = await self._store.add(place, seal, now=now, until=now + overlap)
        await self._removals.level_up()
        log.info("keys.enrolled user=%s provider=%s stored=%s", place.user_id, place.provider, keep)
        return kept

    def _stored(self, held: Iterable[KeyVersion]) -> dict[str, KeyVersion]:
        return {key.place.provider: key for key in held if key.is_stored and key.valid_until is None}

    def _recognised(
        self, supplied: Mapping[str, SecretStr], held: Sequence[KeyVersion]
    ) -> dict[str, KeyVersion]:
        found = {provider: self._version(provider, key, held) for provider, key in supplied.items()}
        if unknown := sorted(provider for provider, version in found.items() if version is None):
            raise NotEnrolledError(unknown)
        return {provider: version for provider, version in found.items() if version is not None}

    def _version(self, provider: str, key: SecretStr, held: Iterable[KeyVersion]) -> KeyVersion | None:
        plain = key.get_secret_value()
        versions = (version for version in held if version.place.provider == provider)
        return next((each for each in versions if self._vault.matches(plain, each.sealed, each.place)), None)

    def _request_key(self, version: KeyVersion, supplied: SecretStr | None) -> RequestKey:
        is_removed = self._removals.follow(version.place.row)
        if supplied is not None:
            return SuppliedKey(supplied, version, is_removed)
        return StoredKey(partial(self._vault.open, version.sealed, version.place), version, is_removed)


def _is_stale(key: KeyVersion, now: datetime) -> bool:
    return key.last_used_at is None or now - key.last_used_at >= _STALE
