"""Agents as models of the wires."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from backend.agents.as_models import AgentResponder
from backend.tests.fakes.agents import World
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.options import Options
from backend.wires.answer import ChoiceStarted
from backend.wires.faults import InvalidRequestError, UnsupportedParameterError
from backend.wires.request import CompletionRequest

if TYPE_CHECKING:
    from backend.agents.runner import AgentRunner


@pytest.mark.parametrize("before", [True, False])
async def test_an_agent_takes_no_file_that_is_only_named_whoever_pays_now(*, before: bool) -> None:
    named = HumanMessage([{"type": "text", "text": "Sum up."}, {"type": "file", "file_id": "file-a"}])
    messages = [named, AIMessage("Done."), HumanMessage("And now?")] if before else [named]
    nobody = cast("AgentRunner", None)
    responder = AgentResponder(nobody, "assistant")

    with (
        use_caller(Caller(user_id="ann", keys={"openai": "sk-of-ann"})),
        pytest.raises(InvalidRequestError) as caught,
    ):
        await responder.answer(CompletionRequest(model="@assistant", messages=messages))

    assert caught.value.fault.param == "messages"


SET = CompletionRequest(
    model="@clerk",
    messages=[HumanMessage("Hello?")],
    options=Options(temperature=0, max_output_tokens=5, logprobs=False),
    stop=["."],
)
NAMES = ["max_output_tokens", "temperature", "stop"]


async def test_an_agent_names_what_it_leaves_out_of_what_is_set_for_one_call() -> None:
    responder = AgentResponder(World(["Good morning.", "Good morning."]).runner, "clerk")

    with use_caller(Caller(user_id="ann")):
        answer = await responder.answer(SET)
        first, *_ = [event async for event in responder.stream(SET)]

    assert answer.choices[0].text == "Good morning."
    assert answer.ignored == NAMES
    assert first == ChoiceStarted(NAMES)


async def test_an_agent_names_nothing_where_nothing_is_set() -> None:
    responder = AgentResponder(World(["Good morning."]).runner, "clerk")

    with use_caller(Caller(user_id="ann")):
        answer = await responder.answer(replace(SET, options=Options(), stop=(), is_strict=True))

    assert answer.ignored == []


async def test_an_agent_names_a_maximum_of_tokens_and_refuses_none_since_messages_requires_one() -> None:
    responder = AgentResponder(World(["Good morning."]).runner, "clerk")

    with use_caller(Caller(user_id="ann")):
        options = Options(max_output_tokens=100)
        answer = await responder.answer(replace(SET, options=options, stop=(), is_strict=True))

    assert answer.ignored == ["max_output_tokens"]


async def test_an_agent_refuses_a_strict_request_that_sets_something() -> None:
    responder = AgentResponder(World([]).runner, "clerk")

    with use_caller(Caller(user_id="ann")):
        with pytest.raises(UnsupportedParameterError, match="temperature, stop") as whole:
            await responder.answer(replace(SET, is_strict=True))
        with pytest.raises(UnsupportedParameterError):
            await anext(responder.stream(replace(SET, is_strict=True)))

    assert (whole.value.fault.status, whole.value.fault.param) == (400, "temperature")


async def test_an_agent_refuses_to_tell_probabilities() -> None:
    responder = AgentResponder(World([]).runner, "clerk")

    with use_caller(Caller(user_id="ann")), pytest.raises(InvalidRequestError) as caught:
        await responder.answer(replace(SET, options=Options(logprobs=True)))

    assert caught.value.fault.param == "logprobs"
