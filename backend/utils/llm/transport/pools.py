"""Connections: one pool for all threads, one for each event loop, one TLS context for the process.

A pool that outlives its loop fails the next loop's first request, so an asynchronous pool belongs to the loop it was
made in and ends with it: an asynchronous generator that the loop knows is closed by `asyncio.run` before the loop is.
"""

from __future__ import annotations

import asyncio
import threading
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import httpcore2
import httpx2

from .clocks import BoundedBackend

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

KEEPALIVE_SECONDS = 60.0
"""How long an idle connection is kept. The SDKs' 5 s costs a TLS handshake for nearly every call of a quiet backend."""
LIMITS = httpx2.Limits(
    max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_SECONDS
)


class _BoundedTransport(httpx2.HTTPTransport):
    """Its sockets keep to the time of each attempt. The class has no parameter for that; its pool has."""

    def __init__(self) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_tls(),
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=BoundedBackend(httpcore2.SyncBackend()),
        )


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


class Pools:
    """The connections of one transport."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: httpx2.HTTPTransport | None = None
        self._loops: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[httpx2.AsyncHTTPTransport, AsyncGenerator[None, None]]
        ] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._loops) + (self._threads is not None)

    def for_threads(self) -> httpx2.HTTPTransport:
        """The pool of synchronous calls."""
        with self._lock:
            if self._threads is None:
                self._threads = _BoundedTransport()
            return self._threads

    async def for_this_loop(self) -> httpx2.AsyncHTTPTransport:
        """The pool of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._loops.get(loop)
        if held is None:
            pool = httpx2.AsyncHTTPTransport(verify=_tls(), limits=LIMITS, trust_env=False)
            lifetime = _close_with_loop(pool)
            held = pool, lifetime
            with self._lock:
                for ended in [other for other in self._loops if other.is_closed()]:
                    del self._loops[ended]
                self._loops[loop] = held
            await anext(lifetime)
        return held[0]

    def close(self) -> None:
        """Close the pool of synchronous calls."""
        with self._lock:
            pool, self._threads = self._threads, None
        if pool is not None:
            pool.close()

    async def aclose(self) -> None:
        """Close the running loop's pool, and the pool of synchronous calls."""
        with self._lock:
            held = self._loops.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()
        self.close()


async def _close_with_loop(pool: httpx2.AsyncHTTPTransport) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await pool.aclose()
