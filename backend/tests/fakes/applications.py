"""The application in the process of the tests, and clients that are logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from backend.main import create_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from backend.settings import Settings


def application(settings: Settings, announce: Callable[[str], None] = lambda _: None, **more: Any) -> FastAPI:
    """The application of `create_app`, which leaves garbage collection to the tests."""
    return create_app(settings, announce=announce, may_freeze=False, **more)


def client_of(app: FastAPI, token: str, *, raises: bool = True) -> httpx2.AsyncClient:
    """A client of ``app``, which has been started.

    Args:
        app: The application.
        token: What it is logged in with.
        raises: Whether an exception that the application does not handle is raised in the test.
    """
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=raises),
        base_url="http://test",
        headers={"authorization": f"Bearer {token}"},
    )
