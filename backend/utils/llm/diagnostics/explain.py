"""The result of `explain`: a route with its reasons, in words and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ..execution import outcome_errors
from ..routing import route
from ..state.tail_latency import ENOUGH
from ..strategies import ORDERED
from .estimates import estimate_price, find_failure_consequences

if TYPE_CHECKING:
    from ..errors import LLMError
    from ..model_config import Override
    from ..routing.route import Candidate, CandidateRejection, HedgeDelay

_DECIDING = (
    "attempts",
    "deadline",
    "hedge",
    "house_fallback",
    "limits",
    "max_attempts",
    "max_cost_usd",
    "on_invalid_output",
    "on_refusal",
    "select",
    "shadow",
    "split",
    "stop",
    "wait",
)
"""The values of a feature's row that a route depends on."""


class Explanation(route.Route):
    """A planned route, with the reason why each endpoint was chosen or skipped.

    ``str()`` makes a text for people, `as_dict` a dict for programs.
    """

    __slots__ = ()

    def expected_error(self) -> LLMError | None:
        """The error that the call would raise if no endpoint may serve it; None if one may."""
        return None if self.candidates else outcome_errors.no_endpoint_error(self)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a JSON-ready dict."""
        return {
            "feature": self.feature.name,
            "profile": self.profile,
            "policy": self.policy,
            "demo": self.demo,
            "table_hash": self.table_hash,
            "deadline_s": self.deadline_seconds,
            "arm": self.arm,
            "override": self.feature.override and self.feature.override.as_dict(),
            "disabled": [item.as_dict() for item in self._disabled],
            "hedge": None if self.hedge is None else _hedge(self.hedge),
            "options": self.options.model_dump(exclude_none=True),
            "layers": {name: self._layer(name) for name in _DECIDING},
            "candidates": [self._candidate(candidate) for candidate in self.candidates],
            "skipped": [_skip(skip) for skip in self.skipped],
            "budgets": [budget.as_dict() for budget in self.budgets],
            "notice": self.notice,
        }

    @override
    def __str__(self) -> str:
        head = f"{self.feature.name}  profile {self.profile}  keys {self.policy}  table {self.table_hash}"
        head += f"  arm {self.arm}" if self.arm else ""
        head += f"  {_hedge_in_words(self.hedge)}" if self.hedge else ""
        head += "  DEMO: the house has no key configured" if self.demo else ""
        refusal = self.expected_error()
        return "\n".join(
            [
                head,
                *(self._line(place, candidate) for place, candidate in enumerate(self.candidates, 1)),
                *(f"  -  {skip.display_name}  skipped: {skip.reason}" for skip in self.skipped),
                *(f"  $  {budget}" for budget in self.budgets),
                *(f"  !  {item}" for item in (self.feature.override, *self._disabled) if item is not None),
                *([] if self.notice is None else [f"  !  {self.notice}"]),
                *([] if refusal is None else [f"  ✗  {refusal}"]),
            ]
        )

    @property
    def _disabled(self) -> tuple[Override, ...]:
        """The overrides that took endpoints out of the route, each once."""
        return tuple(dict.fromkeys(skip.disabled for skip in self.skipped if skip.disabled is not None))

    def _candidate(self, candidate: Candidate) -> dict[str, Any]:
        follow = find_failure_consequences(self.feature, candidate.endpoint, candidate.owner)
        return {
            "endpoint": str(candidate.endpoint),
            "model_id": candidate.endpoint.model_id,
            "host": candidate.endpoint.provider.host,
            "key_owner": candidate.owner,
            "profile": candidate.profile,
            "group": candidate.group,
            "account": candidate.account_name,
            "tier": candidate.tier,
            "select": candidate.select.by,
            "layer": candidate.layer,
            "options": candidate.options.model_dump(exclude_none=True),
            "option_layers": self._option_layers(candidate),
            "extra_body": dict(candidate.extra_body or {}),
            "extra_body_layers": self._extra_layers(candidate),
            "vendor": candidate.endpoint.provider.vendor.name or None,
            "schema_form": candidate.endpoint.schema_form,
            "lacks": list(candidate.endpoint.can.lacks),
            "rest": candidate.rest and str(candidate.rest),
            "estimate": self._estimate(candidate),
            "on_failure": {category.value: asdict(what) for category, what in follow.items()},
        }

    def _line(self, place: int, candidate: Candidate) -> str:
        rest = f"  {candidate.rest}" if candidate.rest else ""
        return (
            f"  {place}. {candidate.display_name}  {_whose(candidate)}  ({candidate.layer}){_chosen_by(candidate)}{rest}"
            f"{self._price(candidate)}{self._options_in_words(candidate)}"
        )

    def _layer(self, name: str) -> str:
        """The layer of the table that sets the value ``name`` of the feature's row."""
        feature = self.feature
        return f"{feature.layer}, features.{feature.name}.{name}" if name in feature.written else "default"

    def _option_layers(self, candidate: Candidate) -> dict[str, str]:
        """For each set option of ``candidate``, its layer: call, feature or endpoint; else ``default``."""
        feature, model = self.feature, f"{self.feature.layer}, models.{candidate.endpoint}.options"
        layers = dict.fromkeys(candidate.options.model_dump(exclude_none=True), "default")
        layers |= dict.fromkeys(candidate.endpoint.options.model_fields_set, model)
        own = f"{feature.layer}, features.{feature.name}.options"
        layers |= dict.fromkeys(feature.options.model_fields_set, own)
        return layers | dict.fromkeys(self.needs.options.model_fields_set, "call")

    def _extra_layers(self, candidate: Candidate) -> dict[str, str]:
        """For each field that the table adds to the request's body, its row: provider, endpoint or feature."""
        feature, endpoint, provider = self.feature, candidate.endpoint, candidate.endpoint.provider
        rows = {
            f"providers.{provider.name}": provider.extra_body,
            f"models.{endpoint}": endpoint.extra_body,
            f"features.{feature.name}": feature.extra_body.get(provider.name, {}),
        }
        return {name: f"{feature.layer}, {row}.extra_body" for row, extra in rows.items() for name in extra}

    def _options_in_words(self, candidate: Candidate) -> str:
        layers = self._option_layers(candidate)
        set_somewhere = [
            f"{name} {getattr(candidate.options, name)} ({layer})"
            for name, layer in layers.items()
            if layer != "default"
        ]
        set_somewhere += [f"body.{name} ({layer})" for name, layer in self._extra_layers(candidate).items()]
        return f"\n       {', '.join(set_somewhere)}" if set_somewhere else ""

    def _estimate(self, candidate: Candidate) -> dict[str, Any]:
        answer = candidate.options.max_output_tokens
        return estimate_price(candidate.endpoint, self.needs.tokens, answer, self.today)

    def _price(self, candidate: Candidate) -> str:
        if not self.needs.tokens:
            return ""
        price = self._estimate(candidate)
        if not price["prompt_usd"]:
            return "  price unknown"
        return f"  ${price['prompt_usd']} to ${price['at_most_usd']}"


def _skip(skip: CandidateRejection) -> dict[str, Any]:
    return {
        "endpoint": str(skip.endpoint),
        "key_owner": skip.candidate.owner,
        "account": skip.account,
        "code": skip.code.value,
        "reason": skip.reason,
    }


def _hedge(hedge: HedgeDelay) -> dict[str, Any]:
    return {"after_s": hedge.after, "known": hedge.known, "never": hedge.never}


def _hedge_in_words(hedge: HedgeDelay) -> str:
    if hedge.never is not None:
        return f"not hedged: {hedge.never}"
    if hedge.after is None:
        return f"hedges once {ENOUGH} answers are known, now {hedge.known}"
    return f"hedged after {hedge.after:.3g} s"


def _whose(candidate: Candidate) -> str:
    is_keyless = candidate.owner == "house" and candidate.account is None
    return "no key needed" if is_keyless else f"{candidate.owner}'s key"


def _chosen_by(candidate: Candidate) -> str:
    if candidate.select == ORDERED:
        return ""
    own = getattr(candidate.select, "name", "")
    return f"  by {candidate.select.by}{' ' + own if own else ''} of {candidate.scope}"
