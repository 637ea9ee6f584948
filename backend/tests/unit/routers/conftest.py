from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx2
import pytest

from backend.main import create_app
from backend.settings import Settings
from backend.tests.fakes.services import services as fake_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI

    from backend.routers.dependencies import Services

MakeApp = Callable[..., "FastAPI"]
Connect = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    """The application on fake services. It is not started, so it has no database."""

    def make(services: Services | None = None) -> FastAPI:
        app = create_app(Settings(_env_file=None, data_dir=tmp_path))
        app.state.services = services or fake_services()
        return app

    return make


@pytest.fixture
async def connect(make_app: MakeApp) -> AsyncIterator[Connect]:
    """Clients of applications, closed at the end."""
    async with AsyncExitStack() as stack:
        clients: list[httpx2.AsyncClient] = []

        def connect(app: FastAPI | Services | None = None) -> httpx2.AsyncClient:
            asgi = app if callable(app) else make_app(app)
            transport = httpx2.ASGITransport(asgi, raise_app_exceptions=False)
            clients.append(httpx2.AsyncClient(transport=transport, base_url="http://test"))
            stack.push_async_callback(clients[-1].aclose)
            return clients[-1]

        yield connect
