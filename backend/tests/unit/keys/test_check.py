"""What is said of a key, after one cheap call with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.keys.check import PROMPT, KeyCheckOutcome, check_key
from backend.utils.llm import Caller, OwnEndpoint, Patchbay, Table
from backend.utils.llm.testing import Raw, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay, loopback_table
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backend.utils.llm.testing import LoopbackProvider

FEATURES = {
    "dear": "openai:gpt-5.1",
    "cheap": "openai:gpt-6-luna",
    "elsewhere": "gemini:gemini-3.5-flash-lite",
}
ANN = Caller(user_id="ann", keys={"openai": "sk-of-ann"})


@pytest.fixture
async def patchbay(provider: LoopbackProvider) -> AsyncIterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, time=VirtualTime().time)
    yield made
    await made.aclose()


async def test_a_key_that_works_is_valid_and_was_sent_once_to_the_cheapest(
    patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    provider.always(Text("ok"))

    assert await check_key(patchbay, ANN) == KeyCheckOutcome("valid", "openai:gpt-6-luna")

    (request,) = provider.requests
    assert request.key == "sk-of-ann"
    assert PROMPT in str(request.body)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        pytest.param(Status(401), "revoked", id="401"),
        pytest.param(Status(403), "no_access", id="403"),
        pytest.param(Status(404), "no_access", id="404"),
        pytest.param(Status(402), "no_quota", id="402"),
        pytest.param(Status(429), "unclear", id="429"),
        pytest.param(Status(503), "unclear", id="503"),
        pytest.param(Text("o", finish="length"), "valid", id="cut short"),
    ],
)
async def test_what_the_provider_answers_decides(
    answer: Status | Text, verdict: str, patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    provider.always(answer)

    assert (await check_key(patchbay, ANN)).verdict == verdict


async def test_a_key_that_nothing_of_the_table_can_use_is_unclear_and_not_sent(
    patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    caller = Caller(user_id="ann", keys={"acme": "sk-of-ann"})

    assert await check_key(patchbay, caller) == KeyCheckOutcome("unclear")
    assert len(provider.requests) == 0


async def test_the_houses_key_is_never_tried_in_its_stead(
    patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    provider.always(Status(401))

    await check_key(patchbay, ANN)

    assert {request.key for request in provider.requests} == {"sk-of-ann"}


@pytest.fixture
async def lab(provider: LoopbackProvider) -> AsyncIterator[Patchbay]:
    """Users may have endpoints on loopback."""
    text = f'private_networks = ["127.0.0.0/8"]\n{loopback_table(provider, FEATURES)}'
    made = Patchbay(Table(text=text, environ=HOUSE_KEYS), time=VirtualTime().time)
    yield made
    await made.aclose()


def own(base_url: str) -> Caller:
    endpoint = OwnEndpoint(base_url=base_url, model="llama", key=SecretStr("sk-of-ann"))
    return Caller(user_id="ann", own_endpoint=endpoint, key_policy="byok_only")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(Text("ok"), "valid"), (Status(401), "revoked"), (Raw(200, "x" * 9_000_000), "out_of_reach")],
    ids=["valid", "401", "too long"],
)
async def test_an_endpoint_of_their_own_is_tried_where_it_is(
    answer: Text | Status | Raw, verdict: str, lab: Patchbay, provider: LoopbackProvider
) -> None:
    provider.always(answer)

    assert await check_key(lab, own(provider.openai_url)) == KeyCheckOutcome(verdict, "own:llama")  # type: ignore[arg-type]
    assert {(request.key, request.model) for request in provider.requests} == {("sk-of-ann", "llama")}


async def test_a_forbidden_endpoint_is_reported_and_not_asked(
    patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    assert await check_key(patchbay, own(provider.openai_url)) == KeyCheckOutcome("out_of_reach")
    assert len(provider.requests) == 0
