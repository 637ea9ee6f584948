"""The service on a free port, in a thread, its providers a loopback provider."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn

from backend.main import create_app
from backend.protocol import configured
from backend.settings import Settings
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

UPSTREAM: Final = {
    "via_openai": "openai:gpt-6-luna",
    "via_anthropic": "anthropic:claude-sonnet-5-5",
    "via_gemini": "gemini:gemini-3.5-flash",
}
"""The features that clients ask for, each served on another wire."""
_START_SECONDS: Final = 30.0


class Service(NamedTuple):
    """A running service."""

    origin: str
    token: str


@contextmanager
def running(provider: LoopbackProvider, folder: Path) -> Iterator[Service]:
    """The service, with its data in ``folder``, until the end of the block."""
    token = secrets.token_urlsafe(32)
    patchbay = loopback_patchbay(provider, UPSTREAM)
    app = create_app(
        Settings(_env_file=None, data_dir=folder),
        patchbay=patchbay,
        launch_token=token,
        announce=lambda _: None,
    )
    config = configured(app)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Service(_origin(server, thread), token)
    finally:
        server.should_exit = True
        thread.join()
        patchbay.close()


def _origin(server: uvicorn.Server, thread: threading.Thread) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("The service did not start.")
        time.sleep(0.02)  # noqa: TID251 - uvicorn has no event for it
    port = server.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"
