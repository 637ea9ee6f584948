"""A real database, a provider on loopback, and a process that is killed: what is acknowledged is there, what is paid is paid once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import DataOwner
from backend.conversations.creation import STORING, ConversationCreator, CreatedConversation, CreationRequest
from backend.conversations.errors import StorageUnavailableError
from backend.conversations.sample import SAMPLE
from backend.database.conversations import SqlConversationStore
from backend.database.engine import make_sync_sqlite_engine, open_and_migrate_sqlite
from backend.database.journals import FileJournal, FileJournalStore
from backend.tests.fakes.children import forking
from backend.tests.fakes.models import ScriptedModels
from backend.tests.integration.test_http import ANSWERS, MODELS, STEPS, Started
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import httpx2
    from langchain_core.language_models import BaseChatModel
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.utils.llm.testing import LoopbackProvider

T = TypeVar("T")
SHORT = SAMPLE.model_copy(update={"segments": SAMPLE.segments[1:2]})
"""Of which every feature is asked."""
BODY: dict[str, Any] = SHORT.model_dump(mode="json")
LONG = SAMPLE.model_copy(update={"segments": SAMPLE.segments * 100})
"""That no page has room for."""
AT_ONCE = 2
"""Steps that are under way at a time."""
KEYED = {"idempotency-key": "a-key-of-anns"}


class Step(NamedTuple):
    """A moment in the making of a conversation: before or after a function is called for the so manyth time."""

    owner: type
    function: str
    call: int
    is_over: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_over else 'before'} {self.owner.__name__}.{self.function} {self.call}"


WRITES = [
    ("reserve_space", 1),
    ("write_answer", 1),
    ("write_answer", 2),
    ("write_answer", 3),
    ("write_answer", 4),
    ("write_conversation", 1),
    ("remove", 1),
    ("close", 1),
]
KILLED_AT = [
    *(Step(FileJournal, function, call, over) for function, call in WRITES for over in (False, True)),
    *(Step(SqlConversationStore, "add", 1, over) for over in (False, True)),
]


def killed(step: Step) -> None:
    """Let this process be killed at ``step``."""
    function: Callable[..., Any] = getattr(step.owner, step.function)
    calls = 0

    @wraps(function)
    async def watched(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        is_the_one = calls == step.call
        if is_the_one and not step.is_over:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await function(*given, **named)
        if is_the_one:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(step.owner, step.function, watched)
    if step.function == "write_conversation":  # which nobody needs while the database is prompt
        setattr(SqlConversationStore, SqlConversationStore.add.__name__, unavailable)


async def unavailable(*_: Any) -> None:
    raise StorageUnavailableError


@pytest.fixture
def patchbay_of(provider: LoopbackProvider) -> Callable[[], Any]:
    for feature, answer in ANSWERS.items():
        provider.always(answer, model=MODELS[feature])
    endpoints = {feature: f"openai:{model}" for feature, model in MODELS.items()}
    return lambda: loopback_patchbay(provider, endpoints)


async def post(started: Started, headers: dict[str, str] = KEYED) -> httpx2.Response:
    async with started.client() as client:
        return await client.post("/v1/conversations", json=BODY, headers=headers)


async def kept(started: Started) -> list[str]:
    async with started.client() as client:
        return [one["id"] for one in (await client.get("/v1/conversations")).json()["items"]]


def answers_in(folder: Path) -> set[str]:
    """The features whose answers are kept."""
    lines = (line for journal in folder.iterdir() for line in journal.read_bytes().split(b"\n"))
    return {line.partition(b" ")[0].decode() for line in lines} & {*STEPS}


def paid(provider: LoopbackProvider) -> Counter[str]:
    """How often each feature was asked."""
    features = {model: feature for feature, model in MODELS.items()}
    return Counter(features[request.model] for request in provider.requests)


@pytest.mark.parametrize("step", KILLED_AT, ids=str)
async def test_a_process_that_is_killed_loses_nothing_and_pays_for_nothing_twice(
    step: Step, tmp_path: Path, provider: LoopbackProvider, patchbay_of: Callable[[], Any]
) -> None:
    first = Started(tmp_path, patchbay_of())
    assert await kept(first) == []

    def work() -> None:
        killed(step)
        again = Started(tmp_path, patchbay_of())
        again.told = first.told
        asyncio.run(post(again))

    with forking():
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    answered = answers_in(tmp_path / "unstored")
    restarted = Started(tmp_path, patchbay_of())
    restarted.told = first.told

    created = await post(restarted)

    assert created.status_code == 201
    assert (created.json()["status"], created.json()["title"]) == ("completed", "Going live")
    assert await kept(restarted) == [created.json()["id"]]
    assert list((tmp_path / "unstored").iterdir()) == []
    again = {feature for feature, times in paid(provider).items() if times > 1}
    assert not again & answered, "what was kept is not asked for again"
    assert step.function == "write_answer" or not again, "nor is anything, but what was under way"
    assert len(again) <= AT_ONCE


class Writing(NamedTuple):
    """`TransactionRunner` of an engine that a test can spoil."""

    engine: Engine

    async def run(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    async def run_read_only(self, work: Callable[[Connection], T]) -> T:
        return await self.run(work)


class Trouble:
    """A database that cannot be written while there is ``trouble``, and a creation of conversations on it."""

    def __init__(self, trouble: str, path: Path, engine: AsyncEngine, writing: Engine) -> None:
        self.trouble = trouble
        self.path = path
        self.has_come = False
        self.time = VirtualTime()
        self.mended_after = 10**6
        event.listen(writing, "checkout", self._prepare)
        self.scripted = ScriptedModels()
        self.creation = ConversationCreator(
            SqlConversationStore(async_sessionmaker(engine), Writing(writing)),
            FileJournalStore(path.parent / "unstored"),
            replace(self.time.time, asleep=self._asleep),
        )

    async def create(self) -> CreatedConversation:
        return await self.creation.create(
            CreationRequest(LONG, DataOwner("ann"), self._models, lambda _: False, "a-key-of-anns")
        )

    @property
    def asked(self) -> list[int]:
        return [len(self.scripted.models[step].calls) for step in sorted(self.scripted.asked)]

    def _models(self, feature: str) -> BaseChatModel:
        """The trouble comes after the first answers."""
        if feature == "conv_folder":
            self.come()
        return self.scripted(feature)

    async def _asleep(self, seconds: float) -> None:
        await self.time.asleep(seconds)
        if len(self.time.slept) == self.mended_after:
            self.mend()

    def _prepare(self, connection: Any, *_: object) -> None:
        is_on = self.has_come
        for pragma in (
            "busy_timeout = 0",
            f"max_page_count = {1 if is_on and self.trouble == 'full' else 10**6}",
            f"query_only = {int(is_on and self.trouble == 'read-only')}",
        ):
            connection.cursor().execute(f"PRAGMA {pragma}")

    def come(self) -> None:
        self.has_come = True
        away = self.path.with_name("away")
        if self.trouble in {"gone", "replaced"}:
            self.path.rename(away)
        if self.trouble == "replaced":
            self.path.write_bytes(b"")
        if self.trouble == "locked":
            self.lock = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self.lock.execute("BEGIN IMMEDIATE")

    def mend(self) -> None:
        self.has_come = False
        if self.trouble in {"gone", "replaced"}:
            self.path.with_name("away").rename(self.path)
        if self.trouble == "locked":
            self.lock.close()


@pytest.fixture(params=["locked", "full", "read-only", "gone", "replaced"])
async def trouble(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trouble]:
    path = tmp_path / "patchbay.sqlite3"
    async with open_and_migrate_sqlite(path) as engine:
        writing = make_sync_sqlite_engine(path)
        yield Trouble(request.param, path, engine, writing)
        writing.dispose()


async def test_an_unavailable_database_costs_a_delay(trouble: Trouble) -> None:
    trouble.mended_after = 3

    created = await trouble.create()

    assert created.is_stored
    assert 0 < sum(trouble.time.slept) < STORING
    assert trouble.asked == [1, 1, 1]


async def test_a_database_that_stays_unavailable_costs_nothing_twice(trouble: Trouble) -> None:
    first, second = await trouble.create(), await trouble.create()
    assert (first.is_stored, second.is_stored) == (False, False)
    assert second.conversation == first.conversation

    trouble.mend()
    await trouble.creation.recover_abandoned_journals()

    third = await trouble.create()
    assert third.is_stored
    assert third.conversation == first.conversation
    assert trouble.asked == [1, 1, 1]


async def test_two_servers_that_are_asked_at_once_with_one_key_make_one_conversation(
    tmp_path: Path, provider: LoopbackProvider, patchbay_of: Callable[[], Any]
) -> None:
    here, there = (Started(tmp_path, patchbay_of()) for _ in range(2))
    async with here.client() as one:
        there.told = here.told
        async with there.client() as other:
            answers = await asyncio.gather(
                *(client.post("/v1/conversations", json=BODY, headers=KEYED) for client in (one, other) * 3)
            )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert paid(provider) == Counter(STEPS)
