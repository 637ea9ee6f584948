"""Looks up hosts in threads, and rejects users' own endpoints with forbidden addresses.

Connections are made to the checked addresses, without a second lookup, which could return others. All
addresses of a host must be permitted, not only the one that is tried first.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpcore2
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from ..forks import ForkSafe
from .patience import UnblockedLoopTimeout

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..network_policy import NetworkPolicy

RESOLVE_SECONDS = 5.0
"""The most seconds for the lookup of a host's name."""
_TOO_LONG = "The look-up of the host's name took too long."
MOST_AT_ONCE = 16


class ForbiddenAddressError(Exception):
    """A host of a user's own endpoint has an address that is not permitted.

    The error's text omits the address, so as not to reveal anything about the internal network.
    """


def resolve_host(policy: NetworkPolicy | None, host: str, port: int, seconds: float) -> list[str]:
    """Look up ``host`` in at most ``seconds``, and return its addresses if ``policy`` permits all of them.

    ``policy`` is None for the operator's providers, for which all addresses are permitted.

    Raises:
        ForbiddenAddressError: ``policy`` forbids one of the addresses, or there is none.
        httpcore2.ConnectError: ``host`` has no address, or the lookup took longer than `RESOLVE_SECONDS`.
        httpcore2.ConnectTimeout: The lookup took longer than ``seconds``.
    """
    if _is_address(host):
        return _permitted(policy, [host])
    lookup = _begun(policy, host, port)
    try:
        return _permitted(policy, lookup.result(min(RESOLVE_SECONDS, seconds)))
    except TimeoutError:
        lookup.cancel()
        late = httpcore2.ConnectTimeout if seconds < RESOLVE_SECONDS else httpcore2.ConnectError
        raise late(_TOO_LONG) from None
    except OSError as error:
        raise httpcore2.ConnectError(error.strerror) from error


@dataclass(eq=False)
class AddressResolver(AbstractResolver):
    """The DNS resolver of one aiohttp pool. It rejects addresses that ``policy`` forbids."""

    policy: NetworkPolicy | None

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            async with UnblockedLoopTimeout(RESOLVE_SECONDS):
                found = await asyncio.wrap_future(_begun(self.policy, host, port))
        except TimeoutError:
            raise OSError(_TOO_LONG) from None
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in _permitted(self.policy, found)
        ]

    @override
    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class _Threads(ForkSafe):
    """The threads that look up names. A silent name server of one user delays only other users' own endpoints."""

    @override
    def _begin(self) -> None:
        self.house = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="patchbay-look-up")
        self.users = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="patchbay-users-look-up")


_threads = _Threads()


def _begun(policy: NetworkPolicy | None, host: str, port: int) -> Future[list[str]]:
    return (_threads.house if policy is None else _threads.users).submit(_looked_up, host, port)


def _looked_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _permitted(policy: NetworkPolicy | None, found: list[str]) -> list[str]:
    if policy is not None and not (found and all(policy.permits(ip_address(address)) for address in found)):
        raise ForbiddenAddressError
    return found
