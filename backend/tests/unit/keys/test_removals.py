"""A key that was removed is not used any more, also by what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.access import DataOwner
from backend.background import BackgroundTaskRunner
from backend.keys.errors import KeyRemovedError
from backend.keys.keychain import Keychain
from backend.keys.removals import BLIND, LOOK, KeyRemovalTracker
from backend.keys.request_keys import RequestKey, StoredKey
from backend.keys.store import KeyRemoval, KeyVersion
from backend.keys.vault import EncryptedKey, KeyIdentity, KeyVault
from backend.tests.fakes.keys import InMemoryKeys, given
from backend.utils.llm import Caller
from backend.utils.llm.clock import Time
from backend.utils.llm.testing import Status
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from backend.utils.llm.testing import LoopbackProvider

Call = Callable[["BaseChatModel"], Awaitable[None]]
ANN = DataOwner("ann")
KEY, ANOTHER = SecretStr("sk-canary-of-ann-0123456789"), SecretStr("sk-canary-anew-0123456789")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NONE, HOUR = timedelta(0), timedelta(hours=1)


class Server:
    """One of several on the same keys."""

    def __init__(self, store: InMemoryKeys, vault: KeyVault) -> None:
        self.hours = 0
        self.seconds = 0.0
        self.removals = KeyRemovalTracker(store, Time(now=self.now, clock=lambda: self.seconds))
        self.keychain = Keychain(store, vault, removals=self.removals, clock=self.now)

    def now(self) -> datetime:
        return NOON + self.hours * HOUR

    async def request_key(self, *, stored: bool) -> RequestKey:
        await self.keychain.enrol_key(ANN, "openai", KEY, store_key=stored, overlap=NONE)
        request_keys = await self.keychain.collect_request_keys(ANN, {} if stored else {"openai": KEY})
        return request_keys.keys["openai"]


@pytest.fixture
def store() -> InMemoryKeys:
    return InMemoryKeys()


@pytest.fixture
def servers(store: InMemoryKeys) -> tuple[Server, Server]:
    vault = KeyVault(given())
    return Server(store, vault), Server(store, vault)


@pytest.mark.parametrize("stored", [True, False])
async def test_the_server_that_removed_it_uses_it_no_more(
    servers: tuple[Server, Server], *, stored: bool
) -> None:
    here, _ = servers
    key = await here.request_key(stored=stored)
    assert key.get_secret_value() == KEY.get_secret_value()

    await here.keychain.remove_key(ANN, "openai")

    with pytest.raises(KeyRemovedError, match="openai"):
        key.get_secret_value()


@pytest.mark.parametrize("stored", [True, False])
async def test_another_server_uses_it_no_more_once_it_looked(
    servers: tuple[Server, Server], *, stored: bool
) -> None:
    here, there = servers
    key = await there.request_key(stored=stored)
    await here.keychain.remove_key(ANN, "openai")
    assert key.get_secret_value() == KEY.get_secret_value()

    await there.removals.poll_removals()

    with pytest.raises(KeyRemovedError):
        key.get_secret_value()


async def test_one_that_was_replaced_at_once_is_used_no_more(servers: tuple[Server, Server]) -> None:
    here, _ = servers
    key = await here.request_key(stored=True)

    await here.keychain.enrol_key(ANN, "openai", ANOTHER, overlap=NONE)

    with pytest.raises(KeyRemovedError):
        key.get_secret_value()


@pytest.mark.parametrize("stored", [True, False])
async def test_one_that_was_replaced_with_an_overlap_is_used_until_that_is_over(
    servers: tuple[Server, Server], *, stored: bool
) -> None:
    here, there = servers
    key = await there.request_key(stored=stored)

    await here.keychain.enrol_key(ANN, "openai", ANOTHER, overlap=HOUR)
    await there.removals.poll_removals()
    assert key.get_secret_value() == KEY.get_secret_value()

    there.hours = 1
    with pytest.raises(KeyRemovedError):
        key.get_secret_value()


async def test_one_that_was_removed_within_its_overlap_is_used_no_more(
    servers: tuple[Server, Server],
) -> None:
    here, _ = servers
    key = await here.request_key(stored=True)

    await here.keychain.enrol_key(ANN, "openai", ANOTHER, overlap=HOUR)
    await here.keychain.remove_key(ANN, "openai")

    with pytest.raises(KeyRemovedError):
        key.get_secret_value()


async def test_a_server_that_missed_removals_uses_no_key_from_before(
    store: InMemoryKeys, servers: tuple[Server, Server]
) -> None:
    """It slept for so long that they are not told any more."""
    here, there = servers
    await here.request_key(stored=True)
    await here.request_key(stored=True)
    await there.removals.poll_removals()
    lent_before = await there.request_key(stored=True)
    store.gone = [KeyRemoval(9, "another", NOON)]
    there.removals._last = 7

    await there.removals.poll_removals()

    with pytest.raises(KeyRemovedError):
        lent_before.get_secret_value()
    assert (await there.request_key(stored=True)).get_secret_value() == KEY.get_secret_value()


async def test_a_server_that_cannot_see_removals_uses_no_key_from_before(
    servers: tuple[Server, Server],
) -> None:
    here, _ = servers
    async with here.removals.poll_periodically(BackgroundTaskRunner()):
        key = await here.request_key(stored=True)
        here.seconds = BLIND
        assert key.get_secret_value() == KEY.get_secret_value()

        here.seconds += 1
        with pytest.raises(KeyRemovedError):
            key.get_secret_value()


async def test_what_was_removed_stays_removed_however_much_is_removed_after_it(
    store: InMemoryKeys, servers: tuple[Server, Server]
) -> None:
    here, _ = servers
    asked, unasked = (
        await here.request_key(stored=True),
        (await here.keychain.collect_request_keys(ANN, {})).keys["openai"],
    )
    await here.keychain.remove_key(ANN, "openai")
    with pytest.raises(KeyRemovedError):
        asked.get_secret_value()

    store.gone += [KeyRemoval(number, f"row {number}", NOON) for number in range(2, 100_010)]
    await here.removals.poll_removals()

    for key in (asked, unasked):
        with pytest.raises(KeyRemovedError):
            key.get_secret_value()


async def test_the_same_key_stored_again_is_another_one(servers: tuple[Server, Server]) -> None:
    here, _ = servers
    await here.request_key(stored=True)
    await here.keychain.remove_key(ANN, "openai")

    assert (await here.request_key(stored=True)).get_secret_value() == KEY.get_secret_value()


def test_others_are_seen_within_a_second() -> None:
    assert 2 * LOOK < 1


async def test_a_removed_key_holds_no_value(servers: tuple[Server, Server]) -> None:
    here, _ = servers
    key = await here.request_key(stored=False)
    await here.keychain.remove_key(ANN, "openai")
    with pytest.raises(KeyRemovedError):
        key.get_secret_value()

    assert KEY.get_secret_value() not in str(vars(key))


async def invoke(model: BaseChatModel) -> None:
    await asyncio.to_thread(model.invoke, "hi")


async def stream(model: BaseChatModel) -> None:
    await asyncio.to_thread(lambda: list(model.stream("hi")))


async def ainvoke(model: BaseChatModel) -> None:
    await model.ainvoke("hi")


async def astream(model: BaseChatModel) -> None:
    async for _ in model.astream("hi"):
        pass


@pytest.mark.parametrize("call", [invoke, stream, ainvoke, astream], ids=lambda call: call.__name__)
@pytest.mark.parametrize("api", ["openai", "gemini"])
async def test_a_call_under_way_ends_when_its_key_is_removed(
    api: str, call: Call, provider: LoopbackProvider
) -> None:
    """The first attempt fails, and before the second the key goes."""
    kept = KeyVersion(
        KeyIdentity("", "ann", api, "row"),
        EncryptedKey("", b"", None, ""),
        "",
        datetime(2026, 11, 21, tzinfo=UTC),
    )
    removed: set[str] = set()
    key = StoredKey(KEY.get_secret_value, kept, lambda: "row" in removed)
    provider.always(Status(503))
    patchbay = loopback_patchbay(
        provider,
        {"f": f"{api}:model"},
        time=VirtualTime().time,
        observer=lambda *_: removed.add("row"),
    )
    caller = Caller(user_id="ann").model_copy(update={"keys": {api: key}})
    with pytest.raises(KeyRemovedError):
        await call(patchbay.get_llm("f", caller=caller))
    await patchbay.aclose()

    assert len(provider.requests) == 1
