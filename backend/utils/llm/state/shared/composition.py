"""Builds the health and traffic that a process shares through a state server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .health import SharedHealthTracker
from .knowledge import SharedTrafficState
from .names import HashedNames
from .valkey import ValkeyStore

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ...clock import Time
    from .store import SharedEvent, StateStore


def connect_shared_health_tracker(url: SecretStr, secret: bytes, time: Time) -> SharedHealthTracker:
    """Make and start the health tracker that processes share through the state server at ``url``.

    Args:
        url: The server's address.
        secret: The key of the hashes that replace names on the server; the same in every process.
        time: Clocks, sleep and random numbers.
    """

    def apply_event(event: SharedEvent, age: float) -> None:
        health.apply_remote_event(event, age)

    store = ValkeyStore(url, apply_event)
    health = make_shared_health_tracker(store, HashedNames(secret), time)
    store.start()  # it is there before the first call asks
    return health


def make_shared_health_tracker(store: StateStore, names: HashedNames, time: Time) -> SharedHealthTracker:
    """Make a health tracker that shares its health and traffic state with other processes through ``store``."""
    traffic = SharedTrafficState(store, names, time.clock, time.now, time.random)
    return SharedHealthTracker(time.clock, traffic, store)
