"""The gate around the tool calls of LangChain's `create_agent`."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from typing_extensions import override

from backend.agents.confirmations import StateChange
from backend.agents.errors import ConfirmationsUnreachableError
from backend.agents.in_memory import InMemoryConfirmationStore
from backend.agents.langchain_gate import ConfirmedTools
from backend.tests.fakes.agents import ANN, BOB, NOON, deletes, error_of, wants
from backend.utils.llm.execution.loop_thread import THREAD
from backend.utils.llm.testing import ScriptedChatModel

if TYPE_CHECKING:
    from backend.access import DataOwner
    from backend.agents.confirmations import Confirmation

CONFIG: Any = {"configurable": {"thread_id": "t1"}}


class Doubts:
    """An authority that says no, until it `agrees`."""

    def __init__(self) -> None:
        self.agrees = False

    async def __call__(self, _: Confirmation) -> str | None:
        return None if self.agrees else "not now."


class StoreThatGoesAway(InMemoryConfirmationStore):
    """Changes nothing while it is ``away``."""

    away = False

    @override
    async def apply_change(
        self, owner: DataOwner, confirmation_id: str, change: StateChange
    ) -> Confirmation | None:
        if self.away:
            raise ConfirmationsUnreachableError
        return await super().apply_change(owner, confirmation_id, change)


class Graph:
    """An agent of LangChain's with a tool that deletes; ``owner`` resumes it."""

    def __init__(self, *script: Any, policy: Any = "ask", store: Any = None, **gate_options: Any) -> None:
        self.done: list[int] = []
        self.owner: DataOwner = ANN
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

        terms: Any = {"delete": ("dangerous", policy)}
        self.store = store or InMemoryConfirmationStore()
        gate = ConfirmedTools(self.store, [delete], terms, owner=lambda: self.owner, **gate_options)
        self.agent: Any = create_agent(self.model, [delete], middleware=[gate], checkpointer=InMemorySaver())

    async def begin(self) -> Any:
        """Run until it waits; what it asks."""
        found = await self.agent.ainvoke({"messages": [("user", "Delete it.")]}, CONFIG)
        return found["__interrupt__"][0].value

    async def resume(self, **answer: Any) -> list[str]:
        """Answer, and return what tools and the model said then."""
        found = await self.agent.ainvoke(Command(resume=answer), CONFIG)
        return [message.text for message in found["messages"][2:]]

    async def refused(self, **answer: Any) -> Any:
        """Answer with what cannot be taken; what it asks then."""
        found = await self.agent.ainvoke(Command(resume=answer), CONFIG)
        return found["__interrupt__"][0].value


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


async def test_another_user_changes_nothing() -> None:
    graph = Graph(deletes(), "Gone.")
    asked = await graph.begin()

    graph.owner = BOB
    denied = (await graph.resume(decision="approve", digest=asked["digest"]))[0]

    assert (graph.done, error_of(denied)) == ([], "NotAsked")


async def test_a_decision_that_cannot_be_taken_is_told_and_another_one_can() -> None:
    graph = Graph(deletes(), "Gone.")
    asked = await graph.begin()

    first = await graph.refused(decision="approve", digest="0" * 64)
    second = await graph.refused(decision="edit", digest=first["digest"], arguments={"number": "x"})
    said = await graph.resume(decision="approve", digest=second["digest"])

    assert [one["error"]["code"] for one in (first, second)] == ["confirmation_changed", "invalid_edit"]
    assert first["digest"] == asked["digest"]
    assert (graph.done, said) == ([7], ["deleted 7", "Gone."])


@pytest.mark.parametrize("other", ["reject", "edit"])
async def test_a_yes_that_was_refused_does_not_beat_what_the_person_says_then(other: str) -> None:
    may = Doubts()
    graph = Graph(deletes(), "Fine.", authorize=may)
    asked = await graph.begin()

    anew = await graph.refused(decision="approve", digest=asked["digest"])
    may.agrees = True
    await graph.resume(decision=other, digest=anew["digest"], arguments={"number": 8})

    assert anew["error"]["code"] == "confirmation_revoked"
    assert graph.done == {"reject": [], "edit": [8]}[other]


async def test_a_graph_that_runs_again_by_itself_does_not_take_a_yes_that_was_refused() -> None:
    may = Doubts()
    graph = Graph(deletes(), "Gone.", authorize=may)
    asked = await graph.begin()

    anew = await graph.refused(decision="approve", digest=asked["digest"])
    may.agrees = True
    found = await graph.agent.ainvoke(None, CONFIG)
    before = list(graph.done)
    await graph.resume(decision="approve", digest=anew["digest"])

    assert found["__interrupt__"][0].value["digest"] == anew["digest"] != asked["digest"]
    assert (before, graph.done) == ([], [7])


async def test_a_yes_while_confirmations_were_away_does_not_beat_a_later_no() -> None:
    store = StoreThatGoesAway()
    graph = Graph(deletes(), "Fine.", store=store)
    asked = await graph.begin()

    store.away = True
    with pytest.raises(ConfirmationsUnreachableError):
        await graph.resume(decision="approve", digest=asked["digest"])
    store.away = False
    said = await graph.resume(decision="reject", reason="Keep it.")

    assert (graph.done, "Keep it." in said[0]) == ([], True)


async def test_a_refused_yes_to_run_again_what_may_have_been_done_does_not_beat_a_later_no() -> None:
    may, now = Doubts(), [NOON]
    graph = Graph(deletes(), "Fine.", authorize=may, now=lambda: now[0])
    asked = await graph.begin()
    left = StateChange("pending", "executing", NOON, "agent.approved", "ann", {"leased_until": NOON + 1})
    await graph.store.apply_change(ANN, asked["id"], left)
    now[0] += 2

    anew = await graph.refused(decision="approve", digest=asked["digest"], again=True)
    may.agrees = True
    await graph.resume(decision="reject", digest=anew["digest"])

    assert (anew["digest"] != asked["digest"], graph.done) == (True, [])


async def test_what_is_not_as_it_was_sealed_is_not_sealed_when_a_yes_to_it_is_refused() -> None:
    graph = Graph(deletes(), "Fine.")
    asked = await graph.begin()
    forged = StateChange("pending", "pending", 0, "agent.asked", "mallory", {"arguments": '{"number":666}'})
    await graph.store.apply_change(ANN, asked["id"], forged)

    anew = await graph.refused(decision="approve", digest=asked["digest"])
    again = await graph.refused(decision="approve", digest=anew["digest"])

    assert (again["error"]["code"], graph.done) == ("confirmation_changed", [])


async def test_arguments_that_do_not_fit_are_told_to_the_model_and_nobody_is_asked() -> None:
    graph = Graph(wants(("delete", {"number": "seven"})), "Sorry.")

    found = await graph.agent.ainvoke({"messages": [("user", "Delete it.")]}, CONFIG)

    assert error_of(found["messages"][2].text) == "InvalidArguments"


async def test_a_tool_that_nobody_has_to_be_asked_for_runs_once_and_a_denied_one_does_not() -> None:
    allowed, denied = Graph(deletes(), "Gone.", policy="allow"), Graph(deletes(), "No.", policy="deny")

    for graph in (allowed, denied):
        await graph.agent.ainvoke({"messages": [("user", "Delete it.")]}, CONFIG)

    assert (allowed.done, denied.done) == ([7], [])


class SynchronousGraph:
    """A synchronous agent with a synchronous tool that deletes."""

    def __init__(self, *script: Any, policy: Any = "ask", **gate_options: Any) -> None:
        self.done: list[int] = []
        self.threads: list[str] = []

        @tool
        def delete(number: int) -> str:
            """Delete something."""
            self.threads.append(threading.current_thread().name)
            self.done.append(number)
            return f"deleted {number}"

        terms: Any = {"delete": ("dangerous", policy)}
        gate = ConfirmedTools(InMemoryConfirmationStore(), [delete], terms, owner=lambda: ANN, **gate_options)
        model = ScriptedChatModel(script=list(script), repeat_last=True)
        self.agent: Any = create_agent(model, [delete], middleware=[gate], checkpointer=InMemorySaver())

    def begin(self) -> Any:
        return self.agent.invoke({"messages": [("user", "Delete it.")]}, CONFIG)

    def resume(self, **answer: Any) -> list[str]:
        found = self.agent.invoke(Command(resume=answer), CONFIG)
        return [message.text for message in found["messages"][2:]]


def test_a_synchronous_agent_waits_for_a_yes_too_and_runs_its_tool_once() -> None:
    graph = SynchronousGraph(deletes(), "Gone.")
    (asked,) = graph.begin()["__interrupt__"]
    before = list(graph.done)
    yes = {"decision": "approve", "digest": asked.value["digest"]}

    with ThreadPoolExecutor(8) as threads:
        said = [future.result() for future in [threads.submit(graph.resume, **yes) for _ in range(8)]]

    assert (before, graph.done) == ([], [7])
    assert ["deleted 7", "Gone."] in said
    assert THREAD not in graph.threads  # the loop waits for nobody's tool


def test_a_synchronous_agents_rejected_call_is_not_run_and_a_wrong_digest_changes_nothing() -> None:
    graph = SynchronousGraph(deletes(), "Fine.")
    (asked,) = graph.begin()["__interrupt__"]

    graph.resume(decision="approve", digest="0" * 64)
    said = graph.resume(decision="reject", digest=asked.value["digest"], reason="Keep it.")

    assert (graph.done, "Keep it." in said[0]) == ([], True)


@pytest.mark.parametrize("other", ["reject", "edit"])
def test_a_synchronous_agents_refused_yes_does_not_beat_what_the_person_says_then(other: str) -> None:
    may = Doubts()
    graph = SynchronousGraph(deletes(), "Fine.", authorize=may)
    (asked,) = graph.begin()["__interrupt__"]

    yes = {"decision": "approve", "digest": asked.value["digest"]}
    (anew,) = graph.agent.invoke(Command(resume=yes), CONFIG)["__interrupt__"]
    may.agrees = True
    graph.resume(decision=other, digest=anew.value["digest"], arguments={"number": 8})

    assert graph.done == {"reject": [], "edit": [8]}[other]


def test_a_synchronous_tool_that_nobody_has_to_be_asked_for_runs_once() -> None:
    graph = SynchronousGraph(deletes(), "Gone.", policy="allow")

    graph.begin()

    assert graph.done == [7]
