"""The table of the service, with a provider on loopback in the place of each in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from app.main import app
from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from utils.llm.testing import LoopbackProvider

pytest_plugins = ["utils.llm.testing.pytest_plugin"]


@pytest.fixture
def client(llm_provider: LoopbackProvider) -> TestClient:
    """A client of the service, in a user's name."""
    assert llm_provider
    return TestClient(app, headers={"x-user": "kim"})
