"""Cancels work for a client that disconnects before the response has begun."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import HTTPException
from starlette.types import Receive


class DisconnectedClientError(HTTPException):
    """The client disconnected before it was answered: status 400."""

    def __init__(self) -> None:
        super().__init__(400, "The client went away before there was an answer.")


@asynccontextmanager
async def cancel_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body of the ``async with`` statement if the client disconnects.

    Read the whole request body before, because this consumes further messages of ``receive``.

    Raises:
        DisconnectedClientError: The client has disconnected.
    """
    limit = asyncio.timeout(None)
    try:
        async with limit:
            monitor = asyncio.create_task(_end_when_gone(receive, limit))
            try:
                yield
            finally:
                monitor.cancel()
                with suppress(asyncio.CancelledError):
                    await monitor
    except TimeoutError:
        if not limit.expired():
            raise
        raise DisconnectedClientError from None


async def _end_when_gone(receive: Receive, limit: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    limit.reschedule(asyncio.get_running_loop().time())
