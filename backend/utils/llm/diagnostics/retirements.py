"""The retirements of a table's models: which, when, and the features that use them."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..model_config import Endpoint, TableSnapshot
    from ..models import ModelRetirement


class EndpointRetirement(BaseModel):
    """The day on which the model of one endpoint retires or retired.

    Attributes:
        days: Days from today until the retirement; negative once it has passed.
        replacement: The model that the vendor recommends instead; None if it names none.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    day: date
    days: int
    replacement: str | None


class RetirementImpact(EndpointRetirement):
    """The retirement of an endpoint's model, with the features and profiles that use the endpoint.

    ``features`` and ``profiles`` are empty if only the demo uses the endpoint.
    """

    features: tuple[str, ...]
    profiles: tuple[str, ...]


def make_endpoint_retirement(endpoint: str, retirement: ModelRetirement, today: date) -> EndpointRetirement:
    """Combine ``endpoint`` with the ``retirement`` of its model, and count the days from ``today``."""
    return EndpointRetirement(
        endpoint=endpoint,
        day=retirement.day,
        days=(retirement.day - today).days,
        replacement=retirement.replacement,
    )


def find_endpoint_uses(snapshot: TableSnapshot) -> Mapping[Endpoint, frozenset[tuple[str, str]]]:
    """Map each endpoint of the table to the pairs of feature and profile that use it; none if only the demo does."""
    found: dict[Endpoint, set[tuple[str, str]]] = defaultdict(set)
    for profile, served in snapshot.chains.items():
        for feature, chain in served.items():
            for endpoint in chain:
                found[endpoint].add((feature, profile))
    if snapshot.demo is not None:
        found[snapshot.demo].update()
    return {endpoint: frozenset(served) for endpoint, served in found.items()}


def list_retirement_impacts(snapshot: TableSnapshot, today: date) -> tuple[RetirementImpact, ...]:
    """List the endpoints of the table whose model's retirement is announced or past; the earliest first."""
    found = [
        RetirementImpact(
            **make_endpoint_retirement(str(endpoint), gone, today).model_dump(),
            features=tuple(sorted({feature for feature, _ in served})),
            profiles=tuple(sorted({profile for _, profile in served})),
        )
        for endpoint, served in find_endpoint_uses(snapshot).items()
        if (gone := endpoint.retirement) is not None
    ]
    return tuple(sorted(found, key=lambda model: (model.day, model.endpoint)))


def find_next_retirement(chain: Iterable[Endpoint], today: date) -> EndpointRetirement | None:
    """The earliest retirement of a model in ``chain``; None if none is announced."""
    found = (
        make_endpoint_retirement(str(endpoint), gone, today)
        for endpoint in chain
        if (gone := endpoint.retirement) is not None
    )
    return min(found, key=lambda model: model.day, default=None)
