"""Stores in memory and on a real server, in a time that stands still until it is set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import pytest
from pydantic import SecretStr

from backend.tests.fakes.clock import Clock
from backend.utils.llm.state.shared.memory import MemoryStore, SharedMemory
from backend.utils.llm.state.shared.valkey import ValkeyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.tests.fakes.valkey import Valkey
    from backend.utils.llm.state.shared.store import Heard, Store

NOON = 1_700_000_000.0
_SECONDS = 20.0


class Join(Protocol):
    """Makes the store of one more process."""

    def __call__(self, heard: Heard = ...) -> Store: ...


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


@pytest.fixture
def clock() -> Clock:
    """Seconds since the epoch, for counters."""
    return Clock(NOON)


@pytest.fixture(params=["memory", "valkey"])
def join(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Join]:
    """Joins one process after the other to the same store: in memory, and on a server."""
    joined: list[Store] = []
    memory = SharedMemory(clock)
    server: Valkey | None = request.getfixturevalue("valkey") if request.param == "valkey" else None

    def one_more(heard: Heard = nothing) -> Store:
        if server is None:
            store: Store = MemoryStore(memory, heard)
        else:
            store = ValkeyStore(SecretStr(server.url), heard, now=lambda: round(1000 * clock.now))
        joined.append(store)
        return store

    yield one_more
    for store in joined:
        store.close()
