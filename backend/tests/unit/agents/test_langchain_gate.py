"""The gate around the tool calls of LangChain's `create_agent`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from backend.agents.errors import ConfirmationChangedError
from backend.agents.in_memory import MemoryConfirmations
from backend.agents.langchain_gate import ConfirmedTools
from backend.tests.fakes.agents import ANN, BOB, deletes, error_of, wants
from backend.utils.llm.testing import ScriptedChatModel

if TYPE_CHECKING:
    from backend.access import Owner

CONFIG: Any = {"configurable": {"thread_id": "t1"}}


class Graph:
    """An agent of LangChain's with a tool that deletes; ``owner`` resumes it."""

    def __init__(self, *script: Any, policy: Any = "ask") -> None:
        self.done: list[int] = []
        self.owner: Owner = ANN
        self.began, self.slow = asyncio.Event(), asyncio.Event()
        self.slow.set()
        self.model = ScriptedChatModel(script=list(script), repeat_last=True)

        @tool
        async def delete(number: int) -> str:
            """Delete something."""
            self.done.append(number)
            self.began.set()
            await self.slow.wait()
            return f"deleted {number}"

        gate = ConfirmedTools(
            MemoryConfirmations(), [delete], {"delete": ("dangerous", policy)}, owner=lambda: self.owner
        )
        self.agent: Any = create_agent(self.model, [delete], middleware=[gate], checkpointer=InMemorySaver())

    async def begin(self) -> Any:
        """Run until it waits; what it asks."""
        found = await self.agent.ainvoke({"messages": [("user", "Delete it.")]}, CONFIG)
        return found["__interrupt__"][0].value

    async def resume(self, **answer: Any) -> list[str]:
        """Answer, and return what tools and the model said then."""
        found = await self.agent.ainvoke(Command(resume=answer), CONFIG)
        return [message.text for message in found["messages"][2:]]


async def test_a_tool_waits_for_a_yes_and_runs_what_was_shown() -> None:
    graph = Graph(deletes(), "Gone.")

    asked = await graph.begin()
    before = list(graph.done)
    said = await graph.resume(decision="approve", digest=asked["digest"])

    assert (asked["arguments"][0]["text"], before, graph.done) == ("7", [], [7])
    assert said == ["deleted 7", "Gone."]


async def test_a_thread_that_is_resumed_many_times_at_once_runs_its_tool_once() -> None:
    graph = Graph(deletes(), "Gone.")
    asked = await graph.begin()
    yes = {"decision": "approve", "digest": asked["digest"]}

    await asyncio.gather(*(graph.resume(**yes) for _ in range(20)), return_exceptions=True)

    assert graph.done == [7]


async def test_a_node_that_a_graph_runs_again_after_a_crash_does_not_run_its_tool_again() -> None:
    graph = Graph(deletes(), "Gone.")
    asked = await graph.begin()
    graph.slow.clear()

    first = asyncio.create_task(graph.resume(decision="approve", digest=asked["digest"]))
    await graph.began.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    again = await graph.resume(decision="approve", digest=asked["digest"])
    graph.slow.set()

    assert (graph.done, error_of(again[0])) == ([7], "Elsewhere")


async def test_a_rejected_call_is_not_run_and_an_edited_one_runs_edited() -> None:
    rejected, edited = Graph(deletes(), "Fine."), Graph(deletes(), "Gone.")
    no, other = await rejected.begin(), await edited.begin()

    said = await rejected.resume(decision="reject", digest=no["digest"], reason="Keep it.")
    await edited.resume(decision="edit", digest=other["digest"], arguments={"number": 8})

    assert (rejected.done, "Keep it." in said[0], edited.done) == ([], True, [8])


async def test_another_user_or_another_digest_changes_nothing_and_the_right_one_still_can() -> None:
    graph = Graph(deletes(), "Gone.")
    asked = await graph.begin()

    with pytest.raises(ConfirmationChangedError):
        await graph.resume(decision="approve", digest="0" * 64)
    graph.owner = BOB
    denied = (await graph.resume(decision="approve", digest=asked["digest"]))[0]

    assert (graph.done, error_of(denied)) == ([], "NotAsked")


async def test_arguments_that_do_not_fit_are_told_to_the_model_and_nobody_is_asked() -> None:
    graph = Graph(wants(("delete", {"number": "seven"})), "Sorry.")

    found = await graph.agent.ainvoke({"messages": [("user", "Delete it.")]}, CONFIG)

    assert error_of(found["messages"][2].text) == "InvalidArguments"


async def test_a_tool_that_nobody_has_to_be_asked_for_runs_once_and_a_denied_one_does_not() -> None:
    allowed, denied = Graph(deletes(), "Gone.", policy="allow"), Graph(deletes(), "No.", policy="deny")

    for graph in (allowed, denied):
        await graph.agent.ainvoke({"messages": [("user", "Delete it.")]}, CONFIG)

    assert (allowed.done, denied.done) == ([7], [])
