"""Cancels work for a client that disconnects before anything was sent to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import HTTPException
from starlette.types import Receive


class ClientGoneError(HTTPException):
    """The client has disconnected. Nobody reads the answer."""

    def __init__(self) -> None:
        super().__init__(400, "The client went away before there was an answer.")


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """Run the body of the ``async with``, and cancel it when the client disconnects. The request's body must have been read.

    Raises:
        ClientGoneError: The client has disconnected.
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
        raise ClientGoneError from None


async def _end_when_gone(receive: Receive, limit: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    limit.reschedule(asyncio.get_running_loop().time())
