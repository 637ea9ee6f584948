"""What `explain` shows is what a call does."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from backend.utils.llm.caller import Caller, OwnEndpoint, use_caller
from backend.utils.llm.diagnostics.explain import Explanation
from backend.utils.llm.errors import LLMError, MissingCredentialError, NoEndpointError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.options import Options
from backend.utils.llm.routing.plan import plan_route
from backend.utils.llm.routing.route import Needs, Route
from backend.utils.llm.secrets import compute_fingerprint
from backend.utils.llm.state.health import Circuit, HealthTracker
from backend.utils.llm.testing import LoopbackProvider, Status
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

from .tables import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENAI = {"OPENAI_API_KEY": "a"}
BOTH = {**OPENAI, "GEMINI_API_KEY": "b"}
TODAY = date(2026, 11, 21)
TABLE = f"""
demo = "local:smollm2-135m-instruct"
{PROVIDERS}[providers.local]
api = "openai"
[profiles.premium]
both = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
old = ["openai:o4-mini", "openai:gpt-6-luna"]
strict = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"]
[profiles.byok]
extends = "premium"
[features.both]
house_fallback = true
"""


def route(
    feature: str,
    caller: Caller | None = None,
    *,
    needs: Needs | None = None,
    environ: dict[str, str] | None = None,
) -> Explanation:
    environ = environ or {}
    snapshot = parse_table(TABLE, environ=environ)
    route = plan_route(snapshot, feature, caller or Caller(), needs or Needs(), today=TODAY)
    return Explanation._make(route)


def candidates(found: Route) -> list[tuple[str, str]]:
    return [(str(candidate.endpoint), candidate.owner) for candidate in found.candidates]


class TestKeys:
    """Whose keys may serve."""

    def test_the_house_uses_the_keys_it_has(self) -> None:
        assert candidates(route("both", environ=OPENAI)) == [("openai:gpt-6-luna", "house")]

    def test_a_caller_with_keys_is_served_by_them_alone(self) -> None:
        found = route("both", Caller(keys={"gemini": "k"}), environ=BOTH)

        assert candidates(found) == [("gemini:gemini-3.5-flash-lite", "user")]
        assert found.profile == "byok"

    def test_byok_then_house_tries_the_callers_keys_first(self) -> None:
        found = route("both", Caller(keys={"gemini": "k"}, key_policy="byok_then_house"), environ=BOTH)

        assert candidates(found) == [
            ("gemini:gemini-3.5-flash-lite", "user"),
            ("openai:gpt-6-luna", "house"),
            ("gemini:gemini-3.5-flash-lite", "house"),
        ]

    def test_the_house_pays_in_a_users_stead_only_for_features_that_allow_it(self) -> None:
        asks = Caller(keys={"gemini": "k"}, key_policy="byok_then_house")
        found = route("strict", asks, environ=BOTH)

        assert candidates(found) == [("gemini:gemini-3.5-flash-lite", "user")]
        assert (found.policy, found.demo) == ("byok_only", False)
        assert route("strict", asks).demo is False
        assert route("both", asks).demo is True

    def test_what_a_feature_allows_is_nothing_to_callers_who_did_not_choose_it(self) -> None:
        for caller in (Caller(keys={"gemini": "k"}), Caller(keys={"gemini": "k"}, key_policy="byok_only")):
            assert {owner for _, owner in candidates(route("both", caller, environ=BOTH))} == {"user"}

    def test_house_only_leaves_the_callers_keys_alone(self) -> None:
        found = route("both", Caller(keys={"gemini": "k"}, key_policy="house_only"), environ=BOTH)

        assert {owner for _, owner in candidates(found)} == {"house"}

    def test_no_key_of_the_callers_is_an_error_that_names_the_providers(self) -> None:
        refusal = route("both", Caller(keys={"anthropic": "k"}), environ=BOTH).expected_error()

        assert isinstance(refusal, MissingCredentialError)
        assert "openai, gemini" in str(refusal)

    def test_the_demo_serves_the_house_without_keys_with_a_note(self) -> None:
        found = route("both")

        assert candidates(found) == [("local:smollm2-135m-instruct", "house")]
        assert found.demo
        assert "DEMO" in str(found)

    def test_whatever_the_demo_answers_is_second_best(self) -> None:
        found = route("both")

        assert found.is_degraded(found.candidates[0])

    def test_a_key_that_the_caller_lacks_is_told_before_what_the_endpoint_lacks(self) -> None:
        found = route("old", Caller(keys={"gemini": "k"}))

        assert [skip.code.value for skip in found.skipped] == ["not_your_key", "not_your_key"]

    def test_the_demo_never_serves_a_caller_with_keys(self) -> None:
        found = route("both", Caller(keys={"anthropic": "k"}))

        assert candidates(found) == []
        assert not found.demo


class TestFilters:
    """What keeps an endpoint out, and the reason given."""

    @pytest.mark.parametrize(
        ("needs", "code"),
        [
            (Needs(tools=True), "no_tools"),
            (Needs(images=True), "no_images"),
            (Needs(tokens=5000), "context_window"),
        ],
    )
    def test_an_endpoint_that_cannot_is_skipped_with_the_reason(self, needs: Needs, code: str) -> None:
        found = route("both", needs=needs)

        assert [skip.code.value for skip in found.skipped] == [code]
        assert isinstance(found.expected_error(), NoEndpointError)

    def test_an_option_of_the_call_that_an_endpoint_rejects_skips_it(self) -> None:
        snapshot = parse_table(TABLE.replace("gemini-3.5-flash-lite", "gemini-3.5-flash"), environ=BOTH)

        found = plan_route(snapshot, "both", Caller(), Needs(options=Options(temperature=0.2)), today=TODAY)

        assert candidates(found) == [("gemini:gemini-3.5-flash", "house")]
        assert found.skipped[0].code == "option"

    def test_a_retired_model_is_skipped(self) -> None:
        found = route("old", environ=OPENAI)

        assert candidates(found) == [("openai:gpt-6-luna", "house")]
        assert "retired on 2026-10-23" in found.skipped[0].reason

    def test_every_endpoint_is_kept_or_skipped(self) -> None:
        found = route("both", environ=OPENAI)

        assert len(found.candidates) + len(found.skipped) == 2


ENDPOINTS = [
    "openai:gpt-6-luna",
    "openai:gpt-6.1-sol",
    "gemini:gemini-3.5-flash-lite",
    "openai:smollm2-135m-instruct",
]


@pytest.fixture(scope="module")
def shared() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    chain=st.lists(st.sampled_from(ENDPOINTS), min_size=1, max_size=4, unique=True),
    keys=st.sets(st.sampled_from(["openai", "gemini"])),
    house=st.sets(st.sampled_from(sorted(HOUSE_KEYS))),
    policy=st.sampled_from([None, "house_only", "byok_only", "byok_then_house"]),
    tools=st.booleans(),
    down=st.booleans(),
    allowed=st.booleans(),
)
def test_a_call_does_what_explain_shows(  # noqa: PLR0917 - one for each thing that is drawn
    shared: LoopbackProvider,
    chain: list[str],
    keys: set[str],
    house: set[str],
    policy: Any,
    tools: bool,  # noqa: FBT001 - drawn
    down: bool,  # noqa: FBT001 - drawn
    allowed: bool,  # noqa: FBT001 - drawn
) -> None:
    shared.clear()
    if down:
        shared.always(Status(503))
    environ = {name: HOUSE_KEYS[name] for name in house}
    row = f"[features.f]\nhouse_fallback = {str(allowed).lower()}"
    patchbay = loopback_patchbay(shared, {"f": chain}, row, environ=environ, time=VirtualTime().time)
    caller = Caller(keys={name: f"users-{name}" for name in keys}, key_policy=policy)
    owners = {**{f"users-{name}": "user" for name in keys}, **dict.fromkeys(HOUSE_KEYS.values(), "house")}

    with use_caller(caller):
        shown = patchbay.explain("f", needs=Needs(tools=tools))
        model = patchbay.get_llm("f")
        try:
            (model.bind_tools([_tool]) if tools else model).invoke("hi")
            failed = False
        except LLMError:
            failed = True
    patchbay.close()

    expected = candidates(shown) if down else candidates(shown)[:1]
    sent = list(dict.fromkeys((request.model, owners[request.key or ""]) for request in shared.requests))
    assert sent == [(endpoint.partition(":")[2], owner) for endpoint, owner in expected]
    assert failed == (down or not expected)
    if keys and not (policy == "house_only" or (policy == "byok_then_house" and allowed)):
        assert "house" not in {owner for _, owner in sent}


brought = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["key-1", "key-2"]) for name in ("openai", "gemini", "elsewhere")}
)
OWN = OwnEndpoint(base_url="https://models.example", model="m", key=SecretStr("key-1"))
policies = st.sampled_from([None, "house_only", "byok_only", "byok_then_house"])
callers = st.builds(Caller, keys=brought, key_policy=policies) | st.builds(
    Caller, own_endpoint=st.just(OWN), key_policy=policies
)
asked = st.tuples(callers, st.sampled_from([0, 0, 900_000, 10**9]), st.sampled_from([False, False, True]))
EXTRAS = [
    *[""] * 5,
    'select = "latency"',
    "house_fallback = true",
    "max_cost_usd = 0.01",
    'limits = { requests = "100/minute" }',
]


@given(
    chain=st.permutations(ENDPOINTS),
    extra=st.sampled_from(EXTRAS),
    counted=st.sampled_from([False, False, True]),
    down=st.sets(
        st.tuples(st.sampled_from(ENDPOINTS), st.sampled_from(["key-1", "key-2", "a", "b"])), max_size=2
    ),
    asks=st.lists(asked, min_size=4, max_size=8),
)
def test_what_is_kept_of_other_calls_decides_nothing(
    chain: list[str],
    extra: str,
    counted: bool,  # noqa: FBT001 - drawn
    down: set[tuple[str, str]],
    asks: list[tuple[Caller, int, bool]],
) -> None:
    limits = 'user_limits = { requests = "50/minute" }' if counted else ""
    text = f"""
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
{limits}
[providers.gemini]
api = "gemini"
api_key_env = "GEMINI_API_KEY"
[profiles.premium]
f = {chain}
[profiles.byok]
extends = "premium"
[features.f]
{extra}
"""
    health = HealthTracker(lambda: 0.0)
    for endpoint, key in down:
        for _ in range(10):
            health.record_failure(
                Circuit(endpoint, compute_fingerprint(SecretStr(key))), FailureCategory.SERVER
            )
    warm = parse_table(text, environ=BOTH)
    for caller, tokens, tools in asks:
        needs = Needs(tokens=tokens, tools=tools)
        cold = parse_table(text, environ=BOTH)
        found, anew = (
            plan_route(snapshot, "f", caller, needs, today=TODAY, health=health) for snapshot in (warm, cold)
        )

        assert found == anew
        assert [candidate.key for candidate in found.candidates] == [one.key for one in anew.candidates]


def _tool(text: str) -> str:
    """Say something."""
    return text
