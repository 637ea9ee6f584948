"""Agents as models of the wires."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from backend.agents.as_models import AgentResponder
from backend.utils.llm.caller import Caller, use_caller
from backend.wires.faults import InvalidRequestError
from backend.wires.request import CompletionRequest

if TYPE_CHECKING:
    from backend.agents.runner import Runner


@pytest.mark.parametrize("before", [True, False])
async def test_an_agent_takes_no_file_that_is_only_named_whoever_pays_now(*, before: bool) -> None:
    named = HumanMessage([{"type": "text", "text": "Sum up."}, {"type": "file", "file_id": "file-a"}])
    messages = [named, AIMessage("Done."), HumanMessage("And now?")] if before else [named]
    nobody = cast("Runner", None)
    responder = AgentResponder(nobody, "assistant")

    with (
        use_caller(Caller(user_id="ann", keys={"openai": "sk-of-ann"})),
        pytest.raises(InvalidRequestError) as caught,
    ):
        await responder.answer(CompletionRequest(model="@assistant", messages=messages))

    assert caught.value.fault.param == "messages"
