"""One worker: the application in a process of its own, on a socket that its supervisor listens on.

It ends in order when it is told to, when it gets SIGTERM, and when its supervisor is gone, however that ended.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from io import FileIO
from typing import TYPE_CHECKING, Final

from backend.database.engine import UnusableDatabaseError
from backend.keys.errors import MasterKeyError
from backend.main import create_app
from backend.server import GRACE_SECONDS, Server
from backend.settings import Settings, environment
from backend.signals import Signals
from backend.utils.llm import LLMError, Table, use
from backend.watchers import Watchers

from .lines import ORDERS, READY, ModelState, Start, Stop
from .shared_model import SharedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .lines import Order

_POLL: Final = 0.02


def work(orders: Iterator[Order], answers: FileIO) -> int:
    """Serve until an order ends it.

    Args:
        orders: Those of the supervisor; their end means that it is gone.
        answers: Where it is told that this worker serves.

    Returns:
        The exit status: 0 if it ended in order, 1 if it could not start.
    """
    start = next(orders, None)
    if not isinstance(start, Start):
        return 1
    try:
        with socket.socket(fileno=start.listener) as listener:
            return _serve(start, listener, orders, answers)
    except (LLMError, MasterKeyError, UnusableDatabaseError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(start: Start, listener: socket.socket, orders: Iterator[Order], answers: FileIO) -> int:
    settings, model = Settings(), SharedModel(start.model)
    watchers = Watchers.of(settings)
    patchbay = watchers.facade(Table(environ=environment()), live={"local": model})
    with watchers.spool, use(patchbay):
        app = create_app(
            settings,
            patchbay=patchbay,
            local_model=model,
            launch_token=start.launch_token.get_secret_value(),
            watchers=watchers,
        )
        server = Server(app)
        threading.Thread(target=_follow, args=(orders, server, model), daemon=True).start()
        try:
            with Signals(lambda: server.stop(0 if server.is_stopping else GRACE_SECONDS)):
                asyncio.run(_run(server, listener, answers))
        finally:
            patchbay.close()
    return 0 if server.is_started else 1


async def _run(server: Server, listener: socket.socket, answers: FileIO) -> None:
    serving = asyncio.create_task(server.serve(listener))
    while not server.is_started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(_POLL)
    if server.is_started:
        answers.write(READY)
    await serving


def _follow(orders: Iterator[Order], server: Server, model: SharedModel) -> None:
    for order in orders:
        if isinstance(order, ModelState):
            model.tell(order)
        elif isinstance(order, Stop):
            server.stop(order.seconds)
    server.stop(0 if server.is_stopping else GRACE_SECONDS)


if __name__ == "__main__":
    with FileIO(os.dup(1), "wb") as supervisor:
        os.dup2(2, 1)  # whatever an application prints is for people
        sys.exit(work(map(ORDERS.validate_json, sys.stdin), supervisor))
