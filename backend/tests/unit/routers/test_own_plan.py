"""Explain tells each token its own plan, and only those who watch the house what everybody's calls have brought about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backend.access import Grant, Scope
from backend.routers.own_plan import redact_explanation
from backend.tests.fakes.services import InMemoryTokens, services
from backend.utils.llm import get_llm, use
from backend.utils.llm.routing.route import RejectionCode
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Connect

DOWN, NEXT = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"


def holder(*scopes: Scope, tenant: str = "") -> Grant:
    return Grant("cat", tenant, frozenset(scopes), token_id="t")


GRANTS = {
    "call": holder("call"),
    "debug": holder("debug"),
    "both": holder("call", "debug"),
    "admin": holder("admin"),
    "tenants-call": holder("call", tenant="acme"),
    "tenants-debug": holder("debug", tenant="acme"),
    "tenants-admin": holder("admin", tenant="acme"),
}
SEES_ALL = {"debug", "both", "admin"}


@pytest.fixture
def client(provider: LoopbackProvider, connect: Connect) -> Iterator[httpx2.AsyncClient]:
    """A server whose first provider rests because of what somebody else called."""
    provider.always(Status(503), model=DOWN.partition(":")[2])
    provider.always(Text("hi"), model=NEXT.partition(":")[2])
    facade = loopback_patchbay(provider, {"chat": [DOWN, NEXT]}, time=VirtualTime().time)
    with use(facade):
        for _ in range(6):
            get_llm("chat").invoke("hi")
        yield connect(replace(services(), facade=facade, tokens=InMemoryTokens(**GRANTS)))
    facade.close()


@pytest.mark.parametrize("name", GRANTS)
async def test_what_rests_because_of_others_is_told_to_who_watches_the_house(
    client: httpx2.AsyncClient, name: str
) -> None:
    response = await client.get("/v1/llm/explain/chat", headers={"authorization": f"Bearer {name}"})

    route = response.json()
    told = {(one["code"], one["reason"]) for one in route["skipped"] if one["endpoint"] == DOWN}
    assert route["candidates"][0]["endpoint"] == NEXT
    assert (told == {("unavailable", "is not available now")}) == (name not in SEES_ALL)
    assert ("notice" in route) == (name in SEES_ALL)


def skip(code: RejectionCode, owner: str = "house") -> dict[str, Any]:
    return {
        "endpoint": "a:b",
        "key_owner": owner,
        "account": "first",
        "code": code.value,
        "reason": "7 of 7 calls",
    }


@pytest.mark.parametrize("code", RejectionCode)
def test_a_reason_of_the_users_own_key_is_theirs(code: RejectionCode) -> None:
    own = skip(code, "user")

    assert redact_explanation(holder("call"), {"skipped": [own]})["skipped"] == [own]


@pytest.mark.parametrize("code", RejectionCode)
def test_every_reason_of_the_house_is_either_of_the_call_or_has_no_figures(code: RejectionCode) -> None:
    (seen,) = redact_explanation(holder("call"), {"skipped": [skip(code)]})["skipped"]

    of_the_call = {
        *(
            "no_package",
            "no_key",
            "not_your_key",
            "no_tools",
            "no_structured_output",
            "no_images",
            "no_remote_images",
        ),
        *(
            "no_audio",
            "no_video",
            "no_pdf",
            "context_window",
            "retired",
            "option",
            "tier",
            "price",
            "embedding",
        ),
        *("address", "disabled"),
    }
    assert ("7 of 7" in seen["reason"]) == (code in of_the_call)
    assert seen["account"] is None


@pytest.mark.parametrize(("owner", "rest"), [("user", "rests for 3 s"), ("house", None)])
def test_a_candidate_rests_for_its_owner_alone(owner: str, rest: str | None) -> None:
    one = {"endpoint": "a:b", "key_owner": owner, "account": "first", "rest": "rests for 3 s"}

    (seen,) = redact_explanation(holder("call"), {"candidates": [one]})["candidates"]

    assert (seen["rest"], seen["account"]) == (rest, None)


def test_budgets_of_others_are_for_an_admin_of_the_house() -> None:
    route = {"budgets": [{"per": "user"}, {"per": "token"}, {"per": "feature"}]}

    assert [one["per"] for one in redact_explanation(holder("debug"), route)["budgets"]] == ["user", "token"]
    assert redact_explanation(holder("admin"), route) == route
    assert [one["per"] for one in redact_explanation(holder("admin", tenant="acme"), route)["budgets"]] == [
        "user",
        "token",
    ]
