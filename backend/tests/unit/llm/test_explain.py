"""What `explain` shows is what a call made at that moment does: over random tables, callers and histories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.utils.llm import Caller, Needs, Route
from backend.utils.llm.errors import LLMError
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.routing.route import Candidate
    from backend.utils.llm.testing import Reply

ACCOUNTS = {"POOL_A": "pool-key-of-a", "POOL_B": "pool-key-of-b"}
MODELS = ["gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"]
ENDPOINTS = [
    *(f"{provider}:{model}" for provider in ("openai", "pool") for model in MODELS),
    "gemini:gemini-3.5-flash-lite",
]
REPLIES: dict[str, Reply] = {
    "well": Text("well"),
    "down": Status(503),
    "slow down": Status(429),
    "no quota": Status(402),
}
SIMPLE = ["ordered", "weighted", "least_used", "least_busy", "latency", "context", "cost"]


class Call(NamedTuple):
    """One call of a history: who, what, after how long, and how the providers' models are then."""

    caller: Caller
    needs: Needs
    after: float
    replies: dict[str, str]


@st.composite
def callers(draw: st.DrawFn) -> Caller:
    keys = {name: f"users-{name}" for name in draw(st.sets(st.sampled_from(["openai", "pool", "gemini"])))}
    return Caller(
        user_id=draw(st.sampled_from([None, "ann", "bob", "eve"])),
        tier=draw(st.sampled_from([None, "free", "pro", "nobody"])),
        conversation_id=draw(st.sampled_from([None, "c1"])),
        keys=keys,
        key_policy=draw(st.sampled_from([None, "house_only", "byok_then_house"])),
    )


def strategies(among: list[str]) -> st.SearchStrategy[str]:
    """By quota only where there is one: the pool's account ``b`` has a daily limit."""
    has_quota = any(endpoint.startswith("pool:") for endpoint in among)
    return st.sampled_from([*SIMPLE, "quota"] if has_quota else SIMPLE)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], str]:
    """A feature's chain, and further sections."""
    own = draw(st.lists(st.sampled_from(ENDPOINTS), min_size=1, max_size=4, unique=True))
    others = draw(st.lists(st.sampled_from(ENDPOINTS), max_size=3, unique=True))
    by_tier = draw(st.booleans())
    select: Any = {"by": draw(strategies(own))}
    if by_tier:
        free = draw(st.lists(st.sampled_from(own), min_size=1, unique=True))
        select = {"by": "tier", "default": "free", "tiers": {"free": free, "pro": own}}
    row = [
        f"house_fallback = {json.dumps(draw(st.booleans()))}",
        f"select = {_toml(select)}",
        f"on_refusal = {json.dumps(draw(st.sampled_from(['raise', 'next'])))}",
    ]
    if draw(st.booleans()):
        row.append(f"limits = {{ requests = '{draw(st.integers(1, 4))}/minute' }}")
    if not by_tier and draw(st.booleans()):
        row.append(f"split = {{ {json.dumps(draw(st.sampled_from(ENDPOINTS)))} = 50 }}")
    sections = ["[features.f]", *row]
    if others and not by_tier:
        select = {"by": draw(strategies(others))}
        sections += ["[groups.g]", f"endpoints = {json.dumps(others)}", f"select = {_toml(select)}"]
        own = [*own, "group:g"]
    return own, "\n".join(sections)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    down = st.sampled_from(["well", "well", "down", "slow down", "no quota"])
    needs = Needs(tools=draw(st.booleans()), tokens=0)
    after = draw(st.sampled_from([0.0, 1.0, 20.0, 400.0]))
    return Call(draw(callers()), needs, after, {model: draw(down) for model in MODELS})


@pytest.fixture(scope="module")
def shared() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


def _house(tier: str | None, **replies: str) -> Call:
    return Call(Caller(tier=tier), Needs(tokens=0), 0.0, {**dict.fromkeys(MODELS, "well"), **replies})


OPEN_AND_FULL = (
    ["openai:gpt-6-luna", "openai:gpt-6.1-terra"],
    """
    [features.f]
    select = { by = "tier", default = "free", tiers = { free = ["openai:gpt-6.1-terra"], \
        pro = ["openai:gpt-6-luna", "openai:gpt-6.1-terra"] } }
    limits = { requests = "3/minute" }
    """,
)
"""An endpoint whose breaker may be probed, but not before the feature's limit has room."""
COOLING_AND_FULL = (
    ["pool:gpt-6-luna"],
    '[features.f]\nselect = { by = "least_used" }\nlimits = { requests = "3/minute" }',
)
"""A key that is cooling, but not for so long as the feature's limit has no room for either key."""


@example(COOLING_AND_FULL, [_house(None, **{"gpt-6-luna": "slow down"}), _house(None)])
@example(OPEN_AND_FULL, [_house(None), *2 * [_house(None, **{"gpt-6.1-terra": "down"})], _house("pro")])
@given(table=tables(), history=st.lists(calls(), min_size=1, max_size=5))
def test_a_call_does_what_explain_shows(
    shared: LoopbackProvider, table: tuple[list[str], str], history: list[Call]
) -> None:
    virtual = VirtualTime()
    chain, more = table
    patchbay = loopback_patchbay(
        shared,
        {"f": chain},
        f'[providers.pool]\napi = "openai"\nbase_url = "{shared.openai_url}"\n'
        '[providers.pool.accounts.a]\napi_key_env = "POOL_A"\n'
        f'[providers.pool.accounts.b]\napi_key_env = "POOL_B"\nweight = 2\nlimits = {{ requests = "3/day" }}\n{more}',
        environ={**HOUSE_KEYS, **ACCOUNTS},
        time=virtual.time,
    )
    for call in history:
        virtual.sleep(call.after)
        shared.clear()
        for model, reply in call.replies.items():
            shared.always(REPLIES[reply], model=model)
        shown = patchbay.explain("f", caller=call.caller, needs=call.needs)
        was_answered = _call(patchbay, call)
        _compare(shown, shared, was_answered=was_answered)
    patchbay.close()


def _call(patchbay: Patchbay, one: Call) -> bool:
    model = patchbay.get_llm("f", caller=one.caller)
    try:
        (model.bind_tools([_tool]) if one.needs.tools else model).invoke("")
    except LLMError:
        return False
    return True


def _compare(shown: Route, provider: LoopbackProvider, *, was_answered: bool) -> None:
    sent = [(request.model, request.key) for request in provider.requests]
    may_serve = [_wire(candidate) for candidate in shown.candidates]
    if_nothing_else_is_left = [_wire(candidate) for candidate in shown.resting]
    assert set(sent) <= {*may_serve, *if_nothing_else_is_left}
    assert not was_answered or sent
    if not may_serve:
        assert shown.expected_error() is not None
        assert not sent
    if sent and shown.candidates[0].rest is None:  # while one is waited for, another may come back
        assert sent[0] == may_serve[0]


def _wire(candidate: Candidate) -> tuple[str, str]:
    """A candidate as its provider sees it: the model and the key."""
    name = candidate.endpoint.provider.name
    if candidate.owner == "user":
        key = f"users-{name}"
    elif candidate.account is not None and candidate.account.name:
        key = ACCOUNTS[candidate.account.api_key_env]
    else:
        key = HOUSE_KEYS[f"LOOPBACK_{name.upper()}_KEY"]
    return candidate.endpoint.model, key


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def _tool(text: str) -> str:
    """Say something."""
    return text


def test_an_observed_route_explains_itself(provider: LoopbackProvider) -> None:
    observed: list[Route] = []
    patchbay = loopback_patchbay(
        provider, {"f": "openai:gpt-6-luna"}, observer=lambda route, _: observed.append(route)
    )

    patchbay.get_llm("f").invoke("")
    patchbay.close()

    explained = patchbay.explain("f")
    assert isinstance(explained, Route)
    assert str(observed[0]) == str(explained)
    assert observed[0].as_dict() == explained.as_dict()
