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
    ConflictingRequestKeysError,
    KeyNotEnrolledError,
    KeyNotFoundError,
    MalformedKeyError,
)
from .removals import KeyRemovalTracker
from .request_keys import RequestKeys, StoredKey, SuppliedKey, choose_key_policy, choose_serving_providers
from .store import KeyStore, KeyVersion
from .vault import KeyIdentity, KeyVault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import SecretStr

    from backend.access import DataOwner

    from .request_keys import RequestKey
    from .vault import OwnEndpointConfig

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
    """Enrols, lists and removes users' own provider keys, and collects the keys that a request may use.

    No key is decrypted here: a `RequestKey` decrypts itself when its value is first read.
    """

    def __init__(
        self,
        store: KeyStore,
        vault: KeyVault,
        *,
        removals: KeyRemovalTracker | None = None,
        clock: Callable[[], datetime] = _now,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._store = store
        self._removals = removals or KeyRemovalTracker(store, Time(now=clock))
        self._vault = vault
        self._clock = clock
        self._new_id = new_id

    async def enrol_key(
        self, owner: DataOwner, provider: str, key: SecretStr, *, store_key: bool = True, overlap: timedelta
    ) -> KeyVersion:
        """Enrol ``key`` as the user's key for ``provider``, and return its new version.

        Args:
            owner: The user.
            provider: The provider that the key is for.
            key: The key.
            store_key: Whether to store the key, encrypted. If False, only a fingerprint is stored, and each
                request must bring the key.
            overlap: How long the previous key stays valid.

        Raises:
            MalformedKeyError: The text cannot be a key.
            MasterKeyError: There is no master key to encrypt it with.
        """
        return await self._enrol(self._place(owner, provider), key, store_key, overlap)

    async def enrol_own_endpoint(
        self,
        owner: DataOwner,
        server: OwnEndpointConfig,
        key: SecretStr,
        *,
        store_key: bool = True,
        overlap: timedelta,
    ) -> KeyVersion:
        """Enrol the user's own endpoint ``server``, with the key for it. Otherwise like `enrol_key`."""
        return await self._enrol(self._place(owner, OWN, server), key, store_key, overlap)

    async def list_versions(self, owner: DataOwner) -> Sequence[KeyVersion]:
        """List the valid versions of the user's keys, sorted by provider, the newest version first."""
        return await self._store.list_versions(owner, self._clock())

    async def set_house_fallback(self, owner: DataOwner, *, house_fallback: bool) -> None:
        """Store whether the operator's keys may pay for the user's calls when the user's own keys cannot.

        Takes effect only for features whose configuration allows it.
        """
        await self._store.set_house_fallback(owner, house_fallback=house_fallback)
        log.info("keys.chosen user=%s house_fallback=%s", owner.user_id, house_fallback)

    async def allows_house_fallback(self, owner: DataOwner) -> bool:
        """Whether the user agreed that the operator's keys may pay when the user's own cannot; False by default."""
        return await self._store.allows_house_fallback(owner)

    async def remove_key(self, owner: DataOwner, provider: str) -> None:
        """Delete the user's key for ``provider``.

        Within half a second, no process accepts the key any more, and running work stops using it.

        Raises:
            KeyNotFoundError: The user has no key for ``provider``.
        """
        if not await self._store.remove_key(owner, provider, self._clock()):
            raise KeyNotFoundError
        await self._removals.poll_removals()
        log.info("keys.removed user=%s provider=%s", owner.user_id, provider)

    async def collect_request_keys(self, owner: DataOwner, supplied: Mapping[str, SecretStr]) -> RequestKeys:
        """Collect the keys that a request may use: those sent with it, and stored keys for other providers.

        Args:
            owner: The authenticated user.
            supplied: The keys that were sent with the request, by provider.

        Raises:
            ConflictingRequestKeysError: The request brought keys for providers, and also a key for the user's
                own endpoint.
            KeyNotEnrolledError: The user has not enrolled one of the keys that were sent.
            UnreadableKeyError: An enrolled key cannot be compared with the key that was sent.
        """
        if OWN in supplied and len(supplied) > 1:
            raise ConflictingRequestKeysError
        held = await self.list_versions(owner)
        versions = self._stored(held) | self._recognised(supplied, held)
        keys = {
            provider: self._request_key(version, supplied.get(provider))
            for provider, version in versions.items()
        }
        return RequestKeys(
            keys, versions, choose_serving_providers(versions, supplied), choose_key_policy(held)
        )

    async def release_request_keys(self, request_keys: RequestKeys) -> None:
        """Erase the keys of a request from memory when the request ends, and record which of them were used.

        If the use cannot be recorded, the error is logged and not raised.
        """
        for key in request_keys.keys.values():
            key.erase_value()
        now = self._clock()
        stale = [key.place.row for key in request_keys.list_used_versions() if _is_stale(key, now)]
        if not stale:
            return
        try:
            await self._store.record_use(stale, now)
        except Exception:
            log.exception("keys.use_not_recorded")

    def _place(self, owner: DataOwner, provider: str, server: OwnEndpointConfig | None = None) -> KeyIdentity:
        return KeyIdentity(owner.tenant_id, owner.user_id, provider, self._new_id(), server)

    async def _enrol(self, place: KeyIdentity, key: SecretStr, keep: bool, overlap: timedelta) -> KeyVersion:  # noqa: FBT001
        plain = key.get_secret_value().strip()
        if not _KEY.fullmatch(plain):
            raise MalformedKeyError(place.provider)
        now = self._clock()
        tail = plain[-_TAIL:] if len(plain) >= _LONG else ""

        def seal(any_kept: bool) -> KeyVersion:  # noqa: FBT001 - as of `VersionFactory`
            return KeyVersion(
                place,
                self._vault.encrypt_key(plain, place, store_key=keep, may_create_master_key=not any_kept),
                tail,
                now,
            )

        kept = await self._store.add_version(place, seal, now=now, previous_valid_until=now + overlap)
        await self._removals.poll_removals()
        log.info("keys.enrolled user=%s provider=%s stored=%s", place.user_id, place.provider, keep)
        return kept

    def _stored(self, held: Iterable[KeyVersion]) -> dict[str, KeyVersion]:
        return {key.place.provider: key for key in held if key.is_stored and key.valid_until is None}

    def _recognised(
        self, supplied: Mapping[str, SecretStr], held: Sequence[KeyVersion]
    ) -> dict[str, KeyVersion]:
        found = {provider: self._version(provider, key, held) for provider, key in supplied.items()}
        if unknown := sorted(provider for provider, version in found.items() if version is None):
            raise KeyNotEnrolledError(unknown)
        return {provider: version for provider, version in found.items() if version is not None}

    def _version(self, provider: str, key: SecretStr, held: Iterable[KeyVersion]) -> KeyVersion | None:
        plain = key.get_secret_value()
        versions = (version for version in held if version.place.provider == provider)
        return next(
            (each for each in versions if self._vault.is_same_key(plain, each.sealed, each.place)), None
        )

    def _request_key(self, version: KeyVersion, supplied: SecretStr | None) -> RequestKey:
        is_removed = self._removals.make_removal_check(version.place.row)
        if supplied is not None:
            return SuppliedKey(supplied, version, is_removed)
        return StoredKey(partial(self._vault.decrypt_key, version.sealed, version.place), version, is_removed)


def _is_stale(key: KeyVersion, now: datetime) -> bool:
    return key.last_used_at is None or now - key.last_used_at >= _STALE
