"""Resolves the rows of a table: names become endpoints, profiles become chains, and overrides are applied.

Resolving goes on after each problem, so that one report holds all problems.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby
from math import fsum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..budgets import Budget
from ..models import BY_NAME, GRAMMAR, LACKS, Capabilities, find_capabilities, find_vendor
from ..problems import TableProblems, did_you_mean
from ..strategies import ORDERED, TierStrategy
from .choices import StrategyChecker
from .overrides import LAYER
from .schema import FeatureRow, ModelRow, ProviderRow
from .snapshot import (
    OWN,
    Access,
    ChainTier,
    Endpoint,
    EndpointChain,
    Feature,
    HouseAccount,
    Provider,
    TrafficShare,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..models import ModelVendor
    from ..options import Options
    from ..strategies import SelectionStrategy
    from .overrides import Override
    from .rows import TableRows

DEFAULT_BASE_URL = {
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
    "anthropic": "https://api.anthropic.com",
}
PROFILE_OVERRIDE = "MODEL_QOS"
FEATURE_OVERRIDE = "LLM_FEATURE_"
_WHOLE = 100


class TableResolver:
    """Resolves the valid rows of a table document into the parts of a `TableSnapshot`.

    Attributes:
        profile: The profile for calls that the operator pays for.
        profile_layer: The configuration layer that chose ``profile``.
        features: Every feature that the table names.
        budgets: The budgets by name, in the order in which their counters are locked.
        step_down_to: For each profile the next cheaper profile, if it has one.
        chains: Profile to feature to chain, with pins, stored overrides and the environment applied.
        demo: The endpoint that serves while the operator has no key; None without.
        disabled: The endpoints that a stored override removes from every chain.
    """

    def __init__(
        self,
        rows: TableRows,
        environ: Mapping[str, str],
        layer: str,
        problems: TableProblems,
        stored: Sequence[Override] = (),
    ) -> None:
        self._rows = rows
        self._environ = environ
        self._layer = layer
        self._problems = problems
        self.providers = {name: _provider(name, row) for name, row in rows.providers.items()}
        self._check_providers()
        self.profile, self.profile_layer = self._house_profile()
        self.byok_profile = self._byok_profile()
        self.step_down_to = self._steps_down()
        self.budgets = self._budgets()
        self._check_lineages()
        self._check_groups()
        own = {name: self._profile_chains(name) for name in rows.profiles}
        self.features = self._features(own)
        self._check_complete(own)
        self._check_budgets()
        written = {profile: {**served, **self._pins()} for profile, served in own.items()}
        laid_over, from_environment = self._stored(stored), self._environment()
        self.chains = {
            profile: {**served, **laid_over, **from_environment} for profile, served in written.items()
        }
        self.groups = self._group_chains()
        self._check_endpoints()
        self._check_choices(written, {LAYER: laid_over, "environment": from_environment})
        self.demo = self._endpoint(rows.head.demo, "demo", layer) if rows.head.demo else None
        self._note_overrides(override for override in stored if override.subject not in from_environment)
        self.disabled = self._disabled(override for override in stored if not override.links)

    def _check_providers(self) -> None:
        for name in self._rows.names["providers"]:
            self._check_spelling(f"providers.{name}", name, "provider")
            if name == OWN:
                rule = "is what endpoints are called that callers bring"
                self._problems.add(f"providers.{name}", rule, layer=self._layer, fix="Choose another name.")
        for name, row in self._rows.providers.items():
            for account in row.accounts:
                self._check_spelling(f"providers.{name}.accounts.{account}", account, "account")
            if row.accounts and row.api_key_env:
                rule = "a provider has one key or several accounts, not both"
                fix = "Make the one key an account."
                self._problems.add(f"providers.{name}.api_key_env", rule, layer=self._layer, fix=fix)
            self._check_keys_differ(name, row)

    def _check_keys_differ(self, name: str, row: ProviderRow) -> None:
        """Check that accounts have different keys: two with the same key would have separate counts, and rest together."""
        first: dict[str, str] = {}
        for account, own in row.accounts.items():
            if (other := first.setdefault(own.api_key_env, account)) != account:
                path = f"providers.{name}.accounts.{account}.api_key_env"
                rule = f"is the key of the account {other!r} already"
                self._problems.add(path, rule, value=own.api_key_env, layer=self._layer)

    def _check_spelling(self, path: str, name: str, what: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            rule = (
                f"{'an' if what[0] == 'a' else 'a'} {what} is named by a-z, 0-9, _ and -, with a letter first"
            )
            self._problems.add(path, rule, layer=self._layer)

    # Profiles and groups -------------------------------------------------------------------------------------------

    def _house_profile(self) -> tuple[str, str]:
        head = self._rows.head
        chosen = self._environ.get(PROFILE_OVERRIDE, "").strip().lower()
        name, path, layer = (
            (chosen, PROFILE_OVERRIDE, "environment") if chosen else (head.profile, "profile", self._layer)
        )
        self._check_name("profiles", name, path, layer)
        return name, layer

    def _byok_profile(self) -> str:
        """The profile named for callers with keys; else ``byok``; else, without such a profile, the house's."""
        if (name := self._rows.head.byok_profile) is not None:
            self._check_name("profiles", name, "byok_profile", self._layer)
            return name
        return "byok" if "byok" in self._rows.profiles else self.profile

    def _check_lineages(self) -> None:
        for name, row in self._rows.profiles.items():
            if row.then is not None:
                self._check_name("groups", row.then, f"profiles.{name}.then", self._layer)
            if row.extends is not None:
                self._check_name("profiles", row.extends, f"profiles.{name}.extends", self._layer)
            if row.step_down_to is not None:
                self._check_name("profiles", row.step_down_to, f"profiles.{name}.step_down_to", self._layer)
            self._check_circle(f"profiles.{name}.extends", name, self._parent)
            self._check_circle(f"profiles.{name}.step_down_to", name, self.step_down_to.get)

    def _check_groups(self) -> None:
        for name, row in self._rows.groups.items():
            if row.then is not None:
                self._check_name("groups", row.then, f"groups.{name}.then", self._layer)
            self._check_circle(f"groups.{name}.then", name, self._next_group)
            self._group_endpoints(name)
        for name in sorted(self._rows.names["groups"] - self._used_groups()):
            rule = "no profile, pin or group leads here"
            self._problems.add(f"groups.{name}", rule, layer=self._layer, fix="Use it or delete it.")
        for written in self._rows.models:
            path = f"models.{written}"
            endpoint = self._endpoint(written, path, self._layer)
            if endpoint is not None:
                self._check_model(path, endpoint)

    def _check_model(self, path: str, endpoint: Endpoint) -> None:
        if endpoint.api_mode != "chat" and endpoint.provider.api != "openai":
            rule = f"the {endpoint.provider.api} API has one mode only"
            self._problems.add(f"{path}.api_mode", rule, value=endpoint.api_mode, layer=self._layer)
        if endpoint.price is not None and endpoint.billed_as is not None:
            rule, fix = "it has a price already", "Write one of the two."
            self._problems.add(
                f"{path}.priced_as", rule, value=endpoint.billed_as, layer=self._layer, fix=fix
            )
        self._check_options(f"{path}.options", endpoint.options, endpoint)

    def _check_name(self, section: str, name: str, path: str, layer: str) -> None:
        known = self._rows.names[section]
        if name not in known:
            rule = f"there is no such {section.removesuffix('s')}"
            self._problems.add(path, rule, value=name, layer=layer, fix=did_you_mean(name, known))

    def _check_circle(self, path: str, start: str, follow: Callable[[str], str | None]) -> None:
        chain = [start]
        while (successor := follow(chain[-1])) is not None and successor not in chain:
            chain.append(successor)
        if successor == start:
            self._problems.add(
                path, f"goes round in a circle: {' → '.join([*chain, start])}", layer=self._layer
            )

    def _parent(self, profile: str) -> str | None:
        row = self._rows.profiles.get(profile)
        return row.extends if row else None

    def _next_group(self, group: str) -> str | None:
        row = self._rows.groups.get(group)
        return row.then if row else None

    def _used_groups(self) -> frozenset[str]:
        chains = [links for row in self._rows.profiles.values() for links in row.chains.values()]
        chains += [row.pin for row in self._rows.features.values() if row.pin]
        named = {
            link.removeprefix("group:") for links in chains for link in links if link.startswith("group:")
        }
        groups, profiles = self._rows.groups.values(), self._rows.profiles.values()
        behind = [row.then for row in groups] + [row.then for row in profiles]
        return frozenset(named | {group for group in behind if group})

    # Chains --------------------------------------------------------------------------------------------------------

    def _profile_chains(self, name: str) -> dict[str, EndpointChain]:
        chains: dict[str, EndpointChain] = {}
        for ancestor in reversed(_walk(name, self._parent)):
            layer = self._layer if ancestor == name else f"{self._layer}, profile {ancestor}"
            row = self._rows.profiles.get(ancestor)
            for feature, links in (row.chains if row else {}).items():
                chains[feature] = self._chain(feature, links, f"profiles.{ancestor}.{feature}", layer)
        behind = list(self._behind(name))
        return {feature: _with_behind(chain, behind) for feature, chain in chains.items()}

    def _behind(self, profile: str) -> Iterator[ChainTier]:
        """The tiers after every chain of ``profile``: those of the group named by it, or by the nearest profile it inherits from."""
        for ancestor in _walk(profile, self._parent):
            row = self._rows.profiles.get(ancestor)
            if row is not None and row.then is not None:
                for group in _walk(row.then, self._next_group) if row.then in self._rows.groups else ():
                    yield ChainTier(
                        self._group_endpoints(group), group=group, select=self._rows.groups[group].select
                    )
                return

    def _chain(self, feature: str, links: tuple[str, ...], path: str, layer: str) -> EndpointChain:
        row = self._rows.features.get(feature, FeatureRow())
        tiers = tuple(tier for link in links for tier in self._tiers(link, path, layer))
        if row.embedding is not None:
            self._check_embeddings(feature, tiers, path, layer)
            tiers = tuple(map(_for_embeddings, tiers))
        if row.select != ORDERED:
            tiers = tuple(_gathered(tiers, row.select))
        return EndpointChain(tiers, layer, path, links)

    def _check_embeddings(self, feature: str, tiers: Iterable[ChainTier], path: str, layer: str) -> None:
        """Check that a single model serves embeddings: vectors of different models cannot be compared, and stored ones remain."""
        wanted = self._rows.features[feature].embedding
        assert wanted is not None  # noqa: S101 - asked for only then
        for endpoint in (endpoint for tier in tiers for endpoint in tier.endpoints):
            if endpoint.provider.api not in {"openai", "gemini"}:
                rule = f"the {endpoint.provider.api} API has no embeddings"
                self._problems.add(path, rule, value=str(endpoint), layer=layer)
            elif endpoint.model.rpartition("/")[2] != wanted.model:
                rule = f"features.{feature}.embedding.model is {wanted.model!r}, and vectors of two models cannot be compared"
                fix = "Change both, and make all stored vectors anew."
                self._problems.add(path, rule, value=str(endpoint), layer=layer, fix=fix)

    def _tiers(self, link: str, path: str, layer: str) -> Iterator[ChainTier]:
        if link.startswith("group:"):
            name = link.removeprefix("group:")
            self._check_name("groups", name, path, layer)
            for group in _walk(name, self._next_group):
                row = self._rows.groups.get(group)
                yield ChainTier(
                    self._group_endpoints(group), group=group, select=row.select if row else ORDERED
                )
        elif endpoint := self._endpoint(link, path, layer):
            yield ChainTier((endpoint,))

    def _group_endpoints(self, group: str) -> tuple[Endpoint, ...]:
        row = self._rows.groups.get(group)
        links = enumerate(row.endpoints if row else ())
        found = (self._endpoint(link, f"groups.{group}.endpoints.{at}", self._layer) for at, link in links)
        return tuple(endpoint for endpoint in found if endpoint)

    def _endpoint(self, written: str, path: str, layer: str) -> Endpoint | None:
        name, _, model = written.partition(":")
        if name == "group":
            self._problems.add(path, "must be an endpoint, not a group", value=written, layer=layer)
            return None
        if not (name and model):
            self._problems.add(path, "an endpoint is written provider:model", value=written, layer=layer)
            return None
        if name not in self._rows.names["providers"]:
            fix = did_you_mean(name, self._rows.names["providers"])
            self._problems.add(path, f"there is no provider {name!r}", value=written, layer=layer, fix=fix)
        provider = self.providers.get(name)
        row = self._rows.models.get(written, ModelRow())
        declared = row.model_dump(include=set(Capabilities.model_fields), exclude_none=True)
        if row.context_window is not None:
            declared.setdefault(
                "max_input", None
            )  # what the catalogue says belongs to the window that it says
        if provider is None:
            return None
        here = (
            provider.vendor.model_capabilities(model, row.api_mode)
            if provider.api == "openai"
            else find_capabilities(model)
        )
        can = here.model_copy(update=declared)
        return Endpoint(
            provider,
            model,
            can,
            api_mode=row.api_mode,
            attempts=row.attempts,
            options=row.options,
            limits=row.limits,
            price=row.price,
            billed_as=row.priced_as,
            extra_body=row.extra_body,
        )

    # Budgets ---------------------------------------------------------------------------------------------------------

    def _steps_down(self) -> dict[str, str]:
        rows = self._rows.profiles.items()
        return {name: row.step_down_to for name, row in rows if row.step_down_to is not None}

    def _budgets(self) -> dict[str, Budget]:
        """The budgets by name. If no profile in force has a cheaper one, no budget steps down."""
        in_force = {self.profile, self.byok_profile}
        can_step_down = not in_force.isdisjoint(self.step_down_to)
        found = [
            Budget.from_row(
                name, row if can_step_down else row.model_copy(update={"step_down_at": None}), self._layer
            )
            for name, row in self._rows.budgets.items()
        ]
        return {budget.name: budget for budget in sorted(found, key=lambda budget: budget.lock_order_key)}

    def _check_budgets(self) -> None:
        for name in self._rows.names["budgets"]:
            self._check_spelling(f"budgets.{name}", name, "budget")
        for budget in self.budgets.values():
            for feature in budget.features:
                if feature not in self.features:
                    fix = did_you_mean(feature, self.features)
                    path, rule = f"budgets.{budget.name}.features", "there is no such feature"
                    self._problems.add(path, rule, value=feature, layer=self._layer, fix=fix)
        for name, row in self._rows.budgets.items():
            if row.step_down_at is not None and not self.step_down_to:
                rule = "no profile says which one is below it"
                fix = f'Write step_down_to = "…" in [profiles.{self.profile}].'
                path = f"budgets.{name}.step_down_at"
                self._problems.add(path, rule, value=row.step_down_at, layer=self._layer, fix=fix)

    # Features ------------------------------------------------------------------------------------------------------

    def make_group_feature(self, name: str) -> Feature:
        """Make a `Feature` with default settings for the group ``name``, because calls may name a group, too."""
        budgets = tuple(budget for budget in self.budgets.values() if budget.covers_feature(name))
        return Feature(
            name=name, about=f"the group {name.removeprefix('group:')}", budgets=budgets, layer=self._layer
        )

    def _group_chains(self) -> dict[str, EndpointChain]:
        """The chains of calls by ``group:NAME``. Groups for embeddings are left out: they are called by their feature only."""
        for_vectors = {
            tier.group
            for served in self.chains.values()
            for feature, chain in served.items()
            if self._rows.features.get(feature, FeatureRow()).embedding is not None
            for tier in chain.tiers
        }
        links = [f"group:{name}" for name in self._rows.groups if name not in for_vectors]
        return {
            link: EndpointChain(tuple(self._tiers(link, link, self._layer)), self._layer, link, (link,))
            for link in links
        }

    def _features(self, chains: Mapping[str, Mapping[str, EndpointChain]]) -> dict[str, Feature]:
        served = {feature for profile in chains.values() for feature in profile}
        pinned = {name for name, row in self._rows.features.items() if row.pin}
        return {name: self._feature(name) for name in sorted(served | pinned)}

    def _feature(self, name: str) -> Feature:
        row = self._rows.features.get(name, FeatureRow())
        as_written = FeatureRow.model_fields.keys() - {"pin", "select", "split", "shadow"}
        if (whole := fsum(row.split.values())) > _WHOLE:
            rule, fix = (
                f"is {whole:g} percent in all, more than 100",
                "Lower the shares; what they leave is the control's.",
            )
            self._problems.add(f"features.{name}.split", rule, layer=self._layer, fix=fix)
        for provider in row.extra_body:
            self._check_name("providers", provider, f"features.{name}.extra_body.{provider}", self._layer)
        for key in ("split", "shadow", "tools", "structured_output", "images", "audio", "video", "pdf"):
            if row.embedding is not None and getattr(row, key):
                self._problems.add(f"features.{name}.{key}", "does not go with embeddings", layer=self._layer)
        return Feature(
            name=name,
            budgets=tuple(budget for budget in self.budgets.values() if budget.covers_feature(name)),
            split=self._shares(row.split, f"features.{name}.split"),
            shadow=self._shares(row.shadow, f"features.{name}.shadow"),
            written=frozenset(row.model_fields_set),
            layer=self._layer,
            **{key: getattr(row, key) for key in as_written},
        )

    def _shares(self, written: Mapping[str, float], path: str) -> tuple[TrafficShare, ...]:
        found = {link: self._endpoint(link, path, self._layer) for link in written}
        return tuple(TrafficShare(endpoint, written[link]) for link, endpoint in found.items() if endpoint)

    def _check_complete(self, chains: Mapping[str, Mapping[str, EndpointChain]]) -> None:
        for name in sorted(self._rows.names["features"] - set(self.features)):
            rule = "no profile serves this feature, and it has no pin"
            self._problems.add(
                f"features.{name}", rule, layer=self._layer, fix=did_you_mean(name, self.features)
            )
        for profile, served in chains.items():
            for feature in sorted(set(self.features) - set(served)):
                if not self._rows.features.get(feature, FeatureRow()).pin:
                    self._problems.add(f"profiles.{profile}.{feature}", "is missing", layer=self._layer)

    def _pins(self) -> dict[str, EndpointChain]:
        return {
            name: self._chain(name, row.pin, f"features.{name}.pin", f"{self._layer}, pinned")
            for name, row in self._rows.features.items()
            if row.pin
        }

    def _stored(self, overrides: Iterable[Override]) -> dict[str, EndpointChain]:
        chains = {}
        for override in overrides:
            if override.links and override.subject not in self.features:
                rule, fix = "there is no such feature", did_you_mean(override.subject, self.features)
                self._problems.add(override.problem_path, rule, layer=LAYER, fix=fix)
            elif override.links:
                chain = self._chain(override.subject, override.links, override.problem_path, LAYER)
                chains[override.subject] = replace(chain, layer=override.public_summary)
        return chains

    def _note_overrides(self, overrides: Iterable[Override]) -> None:
        for override in overrides:
            if override.links and override.subject in self.features:
                self.features[override.subject] = replace(self.features[override.subject], override=override)

    def _disabled(self, overrides: Iterable[Override]) -> dict[str, Override]:
        disabled = {override.subject: override for override in overrides}
        known = self._named() if disabled else frozenset()
        for override in disabled.values():
            if override.subject not in known:
                rule, fix = "the table leads to no such endpoint", did_you_mean(override.subject, known)
                self._problems.add(override.problem_path, rule, layer=LAYER, fix=fix)
        return disabled

    def _named(self) -> frozenset[str]:
        """Every endpoint to which a call may be sent."""
        chains = [chain for served in self.chains.values() for chain in served.values()]
        in_chains = {str(endpoint) for chain in (*chains, *self.groups.values()) for endpoint in chain}
        beside = {
            str(share.endpoint)
            for feature in self.features.values()
            for share in (*feature.split, *feature.shadow)
        }
        return frozenset(in_chains | beside | ({str(self.demo)} if self.demo else set()))

    def _environment(self) -> dict[str, EndpointChain]:
        chains = {}
        for variable, value in sorted(self._environ.items()):
            links = tuple(link.strip() for link in value.split(",") if link.strip())
            if variable.startswith(FEATURE_OVERRIDE) and links:
                feature = variable.removeprefix(FEATURE_OVERRIDE).lower()
                if feature not in self.features:
                    fix = did_you_mean(feature, self.features)
                    self._problems.add(
                        variable, f"there is no feature {feature!r}", layer="environment", fix=fix
                    )
                chains[feature] = self._chain(feature, links, variable, f"environment {variable}")
        return chains

    def _check_endpoints(self) -> None:
        """Check that every endpoint of a feature supports the feature's options and declared needs."""
        for served in self.chains.values():
            for name, chain in served.items():
                feature = self.features.get(name) or self._feature(name)
                beside = (share.endpoint for share in (*feature.split, *feature.shadow))
                for endpoint in (*chain, *beside):
                    self._check_options(f"features.{name}.options", feature.options, endpoint)
                    self._check_abilities(feature, endpoint)

    def _check_choices(
        self,
        written: Mapping[str, Mapping[str, EndpointChain]],
        overrides: Mapping[str, Mapping[str, EndpointChain]],
    ) -> None:
        chains: dict[str, list[EndpointChain]] = {}
        for served in written.values():
            for feature, chain in served.items():
                chains.setdefault(feature, []).append(chain)
        choices = StrategyChecker(self._rows, self._layer, self._problems)
        for group in self._rows.groups:
            choices.check_group(group, self._group_endpoints(group))
        for feature, own in chains.items():
            choices.check_feature(feature, own)
        for layer, laid_over in overrides.items():
            for feature, chain in laid_over.items():
                choices.check_override(feature, chain, chains.get(feature, ()), layer)

    def _check_options(self, path: str, options: Options, endpoint: Endpoint) -> None:
        api, can, mode = endpoint.provider.api, endpoint.can, endpoint.api_mode
        for option, reason in options.list_unsupported_options(api, str(endpoint), can, mode):
            self._problems.add(f"{path}.{option}", reason, value=getattr(options, option), layer=self._layer)

    def _check_abilities(self, feature: Feature, endpoint: Endpoint) -> None:
        for ability, lack in LACKS.items():
            if getattr(feature, ability) and not getattr(endpoint.can, ability):
                path = f"features.{feature.name}.{ability}"
                self._problems.add(path, f"{endpoint} {lack}", value=True, layer=self._layer)


def _for_embeddings(tier: ChainTier) -> ChainTier:
    return replace(
        tier, endpoints=tuple(replace(endpoint, api_mode="embeddings") for endpoint in tier.endpoints)
    )


def _with_behind(chain: EndpointChain, behind: Sequence[ChainTier]) -> EndpointChain:
    """``chain`` followed by the tiers ``behind``, without those that it has; a chain by tier is left unchanged."""
    if any(isinstance(tier.select, TierStrategy) for tier in chain.tiers):
        return chain
    known = {tier.group for tier in chain.tiers}
    more = tuple(tier for tier in behind if tier.group not in known)
    return replace(chain, tiers=chain.tiers + more) if more else chain


def _walk(start: str, follow: Callable[[str], str | None]) -> list[str]:
    """``start`` and its successors, each once, so that a circle ends."""
    steps = [start]
    while (successor := follow(steps[-1])) is not None and successor not in steps:
        steps.append(successor)
    return steps


def _gathered(tiers: tuple[ChainTier, ...], select: SelectionStrategy) -> Iterator[ChainTier]:
    """``tiers``, with adjacent endpoints of a feature's own joined into one tier, in which ``select`` chooses."""
    for is_own, run in groupby(tiers, key=lambda tier: tier.group is None):
        if is_own:
            yield ChainTier(tuple(endpoint for tier in run for endpoint in tier.endpoints), select=select)
        else:
            yield from run


def _accounts(name: str, row: ProviderRow) -> tuple[HouseAccount, ...]:
    if row.api_key_env:
        return (HouseAccount(name, row.api_key_env, limits=row.limits),)
    return tuple(
        HouseAccount(f"{name}/{account}", own.api_key_env, account, own.weight, own.limits or row.limits)
        for account, own in row.accounts.items()
    )


def _provider(name: str, row: ProviderRow) -> Provider:
    access: Access = "key" if row.api_key_env or row.accounts else "open" if row.base_url else "embedded"
    told_later = f"http://{name.replace('_', '-')}.embedded.invalid/v1"
    base_url = str(row.base_url).rstrip("/") if row.base_url else DEFAULT_BASE_URL[row.api]
    return Provider(
        name=name,
        api=row.api,
        access=access,
        base_url=told_later if access == "embedded" else base_url,
        accounts=_accounts(name, row),
        limits=row.limits,
        user_limits=row.user_limits,
        headers=tuple(sorted(row.headers.items())),
        model_prefixes=tuple(row.model_prefixes.items()),
        extra_body=row.extra_body,
        vendor=_vendor(name, row, access),
        priced_as=row.priced_as,
    )


def _vendor(name: str, row: ProviderRow, access: Access) -> ModelVendor:
    if row.vendor is not None:
        return BY_NAME[row.vendor]
    if row.api == "gemini":
        return BY_NAME["google"]
    if access == "embedded":
        return GRAMMAR
    return find_vendor(urlsplit(row.base_url or DEFAULT_BASE_URL[row.api]).hostname or "", name)
