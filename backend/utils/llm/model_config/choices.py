"""Checks the strategies of a document: every endpoint that they name exists, and no endpoint evades a choice by tier.

Names are compared as written, so that an endpoint that is wrong for another reason is not reported twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..problems import did_you_mean
from ..strategies import ORDERED, CostLadderStrategy, QuotaResetStrategy, TierStrategy
from .schema import FeatureRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..problems import TableProblems
    from ..strategies import SelectionStrategy
    from .rows import TableRows
    from .snapshot import Endpoint, EndpointChain

WHOLE = "a selection by tier must be the whole chain: what stands beside it is open to every tier"
NO_TIERS = "does not go with a selection by tier: it knows no tiers"


class StrategyChecker:
    """Checks the strategies (``select``) of one table document, and adds what is wrong to ``problems``.

    Args:
        rows: The rows of the document.
        layer: The configuration layer of the document, as problems name it.
        problems: Collects the findings.
    """

    def __init__(self, rows: TableRows, layer: str, problems: TableProblems) -> None:
        self._rows = rows
        self._layer = layer
        self._problems = problems

    # Groups ----------------------------------------------------------------------------------------------------------

    def check_group(self, name: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Check the strategy of the group ``name`` against its valid ``endpoints``."""
        row, path = self._rows.groups[name], f"groups.{name}.select"
        self._check_names(path, row.select, [frozenset(row.endpoints)])
        if len(endpoints) == len(row.endpoints):
            self._check_quota(path, row.select, endpoints)
        next_group = self._rows.groups.get(row.then or "")
        if row.then and any(isinstance(group.select, TierStrategy) for group in (row, next_group) if group):
            self._add(f"groups.{name}.then", WHOLE, value=row.then)

    # Features --------------------------------------------------------------------------------------------------------

    def check_feature(self, name: str, chains: Iterable[EndpointChain]) -> None:
        """Check the strategy of the feature ``name`` against each of its ``chains`` in the document."""
        row, path = self._row(name), f"features.{name}.select"
        chains = list({chain.path: chain for chain in chains}.values())
        own = [chain.direct_endpoint_names for chain in chains]
        if row.select != ORDERED and chains and not any(own):
            rule = "the feature has no endpoints of its own to choose from"
            self._add(path, rule, fix="Write it at the group.")
        elif chains:
            self._check_names(path, row.select, own)
            if all(len(chain.direct_endpoint_names) == len(_of_the_feature(chain)) for chain in chains):
                self._check_quota(
                    path, row.select, [endpoint for chain in chains for endpoint in _of_the_feature(chain)]
                )
        for chain in chains:
            self._check_chain(name, chain)
            self._check_tiers_are_served(f"{path}.tiers", row.select, chain)
        self._check_settings(name, chains)

    def check_override(
        self, name: str, chain: EndpointChain, file_chains: Iterable[EndpointChain], layer: str
    ) -> None:
        """Check the ``chain`` that an override in the configuration layer ``layer`` sets for the feature ``name``.

        ``file_chains`` are the feature's chains in the file, which the override replaces.
        """
        select, value = self._row(name).select, ", ".join(chain.links)
        missing = ", ".join(map(repr, sorted(_named(select) - chain.direct_endpoint_names)))
        place = f"features.{name}.select"
        if missing:
            rule, fix = (
                f"{place} names {missing}, which is not here",
                "Name the same endpoints, or change the table.",
            )
            self._problems.add(chain.path, rule, value=value, layer=layer, fix=fix)
        if isinstance(select, TierStrategy):
            for unlisted in sorted(chain.direct_endpoint_names - _named(select)):
                rule = f"{place} lets no tier use {unlisted!r}"
                self._problems.add(chain.path, rule, value=value, layer=layer)
        if any(map(_goes_by_tier, file_chains)) and not _goes_by_tier(chain):
            rule = "the table serves this feature by tier, and this would be open to every tier"
            fix = "Name the group that chooses by tier, or change the table."
            self._problems.add(chain.path, rule, value=value, layer=layer, fix=fix)
        self._check_chain(name, chain)
        self._check_settings(name, [chain])

    def _check_chain(self, name: str, chain: EndpointChain) -> None:
        """Check that nothing stands beside a selection by tier, because every tier could use it."""
        groups = [
            self._rows.groups.get(link.removeprefix("group:"))
            for link in chain.links
            if link not in chain.direct_endpoint_names
        ]
        is_by_tier = isinstance(self._row(name).select, TierStrategy)
        if (is_by_tier and groups) or (len(chain.links) > 1 and any(_is_by_tier(group) for group in groups)):
            self._problems.add(chain.path, WHOLE, value=", ".join(chain.links), layer=chain.layer)

    def _check_tiers_are_served(self, path: str, select: SelectionStrategy, chain: EndpointChain) -> None:
        """Check that no profile leaves a tier without an endpoint."""
        if not isinstance(select, TierStrategy) or not chain.direct_endpoint_names:
            return
        for tier, allowed in select.tiers.items():
            if not chain.direct_endpoint_names.intersection(allowed.endpoints):
                self._add(
                    f"{path}.{tier}", f"none of its endpoints is in {chain.path}, so nothing serves it there"
                )

    def _check_settings(self, name: str, chains: list[EndpointChain]) -> None:
        """Check the settings beside a feature's selection, and those that conflict with it."""
        row, selections = self._row(name), [tier.select for chain in chains for tier in chain.tiers]
        if any(isinstance(select, TierStrategy) for select in selections):
            for key in ("split", "shadow"):
                if getattr(row, key):
                    self._add(f"features.{name}.{key}", NO_TIERS)
        if row.on_invalid_output == "raise" and any(
            isinstance(select, CostLadderStrategy) for select in selections
        ):
            rule, fix = "a ladder by cost climbs after such an answer", 'Write "next", or leave it out.'
            self._add(f"features.{name}.on_invalid_output", rule, value="raise", fix=fix)
        if "stop" in row.model_fields_set and not row.split:
            self._add(f"features.{name}.stop", "there is no split to stop")

    # Selections ------------------------------------------------------------------------------------------------------

    def _check_names(self, path: str, select: SelectionStrategy, choices: list[frozenset[str]]) -> None:
        """Check that every endpoint that ``select`` names is one of its ``choices``; by tier also the reverse."""
        known = frozenset[str]().union(*choices)
        for where, named in select.endpoints_in_settings():
            if named not in known:
                fix = did_you_mean(named, known)
                self._add(f"{path}.{where}", f"{named!r} is none of the endpoints here", fix=fix)
        if not isinstance(select, TierStrategy):
            return
        if select.default not in select.tiers:
            fix = did_you_mean(select.default, select.tiers)
            self._add(f"{path}.default", "there is no such tier", value=select.default, fix=fix)
        for unused in sorted(known - _named(select)):
            fix = "Give it to a tier, or take it out of the chain."
            self._add(f"{path}.tiers", f"no tier may use {unused!r}", fix=fix)

    def _check_quota(self, path: str, select: SelectionStrategy, endpoints: Iterable[Endpoint]) -> None:
        if isinstance(select, QuotaResetStrategy) and not any(_has_quota(endpoint) for endpoint in endpoints):
            rule = "nothing here has a limit per day or month, so there is no quota to go by"
            fix = 'Write one at a provider or an account: limits = { tokens = "1000000/day" }.'
            self._add(path, rule, fix=fix)

    def _row(self, feature: str) -> FeatureRow:
        return self._rows.features.get(feature, FeatureRow())

    def _add(self, path: str, rule: str, *, value: object = None, fix: str = "") -> None:
        self._problems.add(path, rule, value=value, layer=self._layer, fix=fix)


def _named(select: SelectionStrategy) -> frozenset[str]:
    return frozenset(name for _, name in select.endpoints_in_settings())


def _is_by_tier(group: object) -> bool:
    return isinstance(getattr(group, "select", None), TierStrategy)


def _goes_by_tier(chain: EndpointChain) -> bool:
    return any(isinstance(tier.select, TierStrategy) for tier in chain.tiers)


def _of_the_feature(chain: EndpointChain) -> list[Endpoint]:
    return [endpoint for tier in chain.tiers if tier.group is None for endpoint in tier.endpoints]


def _has_quota(endpoint: Endpoint) -> bool:
    provider = endpoint.provider
    held = [
        provider.limits,
        provider.user_limits,
        endpoint.limits,
        *(account.limits for account in provider.accounts),
    ]
    return any(rate.is_calendar_quota for limits in held for rate in (*limits.requests, *limits.tokens))
