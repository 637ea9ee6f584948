"""Servers collect garbage when they start, and leave nothing frozen when they stop."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def frozen() -> None:
    """What was there before a test is not what its server looks through."""
    gc.freeze()
