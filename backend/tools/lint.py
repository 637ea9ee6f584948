"""Warnings about a valid table.

A finding is about something that works now, but may fail soon or has an unknown cost.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from backend.tools.retirements import HORIZON, describe_retirement, make_replacement_sentence
from backend.utils.llm.diagnostics.retirements import (
    EndpointRetirement,
    find_endpoint_uses,
    list_retirement_impacts,
    make_endpoint_retirement,
)
from backend.utils.llm.model_config.rows import validate_rows
from backend.utils.llm.models import UNKNOWN, find_retirement, is_known_model
from backend.utils.llm.pricing import compute_cost
from backend.utils.llm.problems import TableProblems
from backend.utils.llm.receipt import TokenUsage
from backend.utils.llm.routing.charges import max_budget_usage
from backend.utils.llm.routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import date

    from backend.utils.llm.budgets import Budget
    from backend.utils.llm.model_config import Endpoint, Feature, TableSnapshot
    from backend.utils.llm.model_config.rows import TableRows

Kind = Literal[
    "retires",
    "unknown_model",
    "no_price",
    "tools_refused",
    "one_provider",
    "no_hedge",
    "unused_row",
    "tight_budget",
]


class LintFinding(BaseModel):
    """A warning about a valid table.

    Attributes:
        subject: The endpoint or feature that the warning is about.
        says: The whole message, which begins with the subject.
        features: The affected features.
        profiles: The profiles in which these features are affected.
        retires: The model's retirement, if the warning is about a model that goes off sale.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    subject: str
    says: str
    features: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    retires: EndpointRetirement | None = None

    def fails_check(self, *, strict: bool, retirement_within: timedelta | None) -> bool:
        """Whether this warning makes the command ``check`` fail.

        Args:
            strict: Whether warnings make the command fail.
            retirement_within: Warnings about retirements fail the command exactly if the model is off sale by
                this time from now, whatever ``strict`` says; None to treat them like other warnings.
        """
        if self.retires is None or retirement_within is None:
            return strict
        return timedelta(days=self.retires.days) <= _whole_days(retirement_within)


def lint_table(
    snapshot: TableSnapshot, document: Mapping[str, Any], today: date, *, horizon: timedelta = HORIZON
) -> tuple[LintFinding, ...]:
    """Find what may soon fail in a valid table, and what has an unknown cost. Retirements come first.

    Args:
        snapshot: The loaded table.
        document: The parsed file of the table, including rows that do not take effect.
        today: The day from which the time to a retirement is counted.
        horizon: How far ahead retirements are reported.
    """
    rows = validate_rows(document, "", TableProblems())
    return (
        *_retirements(snapshot, rows, today, _whole_days(horizon)),
        *_unknown_models(snapshot),
        *_unpriced(snapshot, today),
        *_refused_tools(snapshot),
        *_single_provider(snapshot),
        *_unhedged(snapshot),
        *_unused(snapshot, rows),
        *_tight_budgets(snapshot, today),
    )


# Retirements -------------------------------------------------------------------------------------------------------


def _retirements(
    snapshot: TableSnapshot, rows: TableRows, today: date, horizon: timedelta
) -> list[LintFinding]:
    in_force = [
        _retirement(model, _served(model.features, model.profiles), model.features, model.profiles)
        for model in list_retirement_impacts(snapshot, today)
    ]
    found = [*in_force, *_out_of_force(snapshot, rows, today)]
    near = [
        (finding.retires, finding)
        for finding in found
        if finding.retires and timedelta(days=finding.retires.days) <= horizon
    ]
    return [finding for _, finding in sorted(near, key=lambda pair: (pair[0].day, pair[0].endpoint))]


def _out_of_force(snapshot: TableSnapshot, rows: TableRows, today: date) -> Iterator[LintFinding]:
    """Retirements of endpoints in the file that a pin or a variable hides, and that would serve without it."""
    in_force = {str(endpoint) for endpoint in find_endpoint_uses(snapshot)}
    for written, places in _places(rows).items():
        gone = find_retirement(written.partition(":")[2])
        if written not in in_force and gone is not None:
            yield _retirement(
                make_endpoint_retirement(written, gone, today), f"{', '.join(places)}, not in force"
            )


def _retirement(
    model: EndpointRetirement, whom: str, features: tuple[str, ...] = (), profiles: tuple[str, ...] = ()
) -> LintFinding:
    goes = "goes" if model.days > 0 else "went"
    return LintFinding(
        kind="retires",
        subject=model.endpoint,
        says=f"{model.endpoint} {goes} off sale {describe_retirement(model)}: {whom}.{make_replacement_sentence(model)}",
        features=features,
        profiles=profiles,
        retires=model,
    )


def _places(rows: TableRows) -> Mapping[str, list[str]]:
    """Every endpoint in the file, with the places that name it."""
    chains = {
        f"profiles.{profile}.{feature}": links
        for profile, row in rows.profiles.items()
        for feature, links in row.chains.items()
    }
    chains |= {f"groups.{name}": row.endpoints for name, row in rows.groups.items()}
    chains |= {f"features.{name}.pin": row.pin for name, row in rows.features.items() if row.pin}
    chains |= {"demo": (rows.head.demo,)} if rows.head.demo else {}
    places: dict[str, list[str]] = defaultdict(list)
    for place, links in chains.items():
        for link in links:
            if not link.startswith("group:"):
                places[link].append(place)
    return places


# Endpoints ---------------------------------------------------------------------------------------------------------


def _unknown_models(snapshot: TableSnapshot) -> Iterator[LintFinding]:
    for endpoint, served in find_endpoint_uses(snapshot).items():
        declared = endpoint.can != UNKNOWN
        if not (declared or is_known_model(endpoint.model) or endpoint.retirement):
            fault = "the catalogue does not know this model, so what it can do is assumed"
            yield _on_endpoint("unknown_model", endpoint, f"{fault}. Say it in {_row(endpoint)}", served)


def _unpriced(snapshot: TableSnapshot, today: date) -> Iterator[LintFinding]:
    noon = datetime.combine(today, time(12), tzinfo=UTC)
    for endpoint, served in find_endpoint_uses(snapshot).items():
        if endpoint.provider.access == "key" and not _is_priced(endpoint, noon):
            provider, model = endpoint.price_list_id
            fault = (
                f"no price of {model!r} at {provider} is known. Write price or priced_as in {_row(endpoint)}"
            )
            yield _on_endpoint("no_price", endpoint, fault, served)


def _is_priced(endpoint: Endpoint, moment: datetime) -> bool:
    a_word = TokenUsage(input=1, output=1)
    return compute_cost(endpoint, a_word, moment) is not None


def _tight_budgets(snapshot: TableSnapshot, today: date) -> Iterator[LintFinding]:
    """Budgets smaller than the longest answer of every endpoint, so that no request is ever sent."""
    for name, feature in snapshot.features.items():
        chain = list(snapshot.chain(name, snapshot.profile))
        for budget in feature.budgets if snapshot.step_down_snapshot is None else ():
            needed = [_most(budget, feature, endpoint, today) for endpoint in chain]
            least = min((amount for amount in needed if amount is not None), default=0)
            if budget.keys != "user" and least > budget.cap:
                fault = f"a request of {name} sets aside {budget.format_amount(least)} at least, more than all of it"
                says = f"budgets.{budget.name}: {fault}. Write max_output_tokens in features.{name}.options."
                yield LintFinding(kind="tight_budget", subject=budget.name, says=says, features=(name,))


def _most(budget: Budget, feature: Feature, endpoint: Endpoint, today: date) -> int | None:
    options = feature.options.with_defaults(endpoint.options)
    return max_budget_usage(budget, endpoint, feature, options, Needs(), today)


def _refused_tools(snapshot: TableSnapshot) -> Iterator[LintFinding]:
    """Endpoints of OpenAI's newer models that refuse tools in Chat Completions, always or with an effort."""
    for endpoint, served in find_endpoint_uses(snapshot).items():
        refused = [pair for pair in served if not _takes_tools(endpoint, snapshot.features[pair[0]])]
        if refused:
            fault = "OpenAI takes no tools for it in Chat Completions with this effort"
            cure = f'Set api_mode = "responses" in {_row(endpoint)}'
            yield _on_endpoint("tools_refused", endpoint, f"{fault}. {cure}", refused)


def _takes_tools(endpoint: Endpoint, feature: Feature) -> bool:
    return not feature.tools or endpoint.supports_tools(feature.options.effort or endpoint.options.effort)


def _unused(snapshot: TableSnapshot, rows: TableRows) -> Iterator[LintFinding]:
    used = {str(endpoint) for endpoint in find_endpoint_uses(snapshot)} | set(_places(rows))
    for written in sorted(set(rows.models) - used):
        says = f'models."{written}": no profile, group, pin or demo leads to it. Use it or delete it.'
        yield LintFinding(kind="unused_row", subject=written, says=says)


def _on_endpoint(
    kind: Kind, endpoint: Endpoint, says: str, served: Collection[tuple[str, str]]
) -> LintFinding:
    features = tuple(sorted({feature for feature, _ in served}))
    profiles = tuple(sorted({profile for _, profile in served}))
    return LintFinding(
        kind=kind,
        subject=str(endpoint),
        says=f"{endpoint}: {says}. Serves {_served(features, profiles)}.",
        features=features,
        profiles=profiles,
    )


# Features ----------------------------------------------------------------------------------------------------------


def _single_provider(snapshot: TableSnapshot) -> Iterator[LintFinding]:
    single: dict[tuple[str, str], list[str]] = defaultdict(list)
    for profile, served in snapshot.chains.items():
        for feature, chain in served.items():
            providers = {endpoint.provider.name for endpoint in chain}
            if len(providers) == 1:
                single[feature, providers.pop()].append(profile)
    for (feature, provider), profiles in sorted(single.items()):
        says = f"{_served([feature], sorted(profiles))}: only {provider} serves it."
        yield LintFinding(
            kind="one_provider",
            subject=feature,
            says=says,
            features=(feature,),
            profiles=tuple(sorted(profiles)),
        )


def _unhedged(snapshot: TableSnapshot) -> Iterator[LintFinding]:
    """Features with a hedge, but without a second endpoint."""
    for name, feature in sorted(snapshot.features.items()):
        alone = {
            profile: served[name]
            for profile, served in sorted(snapshot.chains.items())
            if feature.hedge and len(set(map(str, served[name]))) == 1
        }
        if alone:
            only = ", ".join(sorted({str(endpoint) for chain in alone.values() for endpoint in chain}))
            yield LintFinding(
                kind="no_hedge",
                subject=name,
                says=f"{_served([name], alone)}: hedge needs a second endpoint, and only {only} serves it.",
                features=(name,),
                profiles=tuple(alone),
            )


# Words -------------------------------------------------------------------------------------------------------------


def _served(features: Iterable[str], profiles: Iterable[str]) -> str:
    return f"{', '.join(features)} ({', '.join(profiles)})" if features else "the demo"


def _row(endpoint: Endpoint) -> str:
    return f'[models."{endpoint}"]'


def _whole_days(span: timedelta) -> timedelta:
    """The days of ``span``, rounded up, as models go off sale by the day."""
    return timedelta(days=-(-span // timedelta(days=1)))
