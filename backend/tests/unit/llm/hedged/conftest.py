"""Two requests of one call over real sockets: a provider that holds its replies back, and patchbays that hedge."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from backend.tests.fakes.hedging import learn
from backend.utils.llm.execution.loop_thread import THREAD
from backend.utils.llm.testing import (
    LoopbackProvider,
    Text,
    Trickle,
)

from ..samples import receipt
from ..test_deadline import chain_of, warm  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import AIMessage

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route
    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.transmission import ReplyContext

    from ..conftest import Make

    Hedged = Callable[..., Patchbay]


AT_ONCE, NEVER = 0.01, 30.0
"""After how long a call is hedged."""
SLACK = 20.0
"""What a busy machine may add."""
ENDLESS = Trickle(Text("word " * 2000, chunks=2000), 0.05)


class Gated(LoopbackProvider):
    """Holds its replies back until something has happened."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: dict[str | None, Callable[[], bool]] = {}
        self._pause = threading.Event()

    def hold(self, model: str, until: Callable[[], bool] | None = None) -> None:
        """Replies of ``model`` wait ``until`` then; by default until two requests have come."""
        self._gates[model] = until or (lambda: len(self.requests) > 1)

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        reply, gate = super().next_reply(exchange), self._gates.get(exchange.model)
        until = time.monotonic() + 30.0
        while gate is not None and not gate() and time.monotonic() < until:
            self._pause.wait(0.002)
        return reply


@pytest.fixture
def provider() -> Iterator[Gated]:
    """A provider whose replies can be held back."""
    with Gated() as running:
        yield running


def first_endpoint(chain: str) -> str:
    return chain_of(chain)[0]


def second_model(chain: str) -> str:
    return chain_of(chain)[1].partition(":")[2]


@pytest.fixture
def observed() -> list[Attempt]:
    """Every attempt that the observer was told of."""
    return []


@pytest.fixture
def hedged(make: Make, chain: str, observed: list[Attempt]) -> Iterator[Hedged]:
    """Makes a patchbay whose feature ``f`` hedges, after so many seconds; nothing of its calls may be left."""
    made: list[Patchbay] = []

    def observer(_: Route, attempt: Attempt) -> None:
        observed.append(attempt)

    def hedged(after: float, row: str = "", **settings: Any) -> Patchbay:
        table = f"[features.f]\nhedge = true\nhouse_fallback = true\n{row}"
        patchbay = make(chain_of(chain), table, observer=observer, **settings)
        learn(patchbay, after)
        made.append(patchbay)
        return patchbay

    yield hedged
    for patchbay in made:
        assert_nothing_is_left(patchbay)


def assert_nothing_is_left(patchbay: Patchbay) -> None:
    patchbay.close()
    assert [thread for thread in threading.enumerate() if thread.name == THREAD] == []
    traffic = patchbay.health.traffic
    assert len(patchbay.runtime.transport.tickets) == 0
    assert [
        load.in_flight.count(0.0) for load in traffic.targets._loads.values() if load.in_flight.count(0.0)
    ] == []


def is_closed(provider: LoopbackProvider, model: str) -> bool:
    """Whether the client has hung up on the request for ``model``."""
    return provider.wait_until(
        lambda requests: any(request.closed_by_client for request in requests if request.model == model)
    )


def told(message: AIMessage) -> list[tuple[str, str, bool]]:
    return [(one["endpoint"], one["outcome"], one["hedge"]) for one in receipt(message)["attempts"]]
