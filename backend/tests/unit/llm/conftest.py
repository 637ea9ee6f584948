"""The facade on a loopback provider: one feature for each wire."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from backend.tests.fakes.strangers import Stranger, running
from backend.utils.llm.clients import use
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from .drivers import DRIVERS, STREAMS, ainvoke, invoke
from .tables import WIRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .drivers import Driver


FEATURES = {
    "over_openai": "openai:gpt-6-luna",
    "over_gemini": "gemini:gemini-3.5-flash-lite",
    "over_anthropic": "anthropic:claude-sonnet-5-5",
    "openai_then_gemini": ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"],
    "gemini_then_openai": ["gemini:gemini-3.5-flash-lite", "openai:gpt-6-luna"],
}
SINGLE = ["over_openai", "over_gemini"]
ROWS = "".join(f"[features.{name}]\nhouse_fallback = true\n" for name in FEATURES)
CHAINS = ["openai_then_gemini", "gemini_then_openai"]


@pytest.fixture
def virtual() -> VirtualTime:
    """The time that passes in `patchbay`."""
    return VirtualTime()


@pytest.fixture
def patchbay(provider: LoopbackProvider, virtual: VirtualTime) -> Iterator[Patchbay]:
    """The facade with `FEATURES`, in force for the test, in a time of its own."""
    made = loopback_patchbay(provider, FEATURES, ROWS, time=virtual.time)
    with use(made):
        yield made
    made.close()


@pytest.fixture(params=SINGLE)
def feature(request: pytest.FixtureRequest) -> str:
    """A feature over each wire."""
    return str(request.param)


@pytest.fixture(params=CHAINS)
def chain(request: pytest.FixtureRequest) -> str:
    """A feature with a fallback, over each wire first."""
    return str(request.param)


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.__name__)
def call(request: pytest.FixtureRequest) -> Driver:
    """Each of the four ways to call."""
    return request.param


@pytest.fixture(params=[invoke, ainvoke], ids=lambda driver: driver.__name__)
def whole(request: pytest.FixtureRequest) -> Driver:
    """Both ways to get a whole answer."""
    return request.param


@pytest.fixture(params=STREAMS, ids=lambda driver: driver.__name__)
def stream(request: pytest.FixtureRequest) -> Driver:
    """Both ways to stream."""
    return request.param


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    """Each way to talk to a provider."""
    return str(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[Stranger]:
    """A server that answers what a test tells it to; see `table_at`."""
    with running(Stranger()) as server:
        yield server


class Make(Protocol):
    """Makes a patchbay whose feature ``f`` runs on ``endpoints``."""

    def __call__(self, endpoints: str | list[str], row: str = "", **settings: Any) -> Patchbay: ...


@pytest.fixture
def make(provider: LoopbackProvider) -> Iterator[Make]:
    """Patchbays on the provider, or on another ``server``, that are closed at the end."""
    with contextlib.ExitStack() as made:

        def make(
            endpoints: str | list[str], row: str = "", *, server: Any = provider, **settings: Any
        ) -> Patchbay:
            patchbay = loopback_patchbay(server, {"f": endpoints}, row, **settings)
            made.callback(patchbay.close)
            return patchbay

        yield make


@pytest.fixture
def _hectic() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)
