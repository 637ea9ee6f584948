"""The state that all calls of a `Patchbay` share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..clock import Time
from ..packages import find_missing_api_packages
from ..pricing import compute_cost
from ..providers import ChatClientCache
from ..receipt import TokenUsage
from ..state.budget_store import MemoryBudgets
from ..transport import SigningTransport
from .loop_thread import SharedBackgroundLoop
from .observers import ObserverRegistry
from .observers.ledger import LedgerKeyNames, LedgerObserver
from .observers.log import HealthLogger
from .observers.reservations import BudgetReservations
from .observers.shadow import ShadowThreads
from .texts import CallTextRecorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ledger.sinks import LedgerSink
    from ..ledger.texts import TextSink
    from ..model_config import Table
    from ..routing.selector import Selector
    from ..state.budget_store import BudgetStore
    from ..state.health import HealthTracker
    from ..transport import AddressSource
    from .observers.registry import Observer


log = logging.getLogger(__name__)


class Runtime:
    """What all calls of a `Patchbay` share: table, transport, clients, and the state of endpoints and limits.

    Args:
        table: The table of features, reloaded when its file changes.
        live: For providers whose address is known only while they run: finds the address, by provider name.
        health: The state of endpoints and limits.
        budgets: The store of budget counters; None to count in this process.
        time: The clocks; None for the real ones.
        observer: The application's function that is called after every attempt. Its exceptions are logged.
        ledger: Gets the record of every attempt; None to store none.
        ledger_secret: The hash key for the names of API keys in the ledger; None to name only stored keys.
        texts: Gets the prompts and answers of features whose row has ``keep_text_days``; None to store none.
        selectors: The application's selectors, by their names in the table.
        require_caller: Whether calls without a caller are refused.
    """

    def __init__(  # noqa: PLR0913 - what `Patchbay` is given
        self,
        table: Table,
        live: Mapping[str, AddressSource] | None = None,
        *,
        health: HealthTracker,
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
        health.subscribe(HealthLogger(self.time.clock))
        self.reservations = BudgetReservations(budgets or MemoryBudgets(self.time.clock), self.time)
        key_names = LedgerKeyNames(ledger_secret, lambda: table.snapshot)
        written = None if ledger is None else LedgerObserver(ledger, key_names)
        self.observers = ObserverRegistry(health, observer, self.reservations, written)
        self.texts = CallTextRecorder(texts)
        self.selectors = dict(selectors or {})
        self.require_caller = require_caller
        self.shadows = ShadowThreads(self.time.random)
        self.transport = SigningTransport(live, self.time.clock)
        self.clients = ChatClientCache(self.transport)
        self.loop_thread = SharedBackgroundLoop()

    def warm_up(self) -> None:
        """Import packages and build clients now, so that the first call is as fast as later ones.

        A failure is only logged.
        """
        chains, now = self.table.snapshot.chains, self.time.now()
        endpoints = (
            endpoint for served in chains.values() for chain in served.values() for endpoint in chain
        )
        try:
            for endpoint in dict.fromkeys(endpoints):
                if find_missing_api_packages(endpoint.provider.api):  # no call will get there
                    continue
                self.clients.get_client(endpoint)
                compute_cost(endpoint, TokenUsage(), now)
            self.transport.pools.warm_up()
        except Exception:
            log.exception("the warm-up was broken off; calls will do the rest themselves")
