"""The main program of a worker process: serves the application on connections from the supervisor.

The worker stops gracefully on an order, on SIGTERM, and when the supervisor has ended for any reason.
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
from backend.server import GRACE_SECONDS, build_server
from backend.settings import Settings, read_environment
from backend.signals import SignalHandler
from backend.utils.llm import LLMError, Table

from .connections import WorkerChannelListener
from .lines import ORDERS, READY, STOPPING, BuiltInModelState, ReportNotReady, StartWorker, StopWorker
from .shared_model import SharedBuiltInModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.server import Server

    from .lines import Order

_POLL: Final = 0.02


def run_worker(orders: Iterator[Order], to_supervisor: FileIO) -> int:
    """Run the worker: serve requests until the supervisor orders it to stop, or it receives SIGTERM.

    Args:
        orders: The supervisor's messages. If they end, the supervisor is gone, and the worker stops.
        to_supervisor: The stream for messages to the supervisor: that the worker serves, and that it is
            stopping.

    Returns:
        The exit status: 0 after a graceful stop, 1 if the worker could not start.
    """
    start = next(orders, None)
    if not isinstance(start, StartWorker):
        return 1
    try:
        with WorkerChannelListener(fileno=start.channel) as listener:
            return _serve(start, listener, orders, to_supervisor)
    except (LLMError, MasterKeyError, UnusableDatabaseError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(
    start: StartWorker, listener: WorkerChannelListener, orders: Iterator[Order], answers: FileIO
) -> int:
    model, table = SharedBuiltInModel(start.model), Table(environ=read_environment())
    with build_server(Settings(), table, model, start.launch_token.get_secret_value()) as server:
        threading.Thread(target=_follow, args=(orders, server, model), daemon=True).start()
        with SignalHandler(lambda: _stop(server, answers)):
            asyncio.run(_run(server, listener, answers))
    return 0 if server.is_started else 1


async def _run(server: Server, listener: WorkerChannelListener, answers: FileIO) -> None:
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


def _follow(orders: Iterator[Order], server: Server, model: SharedBuiltInModel) -> None:
    for order in orders:
        if isinstance(order, BuiltInModelState):
            model.update_state(order)
        elif isinstance(order, ReportNotReady):
            server.report_not_ready()
        elif isinstance(order, StopWorker):
            server.stop(order.seconds)
    server.stop(0 if server.is_stopping else GRACE_SECONDS)


if __name__ == "__main__":
    with FileIO(os.dup(1), "wb") as supervisor:
        os.dup2(2, 1)  # whatever an application prints is for people
        sys.exit(run_worker(map(ORDERS.validate_json, sys.stdin), supervisor))
