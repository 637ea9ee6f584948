"""The objects that all calls of a process share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..clock import Time
from ..packages import missing
from ..pricing import cost
from ..providers import ChatClientCache
from ..receipt import Usage
from ..state.budget_store import MemoryBudgets
from ..transport import SigningTransport
from .loop_thread import LoopThread
from .observers import ObserverRegistry
from .observers.ledger import KeyNames, LedgerObserver
from .observers.log import HealthLog
from .observers.reservations import Reservations
from .observers.shadow import Shadows
from .texts import KeptTexts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ledger.sinks import LedgerSink
    from ..ledger.texts import TextSink
    from ..model_config import Table
    from ..routing.selector import Selector
    from ..state.budget_store import BudgetStore
    from ..state.health import Health
    from ..transport import LiveAddress
    from .observers.registry import Observer


log = logging.getLogger(__name__)


class Runtime:
    """The table, the transport, the clients, and the state of endpoints and limits, shared by all calls.

    Args:
        live: Embedded providers by name.
        health: The state of endpoints and limits.
        budgets: The store of budget counters; by default in this process.
        observer: The application's function, called after every attempt; its exceptions are only logged. None for none.
        ledger: Takes the record of every attempt; None to keep none.
        ledger_secret: The secret of the hashes that stand for keys in the ledger; None to name only stored keys.
        texts: Takes the prompts and answers of features whose row has ``keep_text_days``.
        selectors: The application's selectors, by the names in the table.
        require_caller: Whether calls without a caller are refused.
    """

    def __init__(  # noqa: PLR0913 - what `Patchbay` is given
        self,
        table: Table,
        live: Mapping[str, LiveAddress] | None = None,
        *,
        health: Health,
        budgets: BudgetStore | None = None,
        time: Time | None = None,
        observer: Observer | None = None,
        ledger: LedgerSink | None = None,
        ledger_secret: bytes | None = None,
        texts: TextSink | None = None,
        selectors: Mapping[str, Selector] | None = None,
        require_caller: bool = False,
    ) -> None:
        self.table = table
        self.time = time or Time()
        self.health = health
        health.subscribe(HealthLog(self.time.clock))
        self.reservations = Reservations(budgets or MemoryBudgets(self.time.clock), self.time)
        key_names = KeyNames(ledger_secret, lambda: table.snapshot)
        written = None if ledger is None else LedgerObserver(ledger, key_names)
        self.observers = ObserverRegistry(health, observer, self.reservations, written)
        self.texts = KeptTexts(texts)
        self.selectors = dict(selectors or {})
        self.require_caller = require_caller
        self.shadows = Shadows(self.time.random)
        self.transport = SigningTransport(live, self.time.clock)
        self.clients = ChatClientCache(self.transport)
        self.loop_thread = LoopThread()

    def warm_up(self) -> None:
        """Import the packages and build the clients that calls need. See `Patchbay.warm_up`."""
        chains, now = self.table.snapshot.chains, self.time.now()
        endpoints = (one for served in chains.values() for chain in served.values() for one in chain)
        try:
            for endpoint in dict.fromkeys(endpoints):
                if missing(endpoint.provider.api):  # no call will get there
                    continue
                self.clients.client(endpoint)
                cost(endpoint, Usage(), now)
            self.transport.pools.warm_up()
        except Exception:
            log.exception("the warm-up was broken off; calls will do the rest themselves")
