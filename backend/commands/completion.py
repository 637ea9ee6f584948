"""Shell completion: names from the table in force that begin with what is typed; none if the table does not load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.utils.llm.model_config import Snapshot


def features(incomplete: str) -> list[str]:
    """Names of features that begin with ``incomplete``."""
    return _beginning(incomplete, snapshot.features) if (snapshot := _snapshot()) else []


def providers(incomplete: str) -> list[str]:
    """Names of providers that begin with ``incomplete``."""
    return _beginning(incomplete, snapshot.providers) if (snapshot := _snapshot()) else []


def budgets(incomplete: str) -> list[str]:
    """Names of budgets that begin with ``incomplete``."""
    return _beginning(incomplete, snapshot.budgets) if (snapshot := _snapshot()) else []


def endpoints(incomplete: str) -> list[str]:
    """Endpoints, ``provider:model``, that begin with ``incomplete``."""
    from backend.utils.llm.diagnostics.retirements import endpoint_uses

    return _beginning(incomplete, map(str, endpoint_uses(snapshot))) if (snapshot := _snapshot()) else []


def models(incomplete: str) -> list[str]:
    """Endpoints of the table and names of models that begin with ``incomplete``."""
    from backend.utils.llm.models import FAMILIES

    return [*endpoints(incomplete), *_beginning(incomplete, FAMILIES)]


def _snapshot() -> Snapshot | None:
    from backend.settings import environment
    from backend.utils.llm import Table
    from backend.utils.llm.errors import ConfigError

    try:
        return Table(environ=environment()).snapshot
    except ConfigError:
        return None


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
