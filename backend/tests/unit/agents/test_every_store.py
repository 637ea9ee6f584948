"""R: what a run does is the same wherever it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes import stories

if TYPE_CHECKING:
    from .conftest import Stores


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_run_is_the_same_on_every_store(seed: int, stores: Stores) -> None:
    in_memory = await stories.told(stories.made(seed), seed)

    kept = await stories.told(stories.made(seed, stores.confirmations, stores.runs), seed)

    assert kept == in_memory
