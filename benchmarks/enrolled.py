"""What ten thousand users with stored keys cost a server, beyond one user's ten thousand requests.

    PYTHONPATH=. .venv/bin/python -m benchmarks.enrolled [--users 10000]

Each user has a token, a key that is sealed in the database, and a conversation. One of them asks 10,000 questions about
it, 8 at once, over the application's own edge in this process; then each of them asks one. So every request finds its
user by their token, reads their key from SQLite and opens it. The provider runs in another process and checks every key.
Compared are memory, once garbage is collected and free memory given back, sockets to the provider, and clients.

Prints a table in Markdown, in a quarter of an hour. Exit code 1 if it costs 5 MB or more, a socket more than are in flight,
a client, or a wrong key.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, cast

import httpx2
from pydantic import SecretStr

from backend.access import DataOwner
from backend.conversations.sample import SAMPLE
from backend.conversations.store import Conversation
from backend.main import create_app
from backend.settings import Settings
from backend.utils.llm import Table
from backend.watchers import Watchers

from .callers import Cost, cost, faults_of, in_a_fresh_process, print_header, print_row, read, tell
from .witness import Witness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from fastapi import FastAPI

    from backend.database.tokens import TokenStore
    from backend.routers.dependencies import Services

AT_ONCE = 8
"""Each request of somebody new writes to SQLite, where one writes at a time."""


class Guest(NamedTuple):
    """One who asks."""

    name: str
    token: str


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=10_000)
    users = parser.parse_args().users
    one, many = in_a_fresh_process(f"from benchmarks.enrolled import told; told({users})")
    print_header()
    print_row(f"one user with a stored key, {users} requests", one)
    print_row(f"{users} users with stored keys, beyond that", many)
    faults = faults_of(many)
    print(f"\nMissed: {'; '.join(faults)}." if faults else "\nKept.")
    return 1 if faults else 0


def told(users: int) -> None:
    """Serve them all in this process, and print as JSON what that costs."""
    with TemporaryDirectory() as folder, Witness() as witness:
        tell(*asyncio.run(_measured(Path(folder), witness, users)))


async def _measured(folder: Path, witness: Witness, users: int) -> tuple[Cost, Cost]:
    """One user's requests, warmed up by a tenth of them; then as many users."""
    settings = Settings(_env_file=None, data_dir=folder)
    watchers = Watchers.of(settings)
    patchbay = watchers.facade(_table(witness.origin))
    app = create_app(settings, patchbay=patchbay, announce=lambda _: None, watchers=watchers)
    with watchers.spool:
        async with app.router.lifespan_context(app), _client(app) as client:
            guests = await _enrolled(app.state.services, users)
            await _ask(client, users // 10, lambda _: guests[0])
            readings = [read(patchbay, witness)]
            for who in (lambda _: guests[0], lambda number: guests[number]):
                await _ask(client, users, who)
                readings.append(read(patchbay, witness))
        await patchbay.aclose()
    first, second, third = readings
    return cost(first, second), cost(second, third)


def _table(origin: str) -> Table:
    """One endpoint, that no key of the house is for."""
    text = f"""
[providers.alpha]
api = "openai"
base_url = "{origin}/alpha/v1"
api_key_env = "ALPHA"
[profiles.premium]
chat_responses = "alpha:a1"
[profiles.byok]
extends = "premium"
"""
    return Table(text=text, environ={})


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def _enrolled(services: Services, users: int) -> Sequence[Guest]:
    return [await _enrol(services, f"u{number}") for number in range(users)]


async def _enrol(services: Services, name: str) -> Guest:
    key = SecretStr(f"alpha-{name}")
    await services.keychain.enrol_key(DataOwner(name), "alpha", key, overlap=timedelta(0))
    await services.conversations.add(
        Conversation(
            id=name,
            user_id=name,
            created_at=datetime.now(UTC),
            started_at=SAMPLE.started_at,
            status="completed",
            transcript=SAMPLE,
        )
    )
    tokens = cast("TokenStore", services.tokens)
    return Guest(name, await tokens.create(name, "benchmark"))


async def _ask(client: httpx2.AsyncClient, requests: int, who: Callable[[int], Guest]) -> None:
    numbers = iter(range(requests))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(_work(client, numbers, who))


async def _work(client: httpx2.AsyncClient, numbers: Iterator[int], who: Callable[[int], Guest]) -> None:
    for number in numbers:
        guest = who(number)
        question = {"conversation_id": guest.name, "question": f"plain #{number} for {guest.name}"}
        headers = {"authorization": f"Bearer {guest.token}"}
        answer = await client.post("/v1/chat", json=question, headers=headers)
        if "event: done" not in answer.text:
            raise RuntimeError(f"{guest.name} was answered {answer.status_code} {answer.text}")


if __name__ == "__main__":
    sys.exit(main())
