"""Rules: what one call's decision leaves behind for the next one."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.caller import Caller
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.routing import candidates, plan, rules
from backend.utils.llm.routing.route import CandidateRejection, Needs, RejectionCode
from backend.utils.llm.state.health import HealthTracker

from .tables import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.model_config import TableSnapshot
    from backend.utils.llm.routing.route import Candidate, Route
    from backend.utils.llm.routing.rules import CallRoutingInputs, CallRule, LastingRule

DEAR, CHEAP, OTHER = "openai:dear", "openai:cheap", "gemini:gemini-3.5-flash-lite"
TABLE = f"""
{PROVIDERS}[profiles.premium]
f = ["{DEAR}", "{OTHER}", "{CHEAP}"]
g = ["{DEAR}", "{CHEAP}"]
[profiles.byok]
extends = "premium"
[features.f]
house_fallback = true
"""
TODAY = date(2026, 11, 21)


def table() -> TableSnapshot:
    return parse_table(TABLE, environ={"OPENAI_API_KEY": "a", "GEMINI_API_KEY": "b"})


def planned(snapshot: TableSnapshot, caller: Caller, needs: Needs | None = None, feature: str = "f") -> Route:
    health = HealthTracker(lambda: 0.0)
    return plan.plan_route(snapshot, feature, caller, needs or Needs(), today=TODAY, health=health)


def endpoints(route: Route) -> list[str]:
    return [str(candidate.endpoint) for candidate in route.candidates]


def only_gold(candidate: Candidate, case: CallRoutingInputs) -> CandidateRejection | None:
    if str(candidate.endpoint) != DEAR or case.caller.tier == "gold":
        return None
    return CandidateRejection(candidate, RejectionCode.TIER, "it is for callers of the tier gold")


def only_ann(candidate: Candidate, case: CallRoutingInputs) -> CandidateRejection | None:
    if str(candidate.endpoint) != OTHER or case.caller.user_id == "ann":
        return None
    return CandidateRejection(candidate, RejectionCode.TIER, "it is for Ann")


def only_with_a_key(candidate: Candidate, case: CallRoutingInputs) -> CandidateRejection | None:
    if str(candidate.endpoint) != CHEAP or case.caller.keys:
        return None
    return CandidateRejection(candidate, RejectionCode.TIER, "it is for callers with a key")


def only_short_or_free(candidate: Candidate, case: CallRoutingInputs) -> CandidateRejection | None:
    if case.needs.tokens < 100 or case.caller.tenant_id is None:
        return None
    return CandidateRejection(
        candidate, RejectionCode.PRICE, f"{case.needs.tokens} tokens are too dear for {case.caller.tenant_id}"
    )


BY_CALLER: tuple[CallRule, ...] = (only_gold, only_ann, only_with_a_key, only_short_or_free)
KEPT: tuple[LastingRule, ...] = (only_gold,)  # type: ignore[assignment] # a type error, or else mypy tells of this
KEPT_OF_NO_CALL: tuple[CallRule, ...] = rules.LASTING_RULES  # type: ignore[assignment] # nor the other way round


@contextmanager
def with_rules(
    *, of_calls: tuple[CallRule, ...] = (), lasting: tuple[LastingRule, ...] = ()
) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "CALL_RULES", (*rules.CALL_RULES, *of_calls))
        patched.setattr(candidates, "LASTING_RULES", (*rules.LASTING_RULES, *lasting))
        yield


callers = st.builds(
    Caller,
    user_id=st.sampled_from([None, "ann", "bob"]),
    tenant_id=st.sampled_from([None, "acme"]),
    tier=st.sampled_from([None, "gold", "bronze"]),
    keys=st.sampled_from([{}, {}, {"openai": "sk-1"}, {"openai": "sk-2", "gemini": "sk-3"}]),
    key_policy=st.sampled_from([None, "house_only", "byok_then_house"]),
)
needs = st.tuples(st.booleans(), st.booleans(), st.sampled_from([0, 500])).map(
    lambda drawn: Needs(tools=drawn[0], images=drawn[1], tokens=drawn[2])
)


@given(
    before=st.lists(st.tuples(callers, needs), min_size=1, max_size=4),
    caller=callers,
    asked=needs,
    varying=st.sets(st.sampled_from(BY_CALLER), min_size=1),
)
def test_what_one_caller_planned_before_changes_nothing_for_another(
    before: list[tuple[Caller, Needs]], caller: Caller, asked: Needs, varying: set[CallRule]
) -> None:
    shared = table()
    with with_rules(of_calls=tuple(varying)):
        for other, others_needs in before:
            planned(shared, other, others_needs)

        found, anew = planned(shared, caller, asked), planned(table(), caller, asked)

    assert found == anew
    assert [(candidate.key, candidate.meters) for candidate in found.candidates] == [
        (candidate.key, candidate.meters) for candidate in anew.candidates
    ]


def test_gold_first_gives_bronze_nothing_of_golds() -> None:
    shared = table()
    with with_rules(of_calls=(only_gold,)):
        assert endpoints(planned(shared, Caller(tier="gold"), feature="g")) == [DEAR, CHEAP]
        assert endpoints(planned(shared, Caller(tier="bronze"), feature="g")) == [CHEAP]
        assert endpoints(planned(shared, Caller(tier="gold"), feature="g")) == [DEAR, CHEAP]


def test_a_rule_that_looks_at_the_caller_fails_where_its_verdict_would_be_kept() -> None:
    with with_rules(lasting=KEPT), pytest.raises(AttributeError, match="caller"):
        planned(table(), Caller(tier="gold"))


def test_candidates_are_worked_out_once_for_all_callers_on_the_same_terms() -> None:
    asked: list[str] = []

    def counting(candidate: Candidate, _: object) -> None:
        asked.append(str(candidate.endpoint))

    shared = table()
    with with_rules(lasting=(counting,)):
        for caller in (Caller(), Caller(tier="gold"), Caller(user_id="ann"), Caller(tenant_id="acme")):
            planned(shared, caller)

    assert asked == [DEAR, OTHER, CHEAP]
