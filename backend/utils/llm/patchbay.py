"""A `Patchbay`: one table with all that serves its features. It puts the parts together and makes no decisions of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .caller import HOUSE, current_caller, ensure_caller
from .clock import Time
from .errors import UnknownEndpointError
from .forks import ForkSafe, delay_forks
from .inspection import PatchbayInspection
from .model_config import Table, TableProblems, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .caller import Caller
    from .chat_model import FeatureChatModel
    from .diagnostics.explain import Explanation
    from .embeddings import FeatureEmbeddings
    from .execution.runtime import Runtime
    from .ledger.sinks import LedgerSink
    from .ledger.texts import TextSink
    from .model_config import TableSnapshot
    from .receipt import Attempt
    from .routing.route import Route
    from .routing.selector import Selector
    from .state.budget_store import BudgetStore
    from .state.health import HealthTracker
    from .transport import AddressSource

    Observer = Callable[[Explanation, Attempt], None]
    _ModelKey = tuple[str, bool, str | None, str | None, bool]

MOST_MODELS = 1024
"""The most models that are cached by (feature, streaming, cache key …): a cache key may be any text."""
SECRET_BYTES = range(16, 65)
"""The lengths of ``ledger_secret`` in bytes: long enough not to be guessed, at most what a keyed hash takes."""


class Patchbay(PatchbayInspection, ForkSafe):
    """The LLM clients of one table: gives a chat model for each feature, and holds the state that calls share.

    Args:
        table: The table; by default the file that ``LLM_CONFIG`` names, or ``llm.toml``.
        live: Finds the addresses of providers that are known only while they run, by provider name.
        time: Clocks, sleep and random numbers; by default the real ones.
        health: The state of endpoints and limits; by default in this process or the table's state server.
        budgets: The store of budget counters; by default in this process.
        observer: Called with the route and the record of every attempt. Exceptions are only logged.
        ledger: Stores the record of every attempt before the answer is returned. Exceptions are only logged.
        ledger_secret: 16 to 64 bytes that never change, to hash API keys for the ledger. Without it the
            ledger identifies only stored keys of users.
        texts: Stores prompts and answers of features whose row has ``keep_text_days``; None stores none.
        selectors: The selectors that the table names with ``select = { by = "custom", name = … }``.
        require_caller: Whether to refuse calls without a caller; by default the operator pays for them.

    Raises:
        ValueError: ``ledger_secret`` is shorter than 16 bytes or longer than 64.
        ConfigError: The table is wrong, or names a selector that is not among ``selectors``. A later table that
            names such a selector is refused, too.
        TypeError: The observer, or a selector, cannot be called.
    """

    def __init__(  # noqa: PLR0913 - the composition root
        self,
        table: Table | None = None,
        *,
        live: Mapping[str, AddressSource] | None = None,
        time: Time | None = None,
        health: HealthTracker | None = None,
        budgets: BudgetStore | None = None,
        observer: Observer | None = None,
        ledger: LedgerSink | None = None,
        ledger_secret: bytes | None = None,
        texts: TextSink | None = None,
        selectors: Mapping[str, Selector] | None = None,
        require_caller: bool = False,
    ) -> None:
        self.table = table or Table()
        self._selectors = dict(selectors or {})
        for name, called in {"observer": observer, **self._selectors}.items():
            if not (called is None or callable(called)):
                raise TypeError(f"{name} is called: it must be callable, not {type(called).__name__}")
        self.table.add_snapshot_check(self._missing_selectors)
        self._time = time or Time()
        self._health = health
        self._budgets = budgets
        self._observer = observer
        self._ledger = ledger
        if ledger_secret is not None and len(ledger_secret) not in SECRET_BYTES:
            raise ValueError("the ledger's secret has 16 to 64 bytes")
        self._ledger_secret = ledger_secret
        self._texts = texts
        self._require_caller = require_caller
        self._live = dict(live or {})
        self._models: dict[_ModelKey, FeatureChatModel] = {}
        self._model: type[FeatureChatModel] | None = None
        self._runtime: Runtime | None = None
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.RLock()

    @property
    @override
    def health(self) -> HealthTracker:
        """The health of endpoints and keys, such as cooldowns, and the use of rate limits. Made on first use."""
        return self._make_health() if self._health is None else self._health

    @property
    @override
    def budgets(self) -> BudgetStore:
        """The store of budget counters. Made on first use."""
        if self._budgets is None:
            from .state.budget_store import MemoryBudgets

            with self._lock:
                if self._budgets is None:
                    self._budgets = MemoryBudgets(self._time.clock)
        return self._budgets

    @property
    def runtime(self) -> Runtime:
        """The objects that calls share, such as clients and state. Made on first use, because it imports LangChain."""
        return self._make_runtime() if self._runtime is None else self._runtime

    @delay_forks()
    def _make_health(self) -> HealthTracker:
        from .state.health import HealthTracker
        from .state.traffic import TrafficState

        with self._lock:
            if self._health is None:
                time, server = self._time, self.table.snapshot.state_server
                if server is None:
                    self._health = HealthTracker(time.clock, TrafficState(time.clock, time.now, time.random))
                else:
                    from .state.shared.composition import connect_shared_health_tracker

                    self._health = connect_shared_health_tracker(server.url, server.secret, time)
            return self._health

    @delay_forks()
    def _make_runtime(self) -> Runtime:
        from .execution.runtime import Runtime

        with self._lock:
            if self._runtime is None:
                self._runtime = Runtime(
                    self.table,
                    self._live,
                    time=self._time,
                    health=self.health,
                    budgets=self.budgets,
                    observer=self._observer and _explaining(self._observer),
                    ledger=self._ledger,
                    ledger_secret=self._ledger_secret,
                    texts=self._texts,
                    selectors=self._selectors,
                    require_caller=self._require_caller,
                )
            return self._runtime

    def get_llm(
        self,
        feature: str,
        *,
        streaming: bool = False,
        cache_key: str | None = None,
        caller: Caller | None = None,
        endpoint: str | None = None,
        fallbacks: bool = True,
    ) -> FeatureChatModel:
        """The chat model of ``feature``. See `clients.get_llm`."""
        key = (feature, streaming, cache_key, endpoint, fallbacks)
        model = self._models.get(key)
        if model is None:
            model = self._make_model(key)
        made_for = current_caller()
        if caller is not None or made_for is not HOUSE:
            model = model.with_caller(caller and ensure_caller(caller), made_for)
        return model

    def get_embeddings(self, feature: str, *, caller: Caller | None = None) -> FeatureEmbeddings:
        """The embeddings of ``feature``. See `clients.get_embeddings`."""
        from .embeddings import FeatureEmbeddings, format_no_embeddings_error

        if self.table.snapshot.features[feature].embedding is None:
            raise ValueError(format_no_embeddings_error(feature))
        return FeatureEmbeddings(feature, self.runtime, caller and ensure_caller(caller), current_caller())

    def rate(self, receipt: Mapping[str, Any], score: float) -> bool:
        """Record a score from 0 to 1 for the answer of ``receipt``. See `clients.rate`."""
        from .routing.scores import record_score

        return record_score(self.table.snapshot, self.health.traffic, receipt, score)

    def warm_up(self) -> None:
        """Import the packages that the first calls need, and build the clients of all endpoints. Nothing is sent.

        Takes about two seconds of CPU in a fresh process: run it in a thread. Failures are only logged.
        """
        self._import_models()
        self.runtime.warm_up()

    def close(self) -> None:
        """Close the connections of synchronous calls once they are idle, and disconnect from the state server."""
        if self._health is not None:
            self._health.close()
        if self._runtime is not None:
            self._runtime.loop_thread.close()
            self._runtime.transport.pools.close()

    async def aclose(self) -> None:
        """Like `close`, and also for the connections of this event loop. Calls in flight go on."""
        import asyncio

        if self._health is not None:
            await asyncio.to_thread(self._health.close)
        if self._runtime is not None:
            await asyncio.to_thread(self._runtime.loop_thread.close)
            await self._runtime.transport.pools.aclose()

    @delay_forks()
    def _import_models(self) -> type[FeatureChatModel]:
        from .chat_model import FeatureChatModel

        self._model = FeatureChatModel
        return FeatureChatModel

    def _make_model(self, key: _ModelKey) -> FeatureChatModel:
        """Make the chat model for ``key`` and keep it.

        Takes no lock that an import in another thread may hold, because this may be an event loop.

        Raises:
            TypeError: The feature is no str.
            ValueError: It is a feature of embeddings.
            UnknownFeatureError: The table has no such feature.
            UnknownEndpointError: The table has no such endpoint.
        """
        feature, streaming, cache_key, endpoint, fallbacks = key
        if not isinstance(feature, str):
            raise TypeError(f"a feature is named by a str, not by {type(feature).__name__}")
        snapshot = self.table.snapshot
        if snapshot.features[feature].embedding is not None:
            raise ValueError(f"{feature!r} is a feature of embeddings: use get_embeddings")
        if endpoint is not None and endpoint not in snapshot.endpoints:
            raise UnknownEndpointError(endpoint, feature, snapshot.endpoints)
        given: dict[str, Any] = {"streaming": True} if streaming else {}
        model = (self._model or self._import_models())(
            feature=feature,
            runtime=self.runtime,
            cache_key=cache_key,
            endpoint=endpoint,
            fallbacks=fallbacks,
            made_for=HOUSE,
            **given,
        )
        if len(self._models) >= MOST_MODELS:
            self._models.clear()
        return self._models.setdefault(key, model)

    def _missing_selectors(self, snapshot: TableSnapshot) -> tuple[str, ...]:
        found = TableProblems()
        for name, path in snapshot.custom_selector_paths.items():
            if name not in self._selectors:
                rule = "the application registers no such selector"
                fix = did_you_mean(name, self._selectors) or "Give it to Patchbay(selectors={…})."
                found.add(f"{path}.name", rule, value=name, fix=fix)
        return found.messages


def _explaining(observer: Observer) -> Callable[[Route, Attempt], None]:
    """``observer``, called with routes that explain themselves."""
    from .diagnostics.explain import Explanation

    return lambda route, attempt: observer(Explanation._make(route), attempt)
