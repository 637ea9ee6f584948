"""Removes from a routing explanation what its reader may not see.

A token with the scope ``debug`` sees everything. Other users see where their own call would run, and
reasons against an endpoint that lie in the call, the feature table or their own keys. Effects of other
users' calls are hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backend.utils.llm.routing.route import RejectionCode

from .access import HOUSE_DEBUG, can_use_route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.access import Grant

UNAVAILABLE: Final = {"code": "unavailable", "reason": "is not available now"}
"""Replaces a breaker, a cooldown, a limit, a trial or a lesson."""
OVER_BUDGET: Final = {"code": RejectionCode.BUDGET.value, "reason": "a budget does not allow it"}
_OF_ALL: Final = frozenset({"disabled", "hedge", "notice", "override"})
"""Decisions of people in their words, and what is learnt from everybody's calls."""
_OWN_BUDGETS: Final = frozenset({"user", "token"})
_STATE: Final = {
    **dict.fromkeys(
        (
            RejectionCode.COOLING,
            RejectionCode.LIMITED,
            RejectionCode.OPEN,
            RejectionCode.PROBING,
            RejectionCode.SPLIT_OVER,
            RejectionCode.UNSUPPORTED,
        ),
        UNAVAILABLE,
    ),
    RejectionCode.BUDGET: OVER_BUDGET,
    RejectionCode.BUDGET_AWAY: OVER_BUDGET,
}


def redact_explanation(grant: Grant, explanation: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a routing explanation without what the holder of ``grant`` may not see."""
    view = dict(explanation)
    if "budgets" in view and ("admin" not in grant.scopes or grant.tenant_id):
        view["budgets"] = [item for item in view["budgets"] if item["per"] in _OWN_BUDGETS]
    if can_use_route(HOUSE_DEBUG, grant):
        return view
    kept = {name: value for name, value in view.items() if name not in _OF_ALL}
    for name, own in (("candidates", _candidate), ("skipped", _skipped)):
        if name in kept:
            kept[name] = [own(item) for item in kept[name]]
    return kept


def _candidate(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "account": None, "rest": one["rest"] if one["key_owner"] == "user" else None}


def _skipped(one: Mapping[str, Any]) -> dict[str, Any]:
    if one["key_owner"] == "user":
        return dict(one)
    return {**one, "account": None, **_STATE.get(one["code"], {})}
