"""Looks up the host of an endpoint that a user named, and lets nothing through that is not where it may be.

What comes back is what is connected to: nobody looks a second time, so there is no second answer. All
addresses have to be permitted, not the one that is tried first.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpcore2
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from ..forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Future

    from ..network_policy import NetworkPolicy

RESOLVE_SECONDS = 5.0
"""How long the look-up of a host's name may take."""
_TOO_LONG = "The look-up of the host's name took too long."
MOST_AT_ONCE = 16


class ForbiddenAddressError(Exception):
    """A host is where it may not be. Nothing of it is in the text: it would show who is where in the house."""


def addresses(policy: NetworkPolicy | None, host: str, port: int) -> list[str]:
    """All addresses of ``host``, looked up from a thread; those of the house's providers for as long as that takes.

    Raises:
        ForbiddenAddressError: ``policy`` does not permit all of them.
        httpcore2.ConnectError: It has none, or the look-up took too long.
    """
    try:
        if policy is None:
            return _looked_up(host, port)
        return _permitted(policy, _begun(host, port).result(RESOLVE_SECONDS))
    except OSError as error:  # a TimeoutError is one
        raise httpcore2.ConnectError(error.strerror or _TOO_LONG) from error


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            yield
    except TimeoutError:
        raise OSError(_TOO_LONG) from None


class HouseResolver(ThreadedResolver):
    """aiohttp's for the house's providers, which gives up in time."""

    @override
    async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
        async with _in_time():
            return await super().resolve(*args, **kwargs)


class Resolver(AbstractResolver):
    """aiohttp's for endpoints that users name."""

    def __init__(self, policy: NetworkPolicy) -> None:
        self._policy = policy

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        async with _in_time():
            found = await asyncio.wrap_future(_begun(host, port))
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in _permitted(self._policy, found)
        ]

    @override
    async def close(self) -> None:
        """Nothing to close."""


class _Threads(PerProcess):
    """Of their own: a user's name server that keeps silent holds up nobody but other users with endpoints of their own."""

    @override
    def _begin(self) -> None:
        self.executor = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="patchbay-look-up")


_threads = _Threads()


def _begun(host: str, port: int) -> Future[list[str]]:
    return _threads.executor.submit(_looked_up, host, port)


def _looked_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _permitted(policy: NetworkPolicy, found: list[str]) -> list[str]:
    if not found or not all(policy.permits(ip_address(address)) for address in found):
        raise ForbiddenAddressError
    return found
