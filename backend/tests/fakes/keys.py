"""Users' keys in memory."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from backend.keys.keychain import Keychain
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey
from backend.keys.store import KeyRemoval, KeyVersion
from backend.keys.vault import KeyIdentity, Vault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from backend.access import DataOwner
    from backend.keys.problem import KeyProblem
    from backend.keys.store import VersionFactory, VersionUpdater

ENROLLED = {("ann", "openai"): "sk-of-ann"}
"""What users have enrolled, and not stored."""


class InMemoryKeys:
    """A `KeyStore` that forgets."""

    def __init__(self, kept: Sequence[KeyVersion] = ()) -> None:
        self.kept = list(kept)
        self.fallback: set[DataOwner] = set()
        self.told: set[tuple[str, str, date]] = set()
        self.gone: list[KeyRemoval] = []

    async def add_version(
        self, place: KeyIdentity, seal: VersionFactory, *, now: datetime, until: datetime
    ) -> KeyVersion:
        key = seal(bool(self.kept))
        mine = [one for one in self.kept if slot(one) == slot(key)]
        others = [one for one in self.kept if slot(one) != slot(key)]
        stays = [one for one in mine if one.valid_until is None and until > now]
        self._end([one for one in mine if one not in stays], now)
        self._end(stays, until)
        self.kept = [key, *(one._replace(valid_until=until) for one in stays), *others]
        return key

    async def list_versions(self, owner: DataOwner, now: datetime) -> Sequence[KeyVersion]:
        chosen = await self.allows_house_fallback(owner)
        mine = [one._replace(house_fallback=chosen) for one in self.kept if slot(one)[:2] == owner]
        return [one for one in mine if one.valid_until is None or one.valid_until > now]

    async def remove(self, owner: DataOwner, provider: str, now: datetime) -> bool:
        gone = [one for one in self.kept if slot(one) == (*owner, provider)]
        self.kept = [one for one in self.kept if one not in gone]
        self._end(gone, now)
        return bool(gone)

    async def list_removals(self, after: int) -> Sequence[KeyRemoval]:
        return [one for one in self.gone if one.number > after]

    def _end(self, keys: Sequence[KeyVersion], at: datetime) -> None:
        self.gone += [
            KeyRemoval(number, one.place.row, at) for number, one in enumerate(keys, len(self.gone) + 1)
        ]

    async def set_house_fallback(self, owner: DataOwner, *, house_fallback: bool) -> None:
        self.fallback -= {owner}
        self.fallback |= {owner} if house_fallback else set()

    async def allows_house_fallback(self, owner: DataOwner) -> bool:
        return owner in self.fallback

    async def record_use(self, rows: Collection[str], now: datetime) -> None:
        self.kept = [one._replace(last_used_at=now) if one.place.row in rows else one for one in self.kept]

    async def record_problem(self, row: str, problem: KeyProblem) -> bool:
        before = next((one for one in self.kept if one.place.row == row), None)
        if before is None:
            return False
        if before.problem and before.problem.reason == problem.reason:
            problem = problem._replace(since=before.problem.since)
        self.kept = [one._replace(problem=problem) if one is before else one for one in self.kept]
        known = len(self.told)
        self.told.add((row, problem.reason, problem.last.date()))
        return len(self.told) > known

    async def record_success(self, row: str, endpoint: str) -> None:
        self.kept = [
            one._replace(problem=None)
            if one.place.row == row and one.problem and one.problem.is_resolved_by_success_at(endpoint)
            else one
            for one in self.kept
        ]

    async def rewrap_all(self, renew: VersionUpdater) -> int:
        renewed = {one.place: one for one in renew(self.kept)}
        self.kept = [renewed.get(one.place, one) for one in self.kept]
        return len(renewed)


def slot(key: KeyVersion) -> tuple[str, str, str]:
    return key.place.user_id, key.place.tenant_id, key.place.provider


def given(*keys: MasterKey) -> EnvironmentMasterKeys:
    """Master keys as the environment tells them; by default a new one."""
    return EnvironmentMasterKeys(
        SecretStr(",".join(key.to_text() for key in keys or (MasterKey.generate(),)))
    )


def keychain(enrolled: Mapping[tuple[str, str], str] = ENROLLED) -> Keychain:
    """A keychain in which these are enrolled."""
    vault = Vault(given())
    kept = [
        _kept(vault, KeyIdentity("", user, provider, user), key) for (user, provider), key in enrolled.items()
    ]
    return Keychain(InMemoryKeys(kept), vault)


def _kept(vault: Vault, place: KeyIdentity, key: str) -> KeyVersion:
    return KeyVersion(
        place, vault.encrypt_key(key, place, keep=False), "", datetime(2026, 11, 21, tzinfo=UTC)
    )
