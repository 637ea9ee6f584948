"""What every `KeyStore` promises, the fake one too; and what the database adds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.database.engine import make_engine
from backend.database.keys import SqlKeyStore
from backend.keys.store import KeptKey, Owner
from backend.keys.vault import Place, Sealed
from backend.tests.fakes.keys import InMemoryKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from backend.keys.store import KeyStore

    from .conftest import Sessions

ANN, BOB = Owner("ann"), Owner("bob")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEALED = Sealed("m1", b"wrapped", b"box", "fingerprint")


def version(row: str, owner: Owner = ANN, provider: str = "openai", at: datetime = NOON) -> KeptKey:
    return KeptKey(Place(owner.tenant_id, owner.user_id, provider, row), SEALED, "1234", at)


async def rows(store: KeyStore, owner: Owner = ANN, now: datetime = NOON) -> list[str]:
    return [key.place.row for key in await store.of(owner, now)]


@pytest.fixture(params=["memory", "database"])
def store(request: pytest.FixtureRequest, sessions: Sessions) -> KeyStore:
    return InMemoryKeys() if request.param == "memory" else SqlKeyStore(sessions)


class TestEveryStore:
    async def test_what_was_kept_is_found_as_it_was(self, store: KeyStore) -> None:
        key = version("1")._replace(sealed=Sealed("m1", b"\x00\xff", None, "f"))
        await store.add(key, until=NOON)

        assert await store.of(ANN, NOON) == [key]

    @pytest.mark.parametrize("other", [BOB, ANN._replace(tenant_id="acme")], ids=str)
    async def test_it_is_its_owners_alone(self, store: KeyStore, other: Owner) -> None:
        await store.add(version("1"), until=NOON)

        assert await rows(store, other) == []
        assert not await store.remove(other, "openai")
        assert await rows(store) == ["1"]

    async def test_the_one_before_holds_until_its_time_is_up(self, store: KeyStore) -> None:
        await store.add(version("1"), until=NOON)
        await store.add(version("2"), until=NOON + HOUR)

        assert await rows(store, now=NOON + HOUR - timedelta(seconds=1)) == ["2", "1"]
        assert await rows(store, now=NOON + HOUR) == ["2"]

    async def test_of_many_that_follow_each_other_the_last_two_hold_the_newest_first(
        self, store: KeyStore
    ) -> None:
        for number in range(4):
            await store.add(version(str(number), at=NOON), until=NOON + HOUR)

        assert await rows(store) == ["3", "2"]

    async def test_a_key_for_one_provider_leaves_the_others_alone(self, store: KeyStore) -> None:
        await store.add(version("1"), until=NOON)
        await store.add(version("2", provider="gemini"), until=NOON)

        assert sorted(await rows(store)) == ["1", "2"]

    async def test_every_version_is_forgotten_together(self, store: KeyStore) -> None:
        await store.add(version("1"), until=NOON)
        await store.add(version("2"), until=NOON + HOUR)

        assert await store.remove(ANN, "openai")
        assert await rows(store) == []
        assert not await store.remove(ANN, "openai")

    async def test_use_is_noted(self, store: KeyStore) -> None:
        await store.add(version("1"), until=NOON)
        await store.add(version("2", BOB), until=NOON)

        await store.note_use(["1"], NOON)

        assert [key.last_used_at for owner in (ANN, BOB) for key in await store.of(owner, NOON)] == [
            NOON,
            None,
        ]

    async def test_what_is_locked_anew_is_kept(self, store: KeyStore) -> None:
        await store.add(version("1"), until=NOON)
        await store.add(version("2", BOB), until=NOON)
        anew = Sealed("m2", b"anew", SEALED.box, SEALED.fingerprint)

        def renew(keys: Sequence[KeptKey]) -> Iterable[KeptKey]:
            return [key._replace(sealed=anew) for key in keys if key.place.row == "1"]

        assert await store.rewrap(renew) == 1
        assert [key.sealed for owner in (ANN, BOB) for key in await store.of(owner, NOON)] == [anew, SEALED]


class TestTheDatabase:
    async def test_another_process_sees_a_removal_at_once(self, sessions: Sessions, tmp_path: Path) -> None:
        here = SqlKeyStore(sessions)
        await here.add(version("1"), until=NOON)
        engine = make_engine(tmp_path / "data" / "patchbay.sqlite3")
        there = SqlKeyStore(async_sessionmaker(engine))
        assert await rows(there) == ["1"]

        await here.remove(ANN, "openai")

        assert await rows(there) == []
        await engine.dispose()

    async def test_of_many_who_replace_a_key_at_once_one_stays_current(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)

        await asyncio.gather(
            *(store.add(version(str(n)), until=NOON + HOUR) for n in range(8)),
        )

        current = [key for key in await store.of(ANN, NOON) if key.valid_until is None]
        assert len(current) == 1

    async def test_two_current_versions_cannot_be(self, sessions: Sessions) -> None:
        await SqlKeyStore(sessions).add(version("1"), until=NOON)

        with pytest.raises(IntegrityError):
            async with sessions.begin() as session:
                await session.execute(
                    text(
                        "INSERT INTO user_keys SELECT '2', tenant_id, user_id, provider, master, wrapped, box,"
                        " fingerprint, tail, created_at, last_used_at, valid_until FROM user_keys"
                    )
                )

    async def test_what_is_replaced_without_an_overlap_is_gone(self, sessions: Sessions) -> None:
        store = SqlKeyStore(sessions)
        for number in range(3):
            await store.add(version(str(number)), until=NOON)

        async with sessions() as session:
            assert await session.scalar(text("SELECT count(*) FROM user_keys")) == 1

    async def test_locking_anew_waits_for_nobody_half_done(self, sessions: Sessions) -> None:
        """It sees all that was written before it, and whoever writes meanwhile waits until it is over."""
        store = SqlKeyStore(sessions)

        def renew(keys: Sequence[KeptKey]) -> Iterable[KeptKey]:
            return [key._replace(sealed=Sealed("m2", b"w", b"b", "f")) for key in keys]

        adding = [store.add(version(str(n), Owner(f"user-{n}")), until=NOON) for n in range(20)]
        await asyncio.gather(*adding[:10], store.rewrap(renew), *adding[10:])

        assert [len(await rows(store, Owner(f"user-{n}"))) for n in range(20)] == [1] * 20
