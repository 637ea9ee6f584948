"""A call may name its endpoint, and do without fallbacks, within what its caller may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm import Caller, get_llm, receipt_of, use
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    LLMError,
    NoEndpointError,
    ProviderDownError,
    UnknownEndpointError,
)
from backend.utils.llm.routing.route import Needs
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm import Patchbay

    from .drivers import Driver

LUNA, TERRA, FLASH = "openai:gpt-6-luna", "openai:gpt-6.1-terra", "gemini:gemini-3.5-flash-lite"
FEATURES = {"f": [LUNA, FLASH], "other": TERRA, "tiered": "group:plans"}
ROWS = f"""
[features.f]
attempts = 1
[groups.plans]
endpoints = ["{LUNA}", "{TERRA}"]
[groups.plans.select]
by = "tier"
default = "free"
tiers.free.endpoints = ["{LUNA}"]
tiers.pro.endpoints = ["{TERRA}", "{LUNA}"]
"""


@pytest.fixture(autouse=True)
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, ROWS, time=VirtualTime().time)
    provider.always(Text("hello"))
    with use(made):
        yield made
    made.close()


def asked(provider: LoopbackProvider) -> list[str]:
    return [request.model for request in provider.requests]


@pytest.mark.parametrize("way", ["model", "call"])
def test_it_is_asked_first_and_the_receipt_tells_who_wanted_it(
    way: str, call: Driver, provider: LoopbackProvider
) -> None:
    model: Any = get_llm("f", endpoint=TERRA) if way == "model" else get_llm("f").bind(endpoint=TERRA)

    receipt = receipt_of(call(model, "hi"))

    assert asked(provider) == ["gpt-6.1-terra"]
    assert (receipt["endpoint"], receipt["asked_for"], receipt["degraded"]) == (TERRA, TERRA, False)


def test_the_features_own_stand_behind_it(call: Driver, provider: LoopbackProvider) -> None:
    provider.script(Status(503), model="gpt-6.1-terra")

    receipt = receipt_of(call(get_llm("f", endpoint=TERRA), "hi"))

    assert asked(provider) == ["gpt-6.1-terra", "gpt-6-luna"]
    assert receipt["degraded"] is True


def test_without_fallbacks_nobody_else_is_asked(call: Driver, provider: LoopbackProvider) -> None:
    provider.always(Status(503))

    with pytest.raises(ProviderDownError):
        call(get_llm("f", endpoint=TERRA, fallbacks=False), "hi")

    assert set(asked(provider)) == {"gpt-6.1-terra"}


def test_without_fallbacks_and_without_a_name_the_first_is_alone(
    call: Driver, provider: LoopbackProvider
) -> None:
    provider.always(Status(503))

    with pytest.raises(ProviderDownError):
        call(get_llm("f").bind(fallbacks=False), "hi")
    with pytest.raises(AllAttemptsFailedError):
        call(get_llm("f"), "hi")

    assert set(asked(provider)[:1]) == {"gpt-6-luna"}


def test_an_endpoint_that_stands_in_its_chain_already_is_asked_once(provider: LoopbackProvider) -> None:
    provider.always(Status(503))

    with pytest.raises(AllAttemptsFailedError):
        get_llm("f", endpoint=FLASH).invoke("hi")

    assert asked(provider) == ["gemini-3.5-flash-lite", "gpt-6-luna"]


@pytest.mark.parametrize("way", ["model", "call"])
def test_one_that_the_table_does_not_hold_is_refused_with_the_nearest(
    way: str, provider: LoopbackProvider
) -> None:
    wrong: dict[str, Any] = {"endpoint": "openai:gpt-6-lunar"}
    ways: dict[str, Callable[[], Any]] = {
        "model": lambda: get_llm("f", **wrong),
        "call": lambda: get_llm("f").invoke("hi", **wrong),
    }

    with pytest.raises(UnknownEndpointError, match="Did you mean 'openai:gpt-6-luna'"):
        ways[way]()

    assert len(provider.requests) == 0


def test_a_caller_without_a_key_for_it_does_not_get_it(provider: LoopbackProvider) -> None:
    caller = Caller(keys={"gemini": "sk-user"})

    receipt = receipt_of(get_llm("f", endpoint=TERRA, caller=caller).invoke("hi"))
    with pytest.raises(LLMError):
        get_llm("f", endpoint=TERRA, fallbacks=False, caller=caller).invoke("hi")

    assert (receipt["endpoint"], receipt["key_owner"]) == (FLASH, "user")
    assert asked(provider) == ["gemini-3.5-flash-lite"]


def test_a_callers_own_key_pays_for_it(provider: LoopbackProvider) -> None:
    caller = Caller(keys={"openai": "sk-user"})

    assert receipt_of(get_llm("f", endpoint=TERRA, caller=caller).invoke("hi"))["key_owner"] == "user"
    assert provider.requests[0].headers["authorization"] == "Bearer sk-user"


def test_what_a_tier_may_not_use_it_may_not_name() -> None:
    free, pro = Caller(user_id="u", tier="free"), Caller(user_id="u", tier="pro")

    assert receipt_of(get_llm("tiered", endpoint=TERRA, caller=free).invoke("hi"))["endpoint"] == LUNA
    assert receipt_of(get_llm("tiered", endpoint=TERRA, caller=pro).invoke("hi"))["endpoint"] == TERRA
    with pytest.raises(NoEndpointError, match="tier 'free'"):
        get_llm("tiered", endpoint=TERRA, fallbacks=False, caller=free).invoke("hi")


def test_explain_tells_the_same(patchbay: Patchbay) -> None:
    route = patchbay.explain("f", needs=Needs(endpoint=TERRA))

    assert [str(candidate.endpoint) for candidate in route.candidates] == [TERRA, LUNA, FLASH]
    assert route.candidates[0].layer == "the call"
    assert [
        str(candidate.endpoint)
        for candidate in patchbay.explain("f", needs=Needs(fallbacks=False)).candidates
    ] == [LUNA]


def test_what_one_call_named_changes_nothing_for_the_next(provider: LoopbackProvider) -> None:
    get_llm("f", endpoint=TERRA).invoke("hi")
    get_llm("f").invoke("hi")

    assert asked(provider) == ["gpt-6.1-terra", "gpt-6-luna"]
