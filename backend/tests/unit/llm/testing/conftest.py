"""A provider and a plain client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from backend.utils.llm.testing import LoopbackProvider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=10, trust_env=False) as running:
        yield running
