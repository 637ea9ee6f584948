"""Finds the addresses of providers that are known only while they run: embedded ones, or any in tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ..errors import ProviderDownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ticket import Ticket

START_SECONDS = 60.0
"""The most seconds that a request waits for an embedded provider to start."""


class ProviderAddress(Protocol):
    """The address of a provider that runs on this machine, and the key that it requires."""

    @property
    def base_url(self) -> str:
        """The base URL of the provider's API."""
        ...

    @property
    def key(self) -> str | None:
        """The key that the provider requires; None to send the attempt's own key, as in tests."""
        ...


class AddressSource(Protocol):
    """Knows the address of one provider whose address changes at each start, such as an embedded model."""

    def current_address(self) -> ProviderAddress | None:
        """Return the provider's address at once; None if the provider is not running."""
        ...

    def address(self, timeout: float) -> ProviderAddress:
        """Return the provider's address; wait up to ``timeout`` seconds for the provider to start.

        If it is not running by then, raises an exception whose text tells the user what to do.
        """
        ...


class ProviderAddressFinder:
    """Finds the addresses of providers that are known only while they run.

    Args:
        sources: The address source of each such provider, by the provider's name in the table.

    Attributes:
        names: The names of these providers.
    """

    def __init__(self, sources: Mapping[str, AddressSource]) -> None:
        self.names = frozenset(sources)
        self._sources = dict(sources)

    def find_address(self, ticket: Ticket) -> ProviderAddress:
        """Return the address of the ticket's provider; block while the provider starts.

        Raises:
            ProviderDownError: The provider is not running, or did not start in time.
        """
        try:
            source = self._sources[ticket.provider.name]
        except KeyError:
            raise ticket.record_refusal(
                ProviderDownError(
                    f"The embedded provider {ticket.provider.name!r} is not running in this process. "
                    "Set a cloud provider's key, or pass a running one: Patchbay(live={…})."
                )
            ) from None
        try:
            left = max(0.0, ticket.due - ticket.clock())
            return source.current_address() or source.address(min(START_SECONDS, left))
        except Exception as error:
            raise ticket.record_refusal(ProviderDownError(str(error))) from error

    async def afind_address(self, ticket: Ticket) -> ProviderAddress:
        """Asynchronous version of `find_address`."""
        source = self._sources.get(ticket.provider.name)
        address = source.current_address() if source is not None else None
        return await asyncio.to_thread(self.find_address, ticket) if address is None else address
