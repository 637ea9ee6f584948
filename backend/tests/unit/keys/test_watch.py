"""Owners of keys that are refused hear of it, and no call is the worse for it."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from typing_extensions import override

from backend.background import Background
from backend.keys.keychain import Keychain
from backend.keys.store import Owner
from backend.keys.trouble import Trouble
from backend.keys.vault import Vault
from backend.keys.watch import PAUSE, KeyWatch, LogNotices
from backend.tests.fakes.keys import InMemoryKeys, given
from backend.utils.llm import Caller
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backend.keys.vault import Place
    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY, MODEL = "sk-canary-of-ann-012345679876", "openai:gpt-6-luna"
ANN = Owner("ann")
FEATURES = {"f": MODEL, "g": "openai:gpt-5.1"}


class Told:
    """`Notices` that are remembered."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Trouble]] = []

    async def tell(self, place: Place, trouble: Trouble) -> None:
        self.all.append((place.user_id, trouble))


class Runtime:
    """A watch over a facade whose users have stored a key."""

    def __init__(self, provider: LoopbackProvider) -> None:
        self.provider = provider
        self.seconds = 0.0
        self.told = Told()
        self.watch = KeyWatch(self.told, Time(now=lambda: NOON, clock=lambda: self.seconds))
        self.store = InMemoryKeys()
        self.chain = Keychain(self.store, Vault(given()), clock=lambda: NOON)
        self.time = VirtualTime()
        self.patchbay: Patchbay = loopback_patchbay(
            provider, FEATURES, time=self.time.time, observer=self.watch.observe
        )

    async def call(self, answer: Text | Status, *, feature: str = "f") -> str | None:
        """A request's only call; returns its error's code."""
        self.provider.always(answer)
        loan = await self.chain.lend(ANN, {})
        caller = Caller(user_id="ann").model_copy(update={"keys": loan.keys})
        try:
            await self.patchbay.get_llm(feature, caller=caller).ainvoke("hi")
        except LLMError as error:
            return error.code
        finally:
            await self.chain.take_back(loan)
        return None

    async def trouble(self, *, later: float = PAUSE) -> Trouble | None:
        """What is written by and by."""
        self.seconds += later
        await self.watch.write(self.store)
        return (await self.store.of(ANN, NOON))[0].trouble


@pytest.fixture
async def runtime(provider: LoopbackProvider) -> AsyncIterator[Runtime]:
    made = Runtime(provider)
    await made.chain.enrol(ANN, "openai", SecretStr(KEY), overlap=timedelta(0))
    yield made
    await made.patchbay.aclose()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Status(401, message=f"Incorrect API key provided: {KEY}."), "revoked"),
        (Status(403, message=KEY), "no_access"),
        (Status(404, message=KEY), "no_access"),
        (Status(402, message=KEY), "no_quota"),
        (Status(429, error_code="insufficient_quota", message=KEY), "no_quota"),
    ],
    ids=["401", "403", "404", "402", "429 quota"],
)
async def test_a_key_that_is_refused_has_its_reason_and_its_owner_is_told(
    answer: Status, reason: str, runtime: Runtime
) -> None:
    assert await runtime.call(answer) is not None

    assert await runtime.trouble() == (reason, MODEL, NOON, NOON)
    assert runtime.told.all == [("ann", (reason, MODEL, NOON, NOON))]


@pytest.mark.parametrize("answer", [Status(429), Status(503), Status(400), Text("ok")], ids=str)
async def test_what_is_not_the_keys_fault_is_not_told(answer: Text | Status, runtime: Runtime) -> None:
    await runtime.call(answer)

    assert await runtime.trouble() is None
    assert runtime.told.all == []


async def test_however_often_it_is_refused_its_owner_is_told_once(runtime: Runtime) -> None:
    for _ in range(5):
        await runtime.call(Status(401))
        assert await runtime.trouble() is not None

    assert len(runtime.told.all) == 1


class Counting(InMemoryKeys):
    writes = 0

    @override
    async def note_trouble(self, row: str, trouble: Trouble) -> bool:
        self.writes += 1
        return False


async def test_a_key_is_written_once_a_minute_at_most(runtime: Runtime) -> None:
    store = Counting()
    for _ in range(10):
        await runtime.call(Status(401))
        runtime.seconds += PAUSE / 5
        await runtime.watch.write(store)

    assert store.writes == 2


async def test_the_next_call_that_works_ends_it(runtime: Runtime) -> None:
    await runtime.call(Status(402))
    assert await runtime.trouble() is not None
    await runtime.time.asleep(3600)

    assert await runtime.call(Text("ok")) is None

    assert await runtime.trouble() is None


async def test_a_call_that_works_before_it_was_written_ends_it(runtime: Runtime) -> None:
    await runtime.call(Status(402))
    await runtime.time.asleep(3600)
    await runtime.call(Text("ok"))

    assert await runtime.trouble() is None
    assert runtime.told.all == []


async def test_another_model_that_may_be_used_does_not_end_that_one_may_not(runtime: Runtime) -> None:
    await runtime.call(Status(404))
    assert await runtime.trouble() is not None

    assert await runtime.call(Text("ok"), feature="g") is None

    assert await runtime.trouble() is not None


async def test_nothing_is_reported_of_house_keys_or_keys_outside_the_keychain(runtime: Runtime) -> None:
    runtime.provider.always(Status(401))
    for caller in (Caller(user_id="ann"), Caller(user_id="ann", keys={"openai": KEY})):
        with pytest.raises(LLMError):
            await runtime.patchbay.get_llm("f", caller=caller).ainvoke("hi")

    assert await runtime.trouble() is None


async def test_a_call_on_a_thread_is_seen(runtime: Runtime) -> None:
    runtime.provider.always(Status(401))
    loan = await runtime.chain.lend(ANN, {})
    caller = Caller(user_id="ann").model_copy(update={"keys": loan.keys})

    def call() -> None:
        with pytest.raises(LLMError):
            runtime.patchbay.get_llm("f", caller=caller).invoke("hi")

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

    assert await runtime.trouble() is not None


async def test_what_is_left_is_written_at_the_end(runtime: Runtime) -> None:
    async with runtime.watch.writing(runtime.store, Background()):
        await runtime.call(Status(401))

    assert len(runtime.told.all) == 1


class Broken(InMemoryKeys):
    @override
    async def note_trouble(self, row: str, trouble: Trouble) -> bool:
        raise OSError(row, trouble.reason)


async def test_a_store_that_fails_fails_nobody(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    await runtime.call(Status(401))

    await runtime.watch.write(Broken())

    assert "keys.trouble_not_noted" in caplog.text


async def test_it_remembers_only_so_many(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.keys.watch._REMEMBERED", 0)
    await runtime.call(Status(401))

    assert await runtime.trouble() is None


async def test_the_log_is_told_who_where_and_why_and_no_key(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    (version,) = await runtime.store.of(ANN, NOON)
    with caplog.at_level(logging.WARNING):
        await LogNotices().tell(version.place, Trouble("revoked", MODEL, NOON, NOON))

    assert caplog.messages == [f"keys.refused user=ann provider=openai reason=revoked endpoint={MODEL}"]
