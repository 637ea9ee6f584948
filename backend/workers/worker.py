"""A worker process: the application, for connections that its supervisor accepts.

It stops gracefully on an order, on SIGTERM, and when its supervisor has ended, for whatever reason.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Final

from backend.database.engine import UnusableDatabaseError
from backend.keys.errors import MasterKeyError
from backend.server import GRACE_SECONDS, composed_server
from backend.settings import Settings, environment
from backend.signals import Signals
from backend.utils.llm import LLMError, Table

from .connections import ChannelListener
from .lines import ORDERS, READY, STOPPING, Leave, ModelState, Start, Stop
from .shared_model import SharedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.server import Server

    from .lines import Order

_POLL: Final = 0.02


def work(orders: Iterator[Order], answers: FileIO) -> int:
    """Serve until an order to end arrives.

    Args:
        orders: The supervisor's messages; their end means that the supervisor is gone.
        answers: The stream to the supervisor, for two messages: that this worker serves, and that it stops by itself.

    Returns:
        The exit status: 0 after a graceful stop, 1 if the worker could not start.
    """
    start = next(orders, None)
    if not isinstance(start, Start):
        return 1
    try:
        with ChannelListener(fileno=start.channel) as listener:
            return _serve(start, listener, orders, answers)
    except (LLMError, MasterKeyError, UnusableDatabaseError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(start: Start, listener: ChannelListener, orders: Iterator[Order], answers: FileIO) -> int:
    model, table = SharedModel(start.model), Table(environ=environment())
    with composed_server(Settings(), table, model, start.launch_token.get_secret_value()) as server:
        threading.Thread(target=_follow, args=(orders, server, model), daemon=True).start()
        with Signals(lambda: _stop(server, answers)):
            asyncio.run(_run(server, listener, answers))
    return 0 if server.is_started else 1


async def _run(server: Server, listener: ChannelListener, answers: FileIO) -> None:
    serving = asyncio.create_task(server.serve(listener))
    while not server.is_started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(_POLL)
    if server.is_started:
        await server.warm_up()  # meanwhile others answer quicker
        answers.write(READY)
    await serving


def _stop(server: Server, answers: FileIO) -> None:
    """Stop the server, at once if a stop has begun already, and tell the supervisor to send no more connections."""
    with suppress(OSError):  # it is gone
        answers.write(STOPPING)
    server.stop(0 if server.is_stopping else GRACE_SECONDS)


def _follow(orders: Iterator[Order], server: Server, model: SharedModel) -> None:
    for order in orders:
        if isinstance(order, ModelState):
            model.tell(order)
        elif isinstance(order, Leave):
            server.leave()
        elif isinstance(order, Stop):
            server.stop(order.seconds)
    server.stop(0 if server.is_stopping else GRACE_SECONDS)


if __name__ == "__main__":
    with FileIO(os.dup(1), "wb") as supervisor:
        os.dup2(2, 1)  # whatever an application prints is for people
        sys.exit(work(map(ORDERS.validate_json, sys.stdin), supervisor))
