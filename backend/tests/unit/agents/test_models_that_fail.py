"""An agent as a model, whose own model fails: before anything was said or changed that is an error, later a text."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from backend.agents.as_models import AgentResponder
from backend.tests.fakes.agents import World, wants
from backend.utils.llm import Caller, use_caller
from backend.utils.llm.errors import LLMError, ProviderDownError
from backend.wires.request import CompletionRequest

LOOKS = ("search", {"words": "tea"})
NOTES = ("note", {"text": "tea"})


async def answered(*script: Any) -> str:
    away = ProviderDownError("It is away.")
    responder = AgentResponder(World([*script, away]).runner, "clerk")
    with use_caller(Caller(user_id="ann")):
        answer = await responder.answer(CompletionRequest(model="@clerk", messages=[HumanMessage("Hello.")]))
    return answer.choices[0].text


@pytest.mark.parametrize("before", [(), (wants(LOOKS),)], ids=["at once", "after a look"])
async def test_what_fails_before_anything_was_said_is_an_error(before: tuple[Any, ...]) -> None:
    with pytest.raises(LLMError, match="It is away"):
        await answered(*before)


async def test_what_fails_once_something_was_said_is_told_in_the_text() -> None:
    assert await answered(wants(LOOKS, text="I look.")) == "I look.\n\n[stopped: It is away.]"


async def test_what_fails_once_a_tool_has_changed_something_is_no_error_that_a_client_would_try_again() -> (
    None
):
    assert "[stopped: It is away.]" in await answered(wants(NOTES))
