"""Enrols, lists and removes a user's keys, and lends them to a request."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

from backend.utils.llm.caller import OwnEndpoint
from backend.utils.llm.model_config import OWN

from .errors import (
    EndpointAndKeysError,
    KeyNotFoundError,
    MalformedKeyError,
    NotEnrolledError,
    UnreadableKeyError,
)
from .lent import BroughtKey, StoredKey
from .removals import Removals
from .store import KeptKey, KeyStore, Owner
from .vault import Place, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pydantic import SecretStr

    from backend.utils.llm.caller import Caller, KeyPolicy

    from .lent import LentKey
    from .masters import Masters
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


@dataclass(frozen=True, slots=True)
class Loan:
    """The keys of one request.

    Attributes:
        keys: Provider to secret; under ``own``, the one for an endpoint of the user's own.
        versions: Which they are.
        serving: The providers whose keys serve the request's calls.
        policy: Whose keys may pay. Unset only for a user who has none.
    """

    keys: Mapping[str, LentKey]
    versions: Mapping[str, KeptKey]
    serving: Collection[str]
    policy: KeyPolicy | None

    def only(self, provider: str) -> Loan:
        """The same, with the key for ``provider`` alone to serve and pay."""
        return replace(self, serving=[provider], policy="byok_only")

    def lend_to(self, caller: Caller) -> Caller:
        """``caller`` with the keys that serve. None is opened for it."""
        keys = {provider: self.keys[provider] for provider in self.serving if provider != OWN}
        own = self._own_endpoint() if OWN in self.serving else None
        return caller.model_copy(update={"keys": keys, "own_endpoint": own, "key_policy": self.policy})

    def used(self) -> Collection[KeptKey]:
        """The versions that came with the request, or were opened in it."""
        return [self.versions[provider] for provider, key in self.keys.items() if key.was_used]

    def _own_endpoint(self) -> OwnEndpoint | None:
        """It was looked at when it was enrolled; to do so again would open its key."""
        server = self.versions[OWN].place.server
        return server and OwnEndpoint.model_construct(**server._asdict(), key=self.keys[OWN])


class Keychain:
    """Users' keys. It opens none by itself: whoever asks a lent one for its value does."""

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
        self._removals = removals or Removals(store, now=clock)
        self._vault = vault
        self._clock = clock
        self._new_id = new_id

    async def enrol(
        self, owner: Owner, provider: str, key: SecretStr, *, keep: bool = True, overlap: timedelta
    ) -> KeptKey:
        """Make ``key`` the user's for ``provider``; the one before holds for ``overlap`` more.

        Args:
            owner: Whose it is.
            provider: Where it is good for.
            key: It is stored if ``keep``, else it has to come with every request.
            keep: Whether to store it.
            overlap: For how long the key before is accepted beside it.

        Raises:
            MalformedKeyError: If it cannot be a key.
            MasterKeyError: If there is nothing to lock it with.
        """
        return await self._enrol(self._place(owner, provider), key, keep, overlap)

    async def enrol_own(
        self, owner: Owner, server: Server, key: SecretStr, *, keep: bool = True, overlap: timedelta
    ) -> KeptKey:
        """Make ``server`` the user's own endpoint, with ``key``; otherwise as `enrol`."""
        return await self._enrol(self._place(owner, OWN, server), key, keep, overlap)

    async def of(self, owner: Owner) -> Sequence[KeptKey]:
        """Every version that holds, by provider, the newest first."""
        return await self._store.of(owner, self._clock())

    async def choose(self, owner: Owner, *, house_fallback: bool) -> None:
        """Whether the house may pay where the user's keys do not serve, for features that allow it."""
        await self._store.choose(owner, house_fallback=house_fallback)
        log.info("keys.chosen user=%s house_fallback=%s", owner.user_id, house_fallback)

    async def chosen(self, owner: Owner) -> bool:
        """Whether the user chose that the house may pay."""
        return await self._store.chosen(owner)

    async def remove(self, owner: Owner, provider: str) -> None:
        """Forget the user's key for ``provider``. From now on no process accepts it; nor uses it, after half a second.

        Raises:
            KeyNotFoundError: If there is none.
        """
        if not await self._store.remove(owner, provider, self._clock()):
            raise KeyNotFoundError
        await self._removals.catch_up()
        log.info("keys.removed user=%s provider=%s", owner.user_id, provider)

    async def lend(self, owner: Owner, brought: Mapping[str, SecretStr]) -> Loan:
        """The keys of a request: those that it brought, and for other providers those that are stored.

        Raises:
            EndpointAndKeysError: If it brought keys, and one for an endpoint of the user's own.
            NotEnrolledError: If it brought one that the user did not enrol.
            UnreadableKeyError: If what it brought cannot be compared.
        """
        if OWN in brought and len(brought) > 1:
            raise EndpointAndKeysError
        held = await self.of(owner)
        versions = self._stored(held) | self._recognised(brought, held)
        keys = self._lent(versions) | self._brought(brought, versions)
        return Loan(keys, versions, _serving(versions, brought), _policy(held))

    async def take_back(self, loan: Loan) -> None:
        """The request is over: its keys hold no value any more, and it is noted which of them were used.

        That noting it fails is no reason for a request to.
        """
        for key in loan.keys.values():
            key.give_back()
        now = self._clock()
        stale = [key.place.row for key in loan.used() if _is_stale(key, now)]
        if not stale:
            return
        try:
            await self._store.note_use(stale, now)
        except Exception:
            log.exception("keys.use_not_noted")

    def _place(self, owner: Owner, provider: str, server: Server | None = None) -> Place:
        return Place(owner.tenant_id, owner.user_id, provider, self._new_id(), server)

    async def _enrol(self, place: Place, key: SecretStr, keep: bool, overlap: timedelta) -> KeptKey:  # noqa: FBT001
        plain = key.get_secret_value().strip()
        if not _KEY.fullmatch(plain):
            raise MalformedKeyError(place.provider)
        now = self._clock()
        tail = plain[-_TAIL:] if len(plain) >= _LONG else ""

        def seal(any_kept: bool) -> KeptKey:  # noqa: FBT001 - as of `Seal`
            return KeptKey(place, self._vault.seal(plain, place, keep=keep, is_first=not any_kept), tail, now)

        kept = await self._store.add(place, seal, now=now, until=now + overlap)
        await self._removals.catch_up()
        log.info("keys.enrolled user=%s provider=%s stored=%s", place.user_id, place.provider, keep)
        return kept

    def _stored(self, held: Iterable[KeptKey]) -> dict[str, KeptKey]:
        return {key.place.provider: key for key in held if key.is_stored and key.valid_until is None}

    def _recognised(self, brought: Mapping[str, SecretStr], held: Sequence[KeptKey]) -> dict[str, KeptKey]:
        found = {provider: self._version(provider, key, held) for provider, key in brought.items()}
        if strange := sorted(provider for provider, version in found.items() if version is None):
            raise NotEnrolledError(strange)
        return {provider: version for provider, version in found.items() if version is not None}

    def _version(self, provider: str, key: SecretStr, held: Iterable[KeptKey]) -> KeptKey | None:
        plain = key.get_secret_value()
        mine = (one for one in held if one.place.provider == provider)
        return next((one for one in mine if self._vault.matches(plain, one.sealed, one.place)), None)

    def _lent(self, versions: Mapping[str, KeptKey]) -> dict[str, LentKey]:
        return {
            provider: StoredKey(
                provider,
                partial(self._vault.open, key.sealed, key.place),
                key,
                self._removals.follow(key.place.row),
            )
            for provider, key in versions.items()
        }

    def _brought(self, keys: Mapping[str, SecretStr], versions: Mapping[str, KeptKey]) -> dict[str, LentKey]:
        return {
            provider: BroughtKey(provider, key, version, self._removals.follow(version.place.row))
            for provider, key in keys.items()
            for version in [versions[provider]]
        }


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


def _serving(versions: Mapping[str, KeptKey], brought: Mapping[str, SecretStr]) -> Collection[str]:
    """An endpoint of the user's own takes the place of what is stored, and keys that came with the request take its."""
    if OWN in versions and brought.keys() <= {OWN}:
        return [OWN]
    return versions.keys() - {OWN}


def _policy(held: Sequence[KeptKey]) -> KeyPolicy | None:
    """The house pays for nobody who has a key, unless they chose that: also if it is not stored and did not come along."""
    if not held:
        return None
    return "byok_then_house" if held[0].house_fallback else "byok_only"


def _is_stale(key: KeptKey, now: datetime) -> bool:
    return key.last_used_at is None or now - key.last_used_at >= _STALE
