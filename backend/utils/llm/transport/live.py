"""The addresses of providers that are known only while these run: embedded ones, and in tests any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ..errors import ProviderDownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ticket import Ticket

START_SECONDS = 60.0
"""The most seconds that a request waits for an embedded provider to start."""


class Address(Protocol):
    """The address of a provider that runs beside this process, and the secret that it requires."""

    @property
    def base_url(self) -> str:
        """The provider's address, as a client's base URL."""
        ...

    @property
    def key(self) -> str | None:
        """The provider's secret; None if it takes the attempt's key, as a test's stand-in for a provider does."""
        ...


class LiveAddress(Protocol):
    """Looks up the address of a provider that is known only while it runs: an embedded one, or a test's stand-in."""

    def current(self) -> Address | None:
        """The provider's address; None while the provider is not running. Does not block."""
        ...

    def address(self, timeout: float) -> Address:
        """The provider's address, waiting up to ``timeout`` seconds; raises an error that says what to do."""
        ...


class LiveAddresses:
    """Finds the address of each provider that is known only while it runs, for the transport to connect to.

    Args:
        sources: The look-up of each such provider, by the provider's name in the table.

    Attributes:
        names: The names of the providers.
    """

    def __init__(self, sources: Mapping[str, LiveAddress]) -> None:
        self.names = frozenset(sources)
        self._sources = dict(sources)

    def of(self, ticket: Ticket) -> Address:
        """The address of the ticket's provider; blocks while it starts.

        Raises:
            ProviderDownError: It is not running, or was not started in time.
        """
        try:
            source = self._sources[ticket.provider.name]
        except KeyError:
            raise ticket.refuse(
                ProviderDownError(
                    f"The embedded provider {ticket.provider.name!r} is not running in this process. "
                    "Set a cloud provider's key, or pass a running one: Patchbay(live={…})."
                )
            ) from None
        try:
            left = max(0.0, ticket.due - ticket.clock())
            return source.current() or source.address(min(START_SECONDS, left))
        except Exception as error:
            raise ticket.refuse(ProviderDownError(str(error))) from error

    async def aof(self, ticket: Ticket) -> Address:
        """The address of the ticket's provider, asynchronously; as `of`."""
        source = self._sources.get(ticket.provider.name)
        address = source.current() if source is not None else None
        return await asyncio.to_thread(self.of, ticket) if address is None else address
