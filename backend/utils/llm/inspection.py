"""The answers of a `Patchbay` about its table and the state of its endpoints, for which nothing is sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from .caller import HOUSE, checked_caller, current_caller
from .network_policy import network_policy_for

if TYPE_CHECKING:
    from datetime import date

    from .caller import Caller
    from .clock import Time
    from .diagnostics.explain import Explanation
    from .diagnostics.models import ModelInfo
    from .diagnostics.qos import QosInfo, TableInfo
    from .model_config import Endpoint, Snapshot, Table
    from .routing.route import Needs
    from .state.budget_store import BudgetStore
    from .state.health import Health


class Inspection(ABC):
    """The part of a `Patchbay` that tells who would serve its features, and why."""

    table: Table
    _time: Time
    _table_info: TableInfo | None = None

    @property
    @abstractmethod
    def health(self) -> Health:
        """The health of the endpoints."""

    @property
    @abstractmethod
    def budgets(self) -> BudgetStore:
        """The counters of budgets."""

    @property
    def demo_active(self) -> bool:
        """Whether the demo model serves calls without own keys; see `Snapshot.demo_active`."""
        return self.table.snapshot.demo_active

    def get_model(self, feature: str) -> str:
        """The model that a call of ``feature`` without own keys tries first; see `clients.get_model`."""
        return self._first(feature).model

    def get_provider(self, feature: str) -> str:
        """The provider that a call of ``feature`` without own keys tries first; see `clients.get_provider`."""
        return self._first(feature).provider.name

    def declared_needs(self, feature: str) -> Needs:
        """The needs that the row of ``feature`` declares for each of its calls.

        Raises:
            UnknownFeatureError: The table has no such feature.
        """
        from .routing.route import Needs

        return Needs.declared(self.table.snapshot.features[feature])

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
            balances: Whether to read what is left of budgets, which blocks if their store is on a disk or a network.
        """
        from .diagnostics.balances import with_balances

        route = self._planned(feature, caller, needs)
        if not balances:
            return route
        return with_balances(route, self.table.snapshot, self.budgets, self.health, self._time.now())

    def _planned(
        self,
        feature: str,
        caller: Caller | None,
        needs: Needs | None = None,
        snapshot: Snapshot | None = None,
    ) -> Explanation:
        """How a call would be served whose budgets all have enough left."""
        from .diagnostics.explain import Explanation
        from .routing.plan import plan
        from .routing.route import Needs

        snapshot = snapshot or self.table.snapshot
        route = Explanation._make(
            plan(
                snapshot,
                feature,
                checked_caller(caller or current_caller()),
                needs or Needs.declared(snapshot.features[feature]),
                today=self._today(),
                health=self.health,
            )
        )
        return route._replace(notice=self.health.notice())

    def get_qos_info(self) -> QosInfo:
        """The table in force and the state of its endpoints in this process, JSON-ready, without secrets.

        What depends on the table alone is cached. A feature with limits, with resting endpoints, or with endpoints chosen
        by load or latency is planned anew, which takes about 30 µs: call this in a thread if there are many.
        """
        from .diagnostics.qos import qos_info

        info, self._table_info = qos_info(
            self.table, self._table_info, self._planned, self.health, self._time.now()
        )
        return info

    def get_models(self) -> tuple[ModelInfo, ...]:
        """The models of the table, with abilities, prices, retirement dates, and the features that use them."""
        from .diagnostics.models import model_infos

        return model_infos(self.table.snapshot, self._today())

    def chat_models(self) -> dict[str, str]:
        """The names that `get_llm` takes, each with its description: features, then groups."""
        features = self.table.snapshot.features
        named = {**features, **features.groups}
        return {name: one.about for name, one in named.items() if one.embedding is None}

    def has_chat_model(self, name: str) -> bool:
        """Whether `get_llm` takes ``name``."""
        features = self.table.snapshot.features
        found = features.get(name) or features.groups.get(name)
        return found is not None and found.embedding is None

    def fault_of(self, base_url: str) -> str | None:
        """Why a caller's own endpoint may not have ``base_url``; None if it may, as far as that shows without DNS."""
        return network_policy_for(base_url, self.table.snapshot.private_networks).fault(base_url)

    def _today(self) -> date:
        return self._time.now().date()

    def _first(self, feature: str) -> Endpoint:
        route = self._planned(feature, HOUSE)
        if (refusal := route.refusal()) is not None:
            raise refusal
        return route.candidates[0].endpoint
