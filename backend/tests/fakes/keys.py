"""Users' keys in memory."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from backend.keys.keychain import Keychain
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey
from backend.keys.store import KeyRemoval, KeyVersion
from backend.keys.vault import KeyIdentity, KeyVault

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
        self,
        identity: KeyIdentity,
        make_version: VersionFactory,
        *,
        now: datetime,
        previous_valid_until: datetime,
    ) -> KeyVersion:
        key = make_version(bool(self.kept))
        mine = [version for version in self.kept if slot(version) == slot(key)]
        others = [version for version in self.kept if slot(version) != slot(key)]
        stays = [version for version in mine if version.valid_until is None and previous_valid_until > now]
        self._end([version for version in mine if version not in stays], now)
        self._end(stays, previous_valid_until)
        self.kept = [key, *(stay._replace(valid_until=previous_valid_until) for stay in stays), *others]
        return key

    async def list_versions(self, owner: DataOwner, now: datetime) -> Sequence[KeyVersion]:
        chosen = await self.allows_house_fallback(owner)
        mine = [
            version._replace(house_fallback=chosen) for version in self.kept if slot(version)[:2] == owner
        ]
        return [version for version in mine if version.valid_until is None or version.valid_until > now]

    async def remove_key(self, owner: DataOwner, provider: str, now: datetime) -> bool:
        gone = [version for version in self.kept if slot(version) == (*owner, provider)]
        self.kept = [version for version in self.kept if version not in gone]
        self._end(gone, now)
        return bool(gone)

    async def list_removals(self, after_number: int) -> Sequence[KeyRemoval]:
        return [removal for removal in self.gone if removal.number > after_number]

    def _end(self, keys: Sequence[KeyVersion], at: datetime) -> None:
        self.gone += [
            KeyRemoval(number, version.place.row, at)
            for number, version in enumerate(keys, len(self.gone) + 1)
        ]

    async def set_house_fallback(self, owner: DataOwner, *, house_fallback: bool) -> None:
        self.fallback -= {owner}
        self.fallback |= {owner} if house_fallback else set()

    async def allows_house_fallback(self, owner: DataOwner) -> bool:
        return owner in self.fallback

    async def record_use(self, row_ids: Collection[str], now: datetime) -> None:
        self.kept = [
            version._replace(last_used_at=now) if version.place.row in row_ids else version
            for version in self.kept
        ]

    async def record_problem(self, row_id: str, problem: KeyProblem) -> bool:
        before = next((version for version in self.kept if version.place.row == row_id), None)
        if before is None:
            return False
        if before.problem and before.problem.reason == problem.reason:
            problem = problem._replace(since=before.problem.since)
        self.kept = [
            version._replace(problem=problem) if version is before else version for version in self.kept
        ]
        known = len(self.told)
        self.told.add((row_id, problem.reason, problem.last.date()))
        return len(self.told) > known

    async def clear_resolved_problem(self, row_id: str, endpoint: str) -> None:
        self.kept = [
            version._replace(problem=None)
            if version.place.row == row_id
            and version.problem
            and version.problem.is_resolved_by_success_at(endpoint)
            else version
            for version in self.kept
        ]

    async def rewrap_all_data_keys(self, rewrap_versions: VersionUpdater) -> int:
        renewed = {version.place: version for version in rewrap_versions(self.kept)}
        self.kept = [renewed.get(version.place, version) for version in self.kept]
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
    vault = KeyVault(given())
    kept = [
        _kept(vault, KeyIdentity("", user, provider, user), key) for (user, provider), key in enrolled.items()
    ]
    return Keychain(InMemoryKeys(kept), vault)


def _kept(vault: KeyVault, place: KeyIdentity, key: str) -> KeyVersion:
    return KeyVersion(
        place, vault.encrypt_key(key, place, store_key=False), "", datetime(2026, 11, 21, tzinfo=UTC)
    )
