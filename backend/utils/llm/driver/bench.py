"""What every call of a process shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import Time
from ..providers import ChatClients
from ..routing import plan, shadow
from ..transport import SigningTransport
from .call import Call
from .shadow import Shadows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..caller import Caller
    from ..health import Health
    from ..model_config import Share, Snapshot, Table
    from ..receipt import Attempt
    from ..route import Needs, Route
    from ..selector import Selector
    from ..transport import LiveAddress
    from .call import Question

    Observer = Callable[[Route, Attempt], None]


class Bench:
    """The table, the transport, the clients, and what is known of the endpoints' health.

    Args:
        live: Embedded providers by name.
        health: Where health is kept.
        observer: Told of every attempt. What it raises changes nothing.
        selectors: What the table's custom selections name.
    """

    def __init__(
        self,
        table: Table,
        live: Mapping[str, LiveAddress] | None = None,
        *,
        health: Health,
        time: Time | None = None,
        observer: Observer | None = None,
        selectors: Mapping[str, Selector] | None = None,
    ) -> None:
        self.table = table
        self.time = time or Time()
        self.health = health
        self.observer = observer
        self.selectors = dict(selectors or {})
        self.shadows = Shadows(self.time.random)
        self.transport = SigningTransport(live, self.time.clock)
        self.clients = ChatClients(self.transport)

    def plan(self, feature: str, caller: Caller, needs: Needs) -> Route:
        """How a call made now would be served."""
        return self._plan(self.table.snapshot, feature, caller, needs)

    def call(
        self, snapshot: Snapshot, feature: str, caller: Caller, needs: Needs, question: Question
    ) -> Call:
        """A call that ``snapshot`` decides from end to end, whatever is put in force meanwhile.

        Raises:
            LLMError: If no endpoint may serve it: nothing was sent.
        """
        route = self._plan(snapshot, feature, caller, needs)
        if route.feature.split:
            self.health.traffic.planned()
        return Call(self, snapshot, route, question)

    def shadow_plan(self, snapshot: Snapshot, route: Route, share: Share) -> Route:
        """How a copy of a call on ``route`` would be served by an endpoint that is only watched."""
        return shadow(snapshot, route, share, today=self.time.now().date(), health=self.health)

    def _plan(self, snapshot: Snapshot, feature: str, caller: Caller, needs: Needs) -> Route:
        return plan(snapshot, feature, caller, needs, today=self.time.now().date(), health=self.health)
