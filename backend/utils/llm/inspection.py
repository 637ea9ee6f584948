"""Reports of a `Patchbay` about its table, its routing and the state of its endpoints. Nothing is sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from .caller import HOUSE, current_caller, ensure_caller
from .network_policy import make_network_policy

if TYPE_CHECKING:
    from datetime import date

    from .caller import Caller
    from .clock import Time
    from .diagnostics.explain import Explanation
    from .diagnostics.models import ModelInfo
    from .diagnostics.qos import CachedTableInfo, QosInfo
    from .model_config import Endpoint, Table, TableSnapshot
    from .routing.route import Needs
    from .state.budget_store import BudgetStore
    from .state.health import HealthTracker


class PatchbayInspection(ABC):
    """The part of a `Patchbay` that reports on its table and endpoints, and explains how calls are served."""

    table: Table
    _time: Time
    _table_info: CachedTableInfo | None = None

    @property
    @abstractmethod
    def health(self) -> HealthTracker:
        """The tracker of the health of endpoints and keys, such as cooldowns, and of rate limits."""

    @property
    @abstractmethod
    def budgets(self) -> BudgetStore:
        """The store of budget counters."""

    @property
    def demo_active(self) -> bool:
        """Whether the demo model serves callers without own keys, because no other provider of the table could."""
        return self.table.snapshot.demo_active

    def get_model(self, feature: str) -> str:
        """The model that is tried first for a caller without own keys; see `clients.get_model`."""
        return self._first(feature).model

    def get_provider(self, feature: str) -> str:
        """The provider that is tried first for a caller without own keys; see `clients.get_provider`."""
        return self._first(feature).provider.name

    def declared_needs(self, feature: str) -> Needs:
        """The abilities, such as tools or images, that the table declares for all calls of ``feature``.

        Raises:
            UnknownFeatureError: The table has no such feature.
        """
        from .routing.route import Needs

        return Needs.from_feature(self.table.snapshot.features[feature])

    def explain(
        self,
        feature: str,
        *,
        caller: Caller | None = None,
        needs: Needs | None = None,
        balances: bool = True,
    ) -> Explanation:
        """Explain how a call made now would be served. See `clients.explain`.

        Args:
            feature: A name in the table.
            caller: The caller of the call; by default the caller of the context.
            needs: The needs of the call; by default those that the feature's row declares.
            balances: Whether to read what is left of budgets, which blocks if their store is not in memory.
        """
        from .diagnostics.balances import apply_remaining_budgets

        route = self._planned(feature, caller, needs)
        if not balances:
            return route
        return apply_remaining_budgets(
            route, self.table.snapshot, self.budgets, self.health, self._time.now()
        )

    def _planned(
        self,
        feature: str,
        caller: Caller | None,
        needs: Needs | None = None,
        snapshot: TableSnapshot | None = None,
    ) -> Explanation:
        """How a call would be served whose budgets all have enough left."""
        from .diagnostics.explain import Explanation
        from .routing.plan import plan_route
        from .routing.route import Needs

        snapshot = snapshot or self.table.snapshot
        route = Explanation._make(
            plan_route(
                snapshot,
                feature,
                ensure_caller(caller or current_caller()),
                needs or Needs.from_feature(snapshot.features[feature]),
                today=self._today(),
                health=self.health,
            )
        )
        return route._replace(notice=self.health.describe_sharing_problem())

    def get_qos_info(self) -> QosInfo:
        """The table in force and the state of its endpoints in this process, JSON-ready, without secrets.

        Information from the table alone is cached. A feature is planned anew, in about 30 µs, if it has limits,
        endpoints on cooldown, or a strategy by load or latency. With many such features, call this in a thread.
        """
        from .diagnostics.qos import make_qos_info

        info, self._table_info = make_qos_info(
            self.table, self._table_info, self._planned, self.health, self._time.now()
        )
        return info

    def get_models(self) -> tuple[ModelInfo, ...]:
        """The models of the table, with abilities, prices, retirement dates, and the features that use them."""
        from .diagnostics.models import make_model_infos

        return make_model_infos(self.table.snapshot, self._today())

    def chat_models(self) -> dict[str, str]:
        """List the names that `get_llm` accepts, each with its description: features, then groups."""
        features = self.table.snapshot.features
        named = {**features, **features.groups}
        return {name: feature.about for name, feature in named.items() if feature.embedding is None}

    def has_chat_model(self, name: str) -> bool:
        """Whether ``name`` is a chat feature or a group, so that `get_llm` accepts it."""
        features = self.table.snapshot.features
        found = features.get(name) or features.groups.get(name)
        return found is not None and found.embedding is None

    def fault_of(self, base_url: str) -> str | None:
        """Explain why a caller's own endpoint may not have ``base_url``; None if it may. Does no DNS lookup."""
        return make_network_policy(base_url, self.table.snapshot.private_networks).find_url_problem(base_url)

    def _today(self) -> date:
        return self._time.now().date()

    def _first(self, feature: str) -> Endpoint:
        route = self._planned(feature, HOUSE)
        if (refusal := route.expected_error()) is not None:
            raise refusal
        return route.candidates[0].endpoint
