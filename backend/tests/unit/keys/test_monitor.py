"""Owners of keys that are refused hear of it, and no call is the worse for it."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from typing_extensions import override

from backend.access import DataOwner
from backend.background import BackgroundTaskRunner
from backend.keys.keychain import Keychain
from backend.keys.monitor import PAUSE, KeyMonitor, LogNotifier
from backend.keys.problem import KeyProblem
from backend.keys.vault import KeyVault
from backend.tests.fakes.keys import InMemoryKeys, given
from backend.utils.llm import Caller
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backend.keys.vault import KeyIdentity
    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY, MODEL = "sk-canary-of-ann-012345679876", "openai:gpt-6-luna"
ANN = DataOwner("ann")
FEATURES = {"f": MODEL, "g": "openai:gpt-5.1"}


class Told:
    """`Notifier` that are remembered."""

    def __init__(self) -> None:
        self.all: list[tuple[str, KeyProblem]] = []

    async def notify(self, place: KeyIdentity, problem: KeyProblem) -> None:
        self.all.append((place.user_id, problem))


class Runtime:
    """A monitor of a facade whose users have stored a key."""

    def __init__(self, provider: LoopbackProvider) -> None:
        self.provider = provider
        self.seconds = 0.0
        self.told = Told()
        self.monitor = KeyMonitor(self.told, Time(now=lambda: NOON, clock=lambda: self.seconds))
        self.store = InMemoryKeys()
        self.chain = Keychain(self.store, KeyVault(given()), clock=lambda: NOON)
        self.time = VirtualTime()
        self.patchbay: Patchbay = loopback_patchbay(
            provider, FEATURES, time=self.time.time, observer=self.monitor.observe
        )

    async def call(self, answer: Text | Status, *, feature: str = "f") -> str | None:
        """A request's only call; returns its error's code."""
        self.provider.always(answer)
        request_keys = await self.chain.collect_request_keys(ANN, {})
        caller = Caller(user_id="ann").model_copy(update={"keys": request_keys.keys})
        try:
            await self.patchbay.get_llm(feature, caller=caller).ainvoke("hi")
        except LLMError as error:
            return error.code
        finally:
            await self.chain.release_request_keys(request_keys)
        return None

    async def problem(self, *, later: float = PAUSE) -> KeyProblem | None:
        """What is written by and by."""
        self.seconds += later
        await self.monitor.write_pending_observations(self.store)
        return (await self.store.list_versions(ANN, NOON))[0].problem


@pytest.fixture
async def runtime(provider: LoopbackProvider) -> AsyncIterator[Runtime]:
    made = Runtime(provider)
    await made.chain.enrol_key(ANN, "openai", SecretStr(KEY), overlap=timedelta(0))
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
async def test_a_refused_key_has_its_problem_and_its_owner_is_notified(
    answer: Status, reason: str, runtime: Runtime
) -> None:
    assert await runtime.call(answer) is not None

    assert await runtime.problem() == (reason, MODEL, NOON, NOON)
    assert runtime.told.all == [("ann", (reason, MODEL, NOON, NOON))]


@pytest.mark.parametrize("answer", [Status(429), Status(503), Status(400), Text("ok")], ids=str)
async def test_a_failure_that_is_not_the_keys_is_not_recorded(
    answer: Text | Status, runtime: Runtime
) -> None:
    await runtime.call(answer)

    assert await runtime.problem() is None
    assert runtime.told.all == []


async def test_the_owner_is_notified_once_however_often_the_key_is_refused(runtime: Runtime) -> None:
    for _ in range(5):
        await runtime.call(Status(401))
        assert await runtime.problem() is not None

    assert len(runtime.told.all) == 1


class Counting(InMemoryKeys):
    writes = 0

    @override
    async def record_problem(self, row: str, problem: KeyProblem) -> bool:
        self.writes += 1
        return False


async def test_a_key_is_written_once_a_minute_at_most(runtime: Runtime) -> None:
    store = Counting()
    for _ in range(10):
        await runtime.call(Status(401))
        runtime.seconds += PAUSE / 5
        await runtime.monitor.write_pending_observations(store)

    assert store.writes == 2


async def test_the_next_call_that_works_ends_it(runtime: Runtime) -> None:
    await runtime.call(Status(402))
    assert await runtime.problem() is not None
    await runtime.time.asleep(3600)

    assert await runtime.call(Text("ok")) is None

    assert await runtime.problem() is None


async def test_a_call_that_works_before_it_was_written_ends_it(runtime: Runtime) -> None:
    await runtime.call(Status(402))
    await runtime.time.asleep(3600)
    await runtime.call(Text("ok"))

    assert await runtime.problem() is None
    assert runtime.told.all == []


async def test_another_model_that_may_be_used_does_not_end_that_one_may_not(runtime: Runtime) -> None:
    await runtime.call(Status(404))
    assert await runtime.problem() is not None

    assert await runtime.call(Text("ok"), feature="g") is None

    assert await runtime.problem() is not None


async def test_nothing_is_reported_of_house_keys_or_keys_outside_the_keychain(runtime: Runtime) -> None:
    runtime.provider.always(Status(401))
    for caller in (Caller(user_id="ann"), Caller(user_id="ann", keys={"openai": KEY})):
        with pytest.raises(LLMError):
            await runtime.patchbay.get_llm("f", caller=caller).ainvoke("hi")

    assert await runtime.problem() is None


async def test_a_call_on_a_thread_is_seen(runtime: Runtime) -> None:
    runtime.provider.always(Status(401))
    request_keys = await runtime.chain.collect_request_keys(ANN, {})
    caller = Caller(user_id="ann").model_copy(update={"keys": request_keys.keys})

    def call() -> None:
        with pytest.raises(LLMError):
            runtime.patchbay.get_llm("f", caller=caller).invoke("hi")

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

    assert await runtime.problem() is not None


async def test_what_is_left_is_written_at_the_end(runtime: Runtime) -> None:
    async with runtime.monitor.write_periodically(runtime.store, BackgroundTaskRunner()):
        await runtime.call(Status(401))

    assert len(runtime.told.all) == 1


class Broken(InMemoryKeys):
    @override
    async def record_problem(self, row: str, problem: KeyProblem) -> bool:
        raise OSError(row, problem.reason)


async def test_a_failing_store_fails_no_call(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    await runtime.call(Status(401))

    await runtime.monitor.write_pending_observations(Broken())

    assert "keys.problem_not_recorded" in caplog.text


async def test_it_remembers_only_so_many(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.keys.monitor._REMEMBERED", 0)
    await runtime.call(Status(401))

    assert await runtime.problem() is None


async def test_the_log_names_owner_endpoint_and_reason_and_no_key(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    (version,) = await runtime.store.list_versions(ANN, NOON)
    with caplog.at_level(logging.WARNING):
        await LogNotifier().notify(version.place, KeyProblem("revoked", MODEL, NOON, NOON))

    assert caplog.messages == [f"keys.refused user=ann provider=openai reason=revoked endpoint={MODEL}"]
