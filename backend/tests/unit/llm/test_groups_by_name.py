"""A group is called by its name, as a feature is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.utils.llm.errors import UnknownFeatureError
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

FEATURES = {"chat": "group:quality", "vectors": "group:vectors"}
MORE = """
[groups.quality]
endpoints = ["anthropic:claude-haiku-5-5"]
then = "fast"

[groups.fast]
endpoints = ["openai:gpt-6-luna"]

[groups.vectors]
endpoints = ["openai:text-embedding-3-small"]

[features.vectors]
embedding = { model = "text-embedding-3-small" }
"""


def test_a_group_serves_calls_and_goes_on_to_the_next(provider: LoopbackProvider) -> None:
    provider.script(Status(404), Text("Here."))
    patchbay = loopback_patchbay(provider, FEATURES, MORE)

    answer = patchbay.get_llm("group:quality").invoke("Where?")

    assert answer.text == "Here."
    assert answer.response_metadata["receipt"]["feature"] == "group:quality"
    assert answer.response_metadata["receipt"]["endpoint"] == "openai:gpt-6-luna"


def test_explain_tells_what_a_group_runs_on(provider: LoopbackProvider) -> None:
    patchbay = loopback_patchbay(provider, FEATURES, MORE)

    route = patchbay.explain("group:fast").as_dict()

    assert route["feature"] == "group:fast"
    assert [one["endpoint"] for one in route["candidates"]] == ["openai:gpt-6-luna"]


def test_groups_are_told_beside_features_and_are_none(provider: LoopbackProvider) -> None:
    patchbay = loopback_patchbay(provider, FEATURES, MORE)

    assert list(patchbay.chat_models()) == ["chat", "group:quality", "group:fast"]
    assert list(patchbay.get_qos_info().features) == ["chat", "vectors"]


@pytest.mark.parametrize("name", ["group:vectors", "group:nope", "group:"])
def test_no_other_group_is_called(provider: LoopbackProvider, name: str) -> None:
    patchbay = loopback_patchbay(provider, FEATURES, MORE)

    with pytest.raises(UnknownFeatureError):
        patchbay.get_llm(name)
    assert not patchbay.has_chat_model(name)


def test_a_call_may_be_given_its_id(provider: LoopbackProvider) -> None:
    provider.script(Text("Here."))
    given = "0193a3c4-7d1e-7a00-8000-000000000001"

    answer = loopback_patchbay(provider, FEATURES, MORE).get_llm("chat").invoke("Where?", call_id=given)

    assert answer.response_metadata["receipt"]["id"] == given
