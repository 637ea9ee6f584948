"""The result of `get_qos_info`: the whole table in force, and the state of this process."""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..caller import HOUSE
from ..routing.route import Needs, RejectionCode
from ..strategies import OrderedStrategy
from .health import HealthInfo, make_health_infos
from .limits import LimitInfo, make_limit_infos
from .retirements import EndpointRetirement, RetirementImpact, find_next_retirement, list_retirement_impacts

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from ..caller import Caller
    from ..model_config import Override, Table, TableSnapshot
    from ..state.health import Circuit, HealthTracker
    from ..state.rate_limiter import MeteredScope
    from ..state.traffic import TrafficState
    from .explain import Explanation

    Explain = Callable[[str, Caller, Needs, TableSnapshot], Explanation]
    """Explains how a call of a feature made now would be served under a table."""

_LASTING = frozenset(
    {
        RejectionCode.DISABLED,
        RejectionCode.NO_KEY,
        RejectionCode.NO_PACKAGE,
        RejectionCode.RETIRED,
        RejectionCode.OPTION,
        RejectionCode.PRICE,
    }
)
"""Reasons to skip an endpoint that hold as long as the table and the day stay the same."""


class FeatureInfo(BaseModel):
    """The endpoints that would serve a call of the feature now, with the operator's keys.

    Attributes:
        endpoint: The endpoint that a call would try first; None if no endpoint may serve.
        chain: All endpoints that may serve now, in order.
        problem: The reason why a call would fail, or why it could only probe or wait; else None.
        degraded: Whether ``endpoint`` replaces ``preferred``, the first choice, which is unavailable.
        out_of_service: Whether no endpoint may serve the feature until the table, the keys or the day
            change.
        retires: The first retirement among the models of the feature's chain, whether they may serve now or
            not.
    """

    model_config = ConfigDict(frozen=True)

    about: str
    profile: str
    endpoint: str | None
    chain: tuple[str, ...]
    layer: str
    options: dict[str, Any]
    deadline_s: float
    problem: str | None
    degraded: bool = False
    out_of_service: bool = False
    preferred: str | None = None
    retires: EndpointRetirement | None = None


class OverrideInfo(BaseModel):
    """A temporary change of the table that a person has stored.

    Attributes:
        subject: The feature that ``links`` serve instead of its own chain; if ``links`` is empty, an
            endpoint that is removed from every chain.
        state: ``in_force``: the override applies. ``environment``: an environment variable has precedence.
            ``ignored``: the override does not fit the table, for the reasons in ``problems``.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    subject: str
    links: tuple[str, ...]
    author: str
    reason: str
    since: datetime
    until: datetime
    state: Literal["in_force", "environment", "ignored"]
    problems: tuple[str, ...] = ()


class ProviderInfo(BaseModel):
    """A provider, and whether calls with the operator's keys may use it."""

    model_config = ConfigDict(frozen=True)

    api: str
    host: str
    access: str
    api_key_envs: tuple[str, ...]
    house_key: Literal["present", "absent", "not needed"]


class TrialInfo(BaseModel):
    """The results so far of one arm of an experiment (a feature's ``split``), or of a shadow endpoint.

    Attributes:
        arm: ``control`` for the control group; an endpoint on trial with its percentage; or ``shadow`` with
            its endpoint.
        requests: The requests with a known outcome.
        mean_cost_usd: The mean cost of the answers with a known price.
        stopped: The reason why the trial was stopped; None while it runs.
    """

    model_config = ConfigDict(frozen=True)

    feature: str
    arm: str
    requests: int
    failed: int
    mean_s: float | None
    mean_cost_usd: float | None
    stopped: str | None


class QosInfo(BaseModel):
    """The table in force and the state of this process. It contains only names and numbers, no secrets.

    Attributes:
        overrides: The temporary changes of the table that a person has stored.
        retirements: Every model of the table whose retirement is announced or past, in any profile; the
            nearest first.
        trials: The arms of experiments, and the shadow endpoints, that had a request.
        health: The endpoints and keys that get no requests from this process now.
        limits: How much of the rate limits on calls with the operator's keys is used in this process, the
            fullest first.
        notice: A sentence if this process cannot exchange its state with other processes; else None.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = 3
    table_hash: str
    source: str | None
    profile: str
    profile_layer: str
    byok_profile: str
    demo: str | None
    demo_active: bool
    problems: tuple[str, ...]
    features: dict[str, FeatureInfo]
    providers: dict[str, ProviderInfo]
    overrides: tuple[OverrideInfo, ...] = ()
    retirements: tuple[RetirementImpact, ...] = ()
    trials: tuple[TrialInfo, ...] = ()
    health: tuple[HealthInfo, ...] = ()
    limits: tuple[LimitInfo, ...] = ()
    notice: str | None = None


class _Settled(NamedTuple):
    info: FeatureInfo
    circuits: tuple[Circuit, ...]


class CachedTableInfo:
    """The part of `QosInfo` that depends only on the table and the day, so that it can be cached."""

    def __init__(self, snapshot: TableSnapshot, today: date) -> None:
        self._snapshot = snapshot
        self._today = today
        self._settled: dict[str, _Settled] = {}
        self.meters: dict[str, MeteredScope] = {}
        """The meters of all planned routes, by scope. Routes with limits are always planned anew."""
        self._names = sorted(snapshot.features)
        self.providers = _provider_infos(snapshot)
        self.retirements = list_retirement_impacts(snapshot, today)

    def is_valid_for(self, snapshot: TableSnapshot, today: date) -> bool:
        """Whether this was made from the same ``snapshot`` on the same day, so that it may be used again."""
        return snapshot is self._snapshot and today == self._today

    def make_feature_infos(self, explain: Explain, health: HealthTracker) -> dict[str, FeatureInfo]:
        """Describe each feature: from the cache if only the table matters, else by a route planned by ``explain``."""
        settled = {} if health.traffic.unsupported.until else self._settled
        return {
            name: known.info
            if (known := settled.get(name)) and health.find_unavailable_reason(*known.circuits) is None
            else self._planned(
                explain(name, HOUSE, Needs.from_feature(self._snapshot.features[name]), self._snapshot)
            )
            for name in self._names
        }

    def _planned(self, route: Explanation) -> FeatureInfo:
        info = _feature_info(route, self._snapshot, self._today)
        for candidate in (*route.candidates, *(skip.candidate for skip in route.skipped)):
            self.meters.update({meter.scope: meter for meter in candidate.meters})
        if _is_settled(route):
            circuits = chain.from_iterable(
                (candidate.credential_circuit, candidate.endpoint_circuit) for candidate in route.candidates
            )
            self._settled[route.feature.name] = _Settled(info, tuple(dict.fromkeys(circuits)))
        return info


def _is_settled(route: Explanation) -> bool:
    """Whether the route depends only on the table: all its endpoints are healthy, without limits, in fixed order."""
    is_plain = all(
        candidate.rest is None and isinstance(candidate.select, OrderedStrategy) and not candidate.meters
        for candidate in route.candidates
    )
    return is_plain and not route.resting and not route.feature.split and _is_lasting(route)


def _is_lasting(route: Explanation) -> bool:
    """Whether every endpoint that is skipped stays so as long as the table and the day stay the same."""
    return all(skip.code in _LASTING for skip in route.skipped)


def make_qos_info(
    table: Table, cached: CachedTableInfo | None, explain: Explain, health: HealthTracker, now: datetime
) -> tuple[QosInfo, CachedTableInfo]:
    """Describe the table and the state of the process at ``now``.

    Returns the description, and the value to pass as ``cached`` to the next call; the first call passes None.
    """
    snapshot, today = table.snapshot, now.date()
    if cached is None or not cached.is_valid_for(snapshot, today):
        cached = CachedTableInfo(snapshot, today)
    features = cached.make_feature_infos(explain, health)
    info = QosInfo(
        table_hash=snapshot.hash,
        source=str(snapshot.source) if snapshot.source else None,
        profile=snapshot.profile,
        profile_layer=snapshot.profile_layer,
        byok_profile=snapshot.byok_profile,
        demo=str(snapshot.demo) if snapshot.demo else None,
        demo_active=snapshot.demo_active,
        problems=table.problems,
        features=features,
        providers=cached.providers,
        overrides=make_override_infos(table),
        retirements=cached.retirements,
        trials=_trials(health.traffic),
        health=make_health_infos(health, now),
        limits=make_limit_infos(cached.meters.values(), health.traffic),
        notice=health.describe_sharing_problem(),
    )
    return info, cached


def make_override_infos(table: Table) -> tuple[OverrideInfo, ...]:
    """Describe every stored override that has not expired; those that do not fit the table come last."""
    snapshot = table.snapshot
    fitting = [
        OverrideInfo(**override._asdict(), state=_state(override, snapshot))
        for override in snapshot.overrides
    ]
    ignored = [
        OverrideInfo(**override._asdict(), state="ignored", problems=problems)
        for override, problems in table.ignored_overrides
    ]
    return (*fitting, *ignored)


def _state(one: Override, snapshot: TableSnapshot) -> Literal["in_force", "environment"]:
    holds = snapshot.features[one.subject].override if one.links else one
    return "in_force" if holds is not None and holds.id == one.id else "environment"


def _feature_info(route: Explanation, snapshot: TableSnapshot, today: date) -> FeatureInfo:
    first = route.candidates[0] if route.candidates else None
    return FeatureInfo(
        about=route.feature.about,
        profile=route.profile,
        endpoint=str(first.endpoint) if first else None,
        chain=tuple(str(candidate.endpoint) for candidate in route.candidates),
        layer=first.layer if first else "",
        options=route.options.model_dump(exclude_none=True),
        deadline_s=route.deadline_seconds,
        problem=_problem(route),
        degraded=first is not None and not route.demo and route.is_degraded(first),
        out_of_service=first is None and _is_lasting(route),
        preferred=str(route.preferred.endpoint) if route.preferred else None,
        retires=find_next_retirement(snapshot.chain(route.feature.name, snapshot.profile), today),
    )


def _problem(route: Explanation) -> str | None:
    if (refusal := route.expected_error()) is not None:
        return str(refusal)
    first = route.candidates[0]
    return None if first.rest is None else f"{first.display_name}: {first.rest}"


def _trials(traffic: TrafficState) -> tuple[TrialInfo, ...]:
    with traffic.lock:
        return tuple(
            TrialInfo(
                feature=feature,
                arm=name,
                requests=arm.judged,
                failed=arm.failed,
                mean_s=arm.mean_seconds,
                mean_cost_usd=arm.mean_cost,
                stopped=traffic.experiments.trial_stop_reason(feature, name),
            )
            for (feature, name), arm in sorted(traffic.experiments.all_results().items())
        )


def _provider_infos(snapshot: TableSnapshot) -> dict[str, ProviderInfo]:
    infos = {}
    for name, provider in sorted(snapshot.providers.items()):
        key: Literal["present", "absent", "not needed"] = "not needed"
        if provider.access == "key":
            key = "present" if snapshot.has_house_key(provider) else "absent"
        infos[name] = ProviderInfo(
            api=provider.api,
            host=provider.host,
            access=provider.access,
            api_key_envs=provider.api_key_envs,
            house_key=key,
        )
    return infos
