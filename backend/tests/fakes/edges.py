"""The whole service on a loopback port, in a thread, for clients that know nothing of us."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn
from typing_extensions import override

from backend.protocol import make_uvicorn_config
from backend.settings import Settings
from backend.tests.fakes.applications import application
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider

TOKEN = "token-of-this-test"


class Edge(NamedTuple):
    """Where the service is."""

    origin: str
    token: str = TOKEN

    @property
    def openai_url(self) -> str:
        """The base URL for clients of OpenAI's."""
        return f"{self.origin}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for clients of Anthropic's."""
        return self.origin


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


@contextmanager
def loopback_edge(
    provider: LoopbackProvider, folder: Path, chains: Mapping[str, str] | None = None, **more: Any
) -> Iterator[Edge]:
    """The service, with its data in ``folder``, until the end of the block; its facade is the one of `loopback_patchbay`."""
    patchbay = loopback_patchbay(provider, chains, **more)
    app = application(Settings(_env_file=None, data_dir=folder), patchbay=patchbay, launch_token=TOKEN)
    config = make_uvicorn_config(app)
    config.port = 0
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.is_up.wait(30), "The service did not start."
        yield Edge(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join()
        patchbay.close()
