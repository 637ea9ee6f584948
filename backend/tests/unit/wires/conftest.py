from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.wires.responders import ResponderRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

FEATURES = {"chat": "openai:gpt-6-luna", "told": "group:fast"}
GROUPS = '[groups.fast]\nendpoints = ["anthropic:claude-haiku-5-5", "openai:gpt-6-luna"]'


@pytest.fixture
async def patchbay(provider: LoopbackProvider) -> AsyncIterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, GROUPS)
    yield made
    await made.aclose()


@pytest.fixture
def responders(patchbay: Patchbay) -> ResponderRegistry:
    return ResponderRegistry(patchbay)
