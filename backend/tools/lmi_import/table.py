"""The table: chains, what holds for a feature, and what holds for one endpoint whichever feature it serves.

What all models of a feature share stands with the feature, whose options lie over those of an endpoint. What differs
stands with the endpoint, and so holds for every feature that leaves it open: two that want it otherwise cannot both
be served.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.tools.lmi_import.settings import largest
from backend.utils.llm.cached import cached_property
from backend.utils.llm.model_config.schema import FeatureRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.tools.lmi_import.nodes import Node
    from backend.tools.lmi_import.settings import Wants

_ROW_KEYS = ("attempts", "api_mode")
_OPEN = {"api_mode": "chat"}
"""What holds where nobody says anything."""
_SAID_AS = {"attempts": "max_retries", "api_mode": "responses_api"}


@dataclass(frozen=True)
class Link:
    """One endpoint of a chain, and what is wanted of it there."""

    place: Node
    endpoint: str
    wants: Wants


@dataclass(frozen=True)
class Plan:
    """One feature and its chain."""

    feature: str
    links: tuple[Link, ...]

    @cached_property
    def shared(self) -> Wants:
        """The feature's own settings: options that all its endpoints share, and the usual number of attempts."""
        first, *others = (link.wants for link in self.links)
        options = {
            key: value
            for key, value in first.items()
            if key not in _ROW_KEYS and all(wants.get(key) == value for wants in others)
        }
        attempts = Counter(link.wants["attempts"] for link in self.links).most_common(1)[0][0]
        return {**options, "attempts": attempts}

    def own(self, link: Link) -> Wants:
        """The settings that must stand with the endpoint of ``link``."""
        settled = {**_OPEN, **self.shared}
        return {key: value for key, value in link.wants.items() if settled.get(key) != value}

    def open_to(self, key: str) -> bool:
        """Whether what stands with an endpoint decides ``key`` here."""
        return key in _ROW_KEYS or key not in self.shared


def plan(feature: str, links: Iterable[Link]) -> Plan:
    """A feature's plan, with each endpoint once."""
    first: dict[str, Link] = {}
    for link in links:
        kept = first.setdefault(link.endpoint, link)
        if kept is not link:
            _tell_repeat(link, kept)
    return Plan(feature, tuple(first.values()))


def _tell_repeat(link: Link, kept: Link) -> None:
    keys = link.wants.keys() | kept.wants.keys()
    differ = sorted(_SAID_AS.get(key, key) for key in keys if link.wants.get(key) != kept.wants.get(key))
    where = f"is {link.endpoint}, as {kept.place.path} is"
    if differ:
        link.place.report("wrong", f"{where}, with another {', '.join(differ)}. Keep one of them.")
    else:
        link.place.report("dropped", f"{where}: once is enough.")


def document(plans: Iterable[Plan], providers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole table as values."""
    plans = [plan for plan in plans if plan.links]
    models = _model_rows(plans)
    table = {
        "profile": "premium",
        "byok_profile": "byok",
        "providers": providers,
        "profiles": {
            "premium": {plan.feature: _chain(plan) for plan in plans},
            "byok": {"extends": "premium"},
        },
        "features": {plan.feature: _feature_row(plan) for plan in plans},
    }
    return table | ({"models": models} if models else {})


def _chain(plan: Plan) -> str | list[str]:
    endpoints = [link.endpoint for link in plan.links]
    return endpoints if len(endpoints) > 1 else endpoints[0]


def _feature_row(plan: Plan) -> dict[str, Any]:
    """The feature's row; its limits leave room for all that LMI would have tried."""
    wants = [link.wants for link in plan.links]
    requests = sum(wanted["attempts"] for wanted in wants)
    seconds = sum(wanted["attempts"] * wanted["timeout"] for wanted in wants)
    row = _row(plan.shared) | {"deadline": _short(min(seconds, largest(FeatureRow, "deadline")))}
    if requests > FeatureRow.model_fields["max_attempts"].default:
        row["max_attempts"] = int(min(requests, largest(FeatureRow, "max_attempts")))
    if len(wants) > 1:
        row["on_refusal"] = "next"
    return row


def _row(wants: Wants) -> dict[str, Any]:
    limits = {key: wants[key] for key in _ROW_KEYS if key in wants}
    options = {key: _short(value) for key, value in sorted(wants.items()) if key not in _ROW_KEYS}
    return {**limits, "options": options} if options else limits


def _short(value: Any) -> Any:
    """A whole number without its point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Endpoints --------------------------------------------------------------------------------------------------------


def _model_rows(plans: Iterable[Plan]) -> dict[str, Any]:
    uses: dict[str, list[tuple[Plan, Link]]] = defaultdict(list)
    for plan in plans:
        for link in plan.links:
            uses[link.endpoint].append((plan, link))
    wants = {endpoint: _endpoint_wants(used) for endpoint, used in uses.items()}
    return {endpoint: _row(wanted) for endpoint, wanted in wants.items() if wanted}


def _endpoint_wants(uses: list[tuple[Plan, Link]]) -> Wants:
    """The settings that must stand with one endpoint; features that differ get a finding."""
    wants: Wants = {}
    for plan, link in uses:
        wants = {**plan.own(link), **wants}
    for key in sorted(wants):
        _check_agreement(key, [link for plan, link in uses if plan.open_to(key)])
    return wants


def _check_agreement(key: str, links: list[Link]) -> None:
    first, *others = links
    for link in others:
        if (wanted := _wanted(link, key)) != (before := _wanted(first, key)):
            link.place.report(
                "wrong",
                f"wants {key} {wanted} of {link.endpoint}, and {first.place.path} wants {before}. One endpoint has one "
                f"for all features that leave it open: give both the same {_SAID_AS.get(key, key)}, or "
                "all models of one feature the same.",
            )


def _wanted(link: Link, key: str) -> object:
    return link.wants.get(key, _OPEN.get(key, "unset"))
