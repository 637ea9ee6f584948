"""Shell completion: names from the table in force that begin with what is typed; none if the table does not load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.utils.llm.model_config import TableSnapshot


def complete_features(incomplete: str) -> list[str]:
    """Complete the name of a feature: list the features in the table that begin with ``incomplete``."""
    return _beginning(incomplete, snapshot.features) if (snapshot := _snapshot()) else []


def complete_providers(incomplete: str) -> list[str]:
    """Complete the name of a provider: list the providers in the table that begin with ``incomplete``."""
    return _beginning(incomplete, snapshot.providers) if (snapshot := _snapshot()) else []


def complete_budgets(incomplete: str) -> list[str]:
    """Complete the name of a budget: list the budgets in the table that begin with ``incomplete``."""
    return _beginning(incomplete, snapshot.budgets) if (snapshot := _snapshot()) else []


def complete_endpoints(incomplete: str) -> list[str]:
    """Complete an endpoint: list the endpoints in the table, as ``provider:model``, that begin with ``incomplete``."""
    from backend.utils.llm.diagnostics.retirements import find_endpoint_uses

    return _beginning(incomplete, map(str, find_endpoint_uses(snapshot))) if (snapshot := _snapshot()) else []


def complete_models(incomplete: str) -> list[str]:
    """Complete a model: list the table's endpoints, and the catalogue's models, that begin with ``incomplete``."""
    from backend.utils.llm.models import FAMILIES

    return [*complete_endpoints(incomplete), *_beginning(incomplete, FAMILIES)]


def _snapshot() -> TableSnapshot | None:
    from backend.settings import read_environment
    from backend.utils.llm import Table
    from backend.utils.llm.errors import ConfigError

    try:
        return Table(environ=read_environment()).snapshot
    except ConfigError:
        return None


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
