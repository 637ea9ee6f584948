"""The service that clients ask: in a thread, its providers a loopback provider."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from backend.tests.fakes.edges import edge_of
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.tests.fakes.edges import Edge
    from backend.utils.llm.testing import LoopbackProvider

UPSTREAM: Final = {
    "via_openai": "openai:gpt-6-luna",
    "via_anthropic": "anthropic:claude-sonnet-5-5",
    "via_gemini": "gemini:gemini-3.5-flash",
}
"""The features that clients ask for, each served on another wire."""


@contextmanager
def running(provider: LoopbackProvider, folder: Path) -> Iterator[Edge]:
    """The service, with its data in ``folder``, until the end of the block."""
    patchbay = loopback_patchbay(provider, UPSTREAM)
    try:
        with edge_of(patchbay, folder) as edge:
            yield edge
    finally:
        patchbay.close()
