"""Builds the health and traffic that a process shares through a state server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .health import SharedHealth
from .knowledge import SharedTraffic
from .names import Names
from .valkey import ValkeyStore

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ...clock import Time
    from .store import Event, Store


def health_at(url: SecretStr, secret: bytes, time: Time) -> SharedHealth:
    """Build the health and traffic that this process shares with all others at the state server ``url``.

    Args:
        url: The server's address.
        secret: The key of the hashes that replace names on the server; the same in every process.
        time: Clocks, sleep and random numbers.
    """

    def heard(event: Event, age: float) -> None:
        health.heard(event, age)

    store = ValkeyStore(url, heard)
    health = shared_health(store, Names(secret), time)
    store.start()  # it is there before the first call asks
    return health


def shared_health(store: Store, names: Names, time: Time) -> SharedHealth:
    """Build the health and traffic of a process that shares them through ``store``."""
    traffic = SharedTraffic(store, names, time.clock, time.now, time.random)
    return SharedHealth(time.clock, traffic, store)
