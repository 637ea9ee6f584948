"""What every `KeyStore` promises, the fake one too; and what the database adds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import DataOwner
from backend.database.engine import make_engine
from backend.database.keys import SqlKeyStore
from backend.keys.problem import KeyProblem, Reason
from backend.keys.store import KeyRemoval, KeyVersion
from backend.keys.vault import EncryptedKey, KeyIdentity, OwnEndpointConfig
from backend.tests.fakes.keys import InMemoryKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from backend.keys.store import KeyStore

    from .conftest import Sessions

ANN, BOB = DataOwner("ann"), DataOwner("bob")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEALED = EncryptedKey("m1", b"wrapped", b"box", "fingerprint")


def version(row: str, owner: DataOwner = ANN, provider: str = "openai", at: datetime = NOON) -> KeyVersion:
    return KeyVersion(KeyIdentity(owner.tenant_id, owner.user_id, provider, row), SEALED, "1234", at)


async def add(store: KeyStore, key: KeyVersion, *, until: datetime) -> None:
    await store.add_version(key.place, lambda _: key, now=key.created_at, previous_valid_until=until)


async def rows(store: KeyStore, owner: DataOwner = ANN, now: datetime = NOON) -> list[str]:
    return [key.place.row for key in await store.list_versions(owner, now)]


def problem(reason: Reason = "revoked", at: datetime = NOON, endpoint: str = "openai:m") -> KeyProblem:
    return KeyProblem(reason, endpoint, at, at)


async def problems(store: KeyStore) -> list[KeyProblem | None]:
    return [key.problem for key in await store.list_versions(ANN, NOON)]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> KeyStore:
    if request.param == "memory":
        return InMemoryKeys()
    return SqlKeyStore(request.getfixturevalue(f"{request.param}_sessions"))


class TestEveryStore:
    async def test_what_was_kept_is_found_as_it_was(self, store: KeyStore) -> None:
        key = version("1")._replace(sealed=EncryptedKey("m1", b"\x00\xff", None, "f"))
        own = version("2", provider="own")
        own = own._replace(
            place=own.place._replace(server=OwnEndpointConfig("https://models.example/v1", "llama"))
        )
        await add(store, key, until=NOON)
        await add(store, own, until=NOON)

        assert sorted(await store.list_versions(ANN, NOON)) == [key, own]

    @pytest.mark.parametrize("other", [BOB, ANN._replace(tenant_id="acme")], ids=str)
    async def test_it_is_its_owners_alone(self, store: KeyStore, other: DataOwner) -> None:
        await add(store, version("1"), until=NOON)

        assert await rows(store, other) == []
        assert not await store.remove_key(other, "openai", NOON)
        assert await rows(store) == ["1"]

    async def test_the_one_before_holds_until_its_time_is_up(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await add(store, version("2"), until=NOON + HOUR)

        assert await rows(store, now=NOON + HOUR - timedelta(seconds=1)) == ["2", "1"]
        assert await rows(store, now=NOON + HOUR) == ["2"]

    async def test_of_many_that_follow_each_other_the_last_two_hold_the_newest_first(
        self, store: KeyStore
    ) -> None:
        for number in range(4):
            await add(store, version(str(number), at=NOON), until=NOON + HOUR)

        assert await rows(store) == ["3", "2"]

    async def test_a_key_for_one_provider_leaves_the_others_alone(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await add(store, version("2", provider="gemini"), until=NOON)

        assert sorted(await rows(store)) == ["1", "2"]

    async def test_every_version_is_forgotten_together(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await add(store, version("2"), until=NOON + HOUR)

        assert await store.remove_key(ANN, "openai", NOON)
        assert await rows(store) == []
        assert not await store.remove_key(ANN, "openai", NOON)

    async def test_removals_and_replacements_are_listed_in_order(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await add(store, version("2"), until=NOON)
        assert await store.list_removals(0) == [KeyRemoval(1, "1", NOON)]

        await add(store, version("3"), until=NOON + HOUR)
        assert await store.list_removals(1) == [KeyRemoval(2, "2", NOON + HOUR)]

        await store.remove_key(ANN, "openai", NOON)
        await store.remove_key(ANN, "openai", NOON)
        numbers, gone, times = zip(*await store.list_removals(2), strict=True)
        assert (numbers, sorted(gone), set(times)) == ((3, 4), ["2", "3"], {NOON})

    async def test_a_key_is_sealed_under_the_write_lock_knowing_whether_it_is_the_first(
        self, store: KeyStore
    ) -> None:
        told = []

        def seal(any_kept: bool) -> KeyVersion:  # noqa: FBT001 - as of `VersionFactory`
            told.append(any_kept)
            return version(str(len(told)), DataOwner(f"user-{len(told)}"))

        for _ in range(2):
            await store.add_version(version("1").place, seal, now=NOON, previous_valid_until=NOON)

        assert told == [False, True]

    async def test_use_is_noted(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await add(store, version("2", BOB), until=NOON)

        await store.record_use(["1"], NOON)

        assert [
            key.last_used_at for owner in (ANN, BOB) for key in await store.list_versions(owner, NOON)
        ] == [
            NOON,
            None,
        ]

    async def test_a_problem_that_goes_on_keeps_its_beginning(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        for at in (NOON, NOON + HOUR):
            await store.record_problem("1", problem(at=at))

        assert await problems(store) == [KeyProblem("revoked", "openai:m", NOON, NOON + HOUR)]

        await store.record_problem("1", problem("no_quota", NOON + 2 * HOUR))

        assert await problems(store) == [problem("no_quota", NOON + 2 * HOUR)]

    async def test_the_owner_is_notified_once_for_each_reason_and_day(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        refusals: list[tuple[Reason, int]] = [
            ("revoked", 0),
            ("revoked", 1),
            ("no_quota", 2),
            ("revoked", 3),
            ("revoked", 24),
        ]
        told = [
            await store.record_problem("1", problem(reason, NOON + hours * HOUR))
            for reason, hours in refusals
        ]

        assert told == [True, False, True, False, True]

    async def test_after_a_success_it_is_still_once_a_day(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        assert await store.record_problem("1", problem())
        await store.clear_resolved_problem("1", "openai:m")

        assert await problems(store) == [None]
        assert not await store.record_problem("1", problem(at=NOON + HOUR))
        assert await problems(store) == [problem(at=NOON + HOUR)]

    async def test_that_another_model_may_be_used_does_not_give_the_one_that_may_not(
        self, store: KeyStore
    ) -> None:
        await add(store, version("1"), until=NOON)
        await store.record_problem("1", problem("no_access"))

        await store.clear_resolved_problem("1", "openai:another")
        assert await problems(store) == [problem("no_access")]

        await store.clear_resolved_problem("1", "openai:m")
        assert await problems(store) == [None]

    async def test_nothing_is_reported_of_a_deleted_key(self, store: KeyStore) -> None:
        assert not await store.record_problem("1", problem())

    async def test_a_problem_of_one_version_is_not_that_of_the_next(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await store.record_problem("1", problem())
        await add(store, version("2"), until=NOON + HOUR)

        assert await problems(store) == [None, problem()]

    async def test_an_owners_choice_holds_for_all_their_keys_and_no_others(self, store: KeyStore) -> None:
        await store.set_house_fallback(ANN, house_fallback=True)
        for number, owner in enumerate((ANN, BOB, ANN._replace(tenant_id="acme"))):
            await add(store, version(str(number), owner), until=NOON)

        assert [key.house_fallback for key in await store.list_versions(ANN, NOON)] == [True]
        assert await store.allows_house_fallback(ANN)
        for owner in (BOB, ANN._replace(tenant_id="acme")):
            assert [key.house_fallback for key in await store.list_versions(owner, NOON)] == [False]
            assert not await store.allows_house_fallback(owner)

        await store.set_house_fallback(ANN, house_fallback=False)
        assert [key.house_fallback for key in await store.list_versions(ANN, NOON)] == [False]

    async def test_what_is_locked_anew_is_kept(self, store: KeyStore) -> None:
        await add(store, version("1"), until=NOON)
        await add(store, version("2", BOB), until=NOON)
        anew = EncryptedKey("m2", b"anew", SEALED.box, SEALED.fingerprint)

        def renew(keys: Sequence[KeyVersion]) -> Iterable[KeyVersion]:
            return [key._replace(sealed=anew) for key in keys if key.place.row == "1"]

        assert await store.rewrap_all_data_keys(renew) == 1
        assert [key.sealed for owner in (ANN, BOB) for key in await store.list_versions(owner, NOON)] == [
            anew,
            SEALED,
        ]


class TestTheDatabase:
    @pytest.mark.parametrize("sessions", ["sqlite"], indirect=True)
    async def test_another_process_sees_a_removal_at_once(self, sessions: Sessions, tmp_path: Path) -> None:
        here = SqlKeyStore(sessions)
        await add(here, version("1"), until=NOON)
        engine = make_engine(tmp_path / "data" / "patchbay.sqlite3")
        there = SqlKeyStore(async_sessionmaker(engine))
        assert await rows(there) == ["1"]

        await here.remove_key(ANN, "openai", NOON)

        assert await rows(there) == []
        await engine.dispose()

    async def test_after_an_hour_a_removal_is_forgotten_and_its_number_not_given_again(
        self, sessions: Sessions
    ) -> None:
        store = SqlKeyStore(sessions)
        for row, hours in (("1", 0), ("2", 2), ("3", 4)):
            await add(store, version(row), until=NOON)
            await store.remove_key(ANN, "openai", NOON + hours * HOUR)

        assert await store.list_removals(0) == [KeyRemoval(3, "3", NOON + 4 * HOUR)]

    async def test_what_had_its_time_goes_with_the_next_that_anybody_stores(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)
        await add(store, version("1"), until=NOON)
        await add(store, version("2"), until=NOON + HOUR)

        await add(store, version("3", BOB, at=NOON + 2 * HOUR), until=NOON + 2 * HOUR)

        async with sessions() as session:
            assert sorted(await session.scalars(text("SELECT id FROM user_keys"))) == ["2", "3"]

    async def test_of_many_who_replace_a_key_at_once_one_stays_current(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)

        await asyncio.gather(
            *(add(store, version(str(n)), until=NOON + HOUR) for n in range(8)),
        )

        current = [key for key in await store.list_versions(ANN, NOON) if key.valid_until is None]
        assert len(current) == 1

    async def test_two_current_versions_cannot_be(self, sessions: Sessions) -> None:
        await add(SqlKeyStore(sessions), version("1"), until=NOON)

        with pytest.raises(IntegrityError):
            async with sessions.begin() as session:
                await session.execute(
                    text(
                        "INSERT INTO user_keys (id, tenant_id, user_id, provider, master, wrapped, box, fingerprint,"
                        " tail, created_at) SELECT '2', tenant_id, user_id, provider, master, wrapped, box,"
                        " fingerprint, tail, created_at FROM user_keys"
                    )
                )

    async def test_what_is_replaced_without_an_overlap_is_gone(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)
        for number in range(3):
            await add(store, version(str(number)), until=NOON)

        async with sessions() as session:
            assert await session.scalar(text("SELECT count(*) FROM user_keys")) == 1

    async def test_records_of_notices_are_deleted_with_the_key(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)
        await add(store, version("1"), until=NOON)
        await store.record_problem("1", problem())
        await store.remove_key(ANN, "openai", NOON)

        async with sessions() as session:
            assert await session.scalar(text("SELECT count(*) FROM key_notices")) == 0

    async def test_only_one_of_many_servers_notifies_the_owner(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)
        await add(store, version("1"), until=NOON)

        told = await asyncio.gather(*(store.record_problem("1", problem()) for _ in range(8)))

        assert sum(told) == 1

    async def test_rewrapping_does_not_interleave_with_other_writes(self, sessions: Sessions) -> None:
        """It sees all that was written before it, and whoever writes meanwhile waits until it is over."""
        store = SqlKeyStore(sessions)

        def renew(keys: Sequence[KeyVersion]) -> Iterable[KeyVersion]:
            return [key._replace(sealed=EncryptedKey("m2", b"w", b"b", "f")) for key in keys]

        adding = [add(store, version(str(n), DataOwner(f"user-{n}")), until=NOON) for n in range(20)]
        await asyncio.gather(*adding[:10], store.rewrap_all_data_keys(renew), *adding[10:])

        assert [len(await rows(store, DataOwner(f"user-{n}"))) for n in range(20)] == [1] * 20
