"""Runs of agents in processes that are killed at a chosen moment, and what is left of them for the next one."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessageChunk
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.agents.agent import Agent, Agents
from backend.agents.budget import RunBudget
from backend.agents.gate import ApprovalDecision, ConfirmationGate
from backend.agents.runner import AgentRunner
from backend.agents.runs import ENDED
from backend.agents.tools import Execution, tool
from backend.database import audit
from backend.database.confirmations import SqlConfirmationStore
from backend.database.engine import make_engine
from backend.database.postgres import make_postgres_engine
from backend.database.runs import SqlRunStore
from backend.database.transactions import get_transaction_runner
from backend.database.valkey_confirmations import ValkeyConfirmationStore
from backend.tests.fakes.agents import ANN, NOON, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from langchain_core.messages import BaseMessage

LATER = 120_000_000
"""Microseconds after which every lease is over, and nothing has expired."""
_SWEEPS = 20


class Place(NamedTuple):
    """Where a run lives.

    Attributes:
        database: The path of SQLite's file, or the URL of PostgreSQL.
        effects: A file to which each effect adds a line.
        valkey: The URL of a server that keeps confirmations in the database's stead.
    """

    database: str
    effects: Path
    valkey: str | None = None

    def lines(self) -> list[str]:
        return self.effects.read_text().split() if self.effects.exists() else []


At = Callable[[int], None]
"""Is told the number of each moment when it comes."""


class Moments:
    """Counts moments."""

    def __init__(self, at: At) -> None:
        self.count = 0
        self._at = at

    def pass_by(self) -> None:
        self._at(self.count)
        self.count += 1


def never(_: int) -> None:
    """Let every moment pass."""


def killed_at(last: int) -> At:
    """End the process at that moment."""

    def at(number: int) -> None:
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


class Images:
    """What a process that is killed leaves behind, at every moment, without killing it: its files, as the system has them.

    SQLite's log is copied last: what is written meanwhile is an end of it that is not whole, as after a kill.

    Args:
        place: Where the run lives: on SQLite.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.taken: list[Place] = []

    def take(self, number: int) -> None:
        """Copy everything."""
        database, effects = Path(self._place.database), self._place.effects
        copy = Place(f"{database}.{number}", effects.with_suffix(f".{number}"))
        for source, target in (
            (effects, copy.effects),
            (database, Path(copy.database)),
            (Path(f"{database}-wal"), Path(f"{copy.database}-wal")),
        ):
            if source.exists():
                shutil.copy(source, target)
        self.taken.append(copy)

    def discard(self) -> None:
        """Remove all of them."""
        for place in self.taken:
            for path in (place.effects, *(Path(place.database + end) for end in ("", "-wal", "-shm"))):
                path.unlink(missing_ok=True)


class Mortal:
    """A store before and after each of whose calls there is a moment."""

    def __init__(self, store: Any, moments: Moments) -> None:
        self._store = store
        self._moments = moments

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            self._moments.pass_by()
            found = await method(*arguments, **named)
            self._moments.pass_by()
            return found

        return call


class TurnModel:
    """A model whose answers follow from how often it has answered in the history: the same in every process."""

    def __init__(self, turns: Sequence[Sequence[tuple[str, Any]]]) -> None:
        self._turns = turns

    def bind_tools(self, _: object) -> TurnModel:
        return self

    async def astream(self, messages: Sequence[BaseMessage]) -> AsyncIterator[AIMessageChunk]:
        turn = sum(message.type == "ai" for message in messages)
        wanted = self._turns[turn] if turn < len(self._turns) else ()
        calls: list[Any] = [
            {"name": name, "args": text, "id": f"{turn}_{place}", "index": place, "type": "tool_call_chunk"}
            for place, (name, text) in enumerate(wanted)
        ]
        yield AIMessageChunk(content="" if wanted else "Done.", tool_call_chunks=calls)


def turns_of(seed: int) -> list[list[tuple[str, Any]]]:
    """What the model of ``seed`` wants, turn by turn."""
    chance, number = random.Random(seed), iter(range(99))  # noqa: S311 - no secret
    return [
        [
            (chance.choice(("look", "note", "delete")), f'{{"number": {next(number)}}}')
            for _ in range(chance.randint(1, 3))
        ]
        for _ in range(chance.randint(1, 3))
    ]


@asynccontextmanager
async def alive(seed: int, place: Place, moments: Moments, now: int) -> AsyncIterator[AgentRunner]:
    """An application on ``place``, at ``now``."""

    def effect(kind: str, number: int, execution: Execution) -> str:
        moments.pass_by()
        with place.effects.open("a") as file:
            file.write(f"{kind}-{number}-{execution.key}\n")
        moments.pass_by()
        return "ok"

    async def look(number: int) -> str:
        """Look."""
        return f"saw {number}"

    async def note(number: int, execution: Execution) -> str:
        """Write down."""
        return effect("note", number, execution)

    async def delete(number: int, execution: Execution) -> str:
        """Delete."""
        return effect("delete", number, execution)

    tools = (
        tool(look, risk="read", policy="allow"),
        tool(note, policy="allow"),
        tool(delete, risk="dangerous"),
    )
    agents = Agents([Agent("clerk", "chat_agent", "You help.", tools, budget=RunBudget(turns=9))])
    is_url = place.database.startswith("postgresql")
    engine = make_postgres_engine(place.database) if is_url else make_engine(Path(place.database))
    client = Redis.from_url(place.valkey) if place.valkey else None
    try:
        transacting = get_transaction_runner(engine)
        store: Any = SqlConfirmationStore(transacting)
        if client is not None:
            store = ValkeyConfirmationStore(
                client, partial(audit.commit_audit_event, async_sessionmaker(engine))
            )
        gate = ConfirmationGate(Mortal(store, moments), agents, now=lambda: now)
        model: Any = TurnModel(turns_of(seed))
        runs: Any = Mortal(SqlRunStore(transacting), moments)
        yield AgentRunner(agents, lambda _: model, runs, gate, now=lambda: now)
    finally:
        if client is not None:
            await client.aclose()
        await engine.dispose()


async def _answer_all(runner: AgentRunner) -> None:
    """Approve what is pending, until nothing is."""
    while pending := [
        confirmation
        for confirmation in await runner.gate.list_pending_confirmations(ANN)
        if confirmation.state == "pending"
    ]:
        await whole(runner.approve(ApprovalDecision(ANN, pending[0].id, pending[0].digest)))


def live(seed: int, place: Place, at: At = never, now: int = NOON) -> int:
    """Begin a run and answer all that it asks, in this process; how many moments there were."""

    async def run() -> int:
        moments = Moments(at)
        async with alive(seed, place, moments, now) as runner:
            await whole(runner.start_run(ANN, "clerk", "Go.", "c"))
            await _answer_all(runner)
        return moments.count

    return asyncio.run(run())


class Left(NamedTuple):
    """What the next process finds and does.

    Attributes:
        parked: Calls of which nobody knows whether they were made: those are shown to a person.
        states: The run's state in the end, if there is one.
        twice: Effects that were had twice.
        lost: Calls that were said to be done and were not, or were done and are said not to be.
    """

    parked: int
    states: list[str]
    twice: int
    lost: int


def live_on(seed: int, place: Place, now: int = NOON + LATER) -> Left:
    """Go on where a process was killed: sweep, show what is parked, have it left alone, and bring all to its end."""

    async def run() -> Left:
        async with alive(seed, place, Moments(never), now) as runner:
            await runner.end_expired_runs()
            parked = [
                one for one in await runner.gate.list_pending_confirmations(ANN) if one.state == "unknown"
            ]
            for confirmation in parked:
                await whole(runner.reject(ANN, confirmation.id, "Leave it."))
            for _ in range(_SWEEPS):
                await _answer_all(runner)
                for kept in await runner.list_recent_runs(ANN):
                    if kept.state not in ENDED and await runner.current_state(kept) == "interrupted":
                        await whole(runner.resume_run(ANN, kept.id))
            return await _left(runner, len(parked))

    async def _left(runner: AgentRunner, parked: int) -> Left:
        runs = await runner.list_recent_runs(ANN)
        kept = [
            confirmation
            for each in runs
            for confirmation in (await runner.gate.latest_confirmation_by_call(each.id)).values()
        ]
        lines = place.lines()
        done = {line.rsplit("-", 1)[1] for line in lines}
        lost = [
            confirmation
            for confirmation in kept
            if confirmation.state == "done" and confirmation.id not in done
        ]
        lost += [
            confirmation for confirmation in kept if confirmation.state in ("pending", "executing", "unknown")
        ]
        return Left(parked, [each.state for each in runs], len(lines) - len(set(lines)), len(lost))

    return asyncio.run(run())
