"""The retirements of a table's models: which, when, and the features that use them."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model_config import Endpoint, Snapshot
    from ..models import Retirement


class Retires(BaseModel):
    """When the model of one endpoint retires, or retired, as counted from one day.

    Attributes:
        days: Days until the retirement; negative once it has passed.
        replacement: The model that the vendor recommends instead; None if it names none.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    day: date
    days: int
    replacement: str | None


class Retiring(Retires):
    """A model's retirement with the features and profiles that use it; both are empty if only the demo does."""

    features: tuple[str, ...]
    profiles: tuple[str, ...]


def retirement_as_of(endpoint: str, gone: Retirement, today: date) -> Retires:
    """Count the days from ``today`` to the retirement ``gone`` of the model of ``endpoint``."""
    return Retires(
        endpoint=endpoint, day=gone.day, days=(gone.day - today).days, replacement=gone.replacement
    )


def endpoint_uses(snapshot: Snapshot) -> Mapping[Endpoint, frozenset[tuple[str, str]]]:
    """Every endpoint of the table, with the pairs of feature and profile that use it; empty for the demo's."""
    found: dict[Endpoint, set[tuple[str, str]]] = defaultdict(set)
    for profile, served in snapshot.chains.items():
        for feature, chain in served.items():
            for endpoint in chain:
                found[endpoint].add((feature, profile))
    if snapshot.demo is not None:
        found[snapshot.demo].update()
    return {endpoint: frozenset(served) for endpoint, served in found.items()}


def retiring(snapshot: Snapshot, today: date) -> tuple[Retiring, ...]:
    """Every endpoint of the table, in any profile, whose model's retirement is announced or past; the earliest first."""
    found = [
        Retiring(
            **retirement_as_of(str(endpoint), gone, today).model_dump(),
            features=tuple(sorted({feature for feature, _ in served})),
            profiles=tuple(sorted({profile for _, profile in served})),
        )
        for endpoint, served in endpoint_uses(snapshot).items()
        if (gone := endpoint.retirement) is not None
    ]
    return tuple(sorted(found, key=lambda model: (model.day, model.endpoint)))


def next_retirement(chain: Iterable[Endpoint], today: date) -> Retires | None:
    """The first retirement of a model in ``chain``; None if none is announced."""
    found = (
        retirement_as_of(str(endpoint), gone, today)
        for endpoint in chain
        if (gone := endpoint.retirement) is not None
    )
    return min(found, key=lambda model: model.day, default=None)
