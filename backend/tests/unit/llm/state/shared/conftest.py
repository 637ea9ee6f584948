"""Stores in memory and on a real server, in a time that stands still until it is set."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import pytest
from pydantic import SecretStr

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.shared_memory import MemoryStore, SharedMemory
from backend.utils.llm.state.shared.valkey import ValkeyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.tests.fakes.valkey import Valkey
    from backend.utils.llm.state.shared.store import EventHandler, StateStore

NOON = 1_700_000_000.0
_SECONDS = 20.0
_PAGE: Final = Path(__file__).parents[6] / "docs" / "how-to" / "many-processes.md"


class Join(Protocol):
    """Makes the store of one more process."""

    def __call__(self, heard: EventHandler = ...) -> StateStore: ...


def nothing(*_: object) -> None:
    """Hear nothing."""


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within many times as long as it takes. Only for what a real server does."""
    ends_at = time.monotonic() + _SECONDS
    while not holds():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.002)  # noqa: TID251 - another process is at work
    return True


def documented_url(server: Valkey) -> str:
    """The address for a user who may do what the documentation says, and no more."""
    (commands,) = re.findall(r"The commands: (.*?), on keys", _PAGE.read_text(), re.DOTALL)
    allowed = [f"+{'|'.join(name.lower().split())}" for name in re.findall("`(.*?)`", commands)]
    with server.client as client:
        client.execute_command("ACL", "SETUSER", "fleet", "reset", "on", ">secret", "allkeys", *allowed)
    return server.url.replace("unix://", "unix://fleet:secret@")


@pytest.fixture
def clock() -> Clock:
    """Seconds since the epoch, for counters."""
    return Clock(NOON)


@pytest.fixture(params=["memory", "valkey"])
def join(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Join]:
    """Joins one process after the other to the same store: in memory, and on a server."""
    joined: list[StateStore] = []
    memory = SharedMemory(clock)
    server: Valkey | None = request.getfixturevalue("valkey") if request.param == "valkey" else None

    def one_more(heard: EventHandler = nothing) -> StateStore:
        if server is None:
            store: StateStore = MemoryStore(memory, heard)
        else:
            store = ValkeyStore(SecretStr(documented_url(server)), heard, now=lambda: round(1000 * clock.now))
        joined.append(store)
        return store

    yield one_more
    for store in joined:
        store.close()
