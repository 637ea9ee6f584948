"""Agents that hand a task to another: one budget, one pause, one yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.agents.agent import Agent, Agents
from backend.agents.budget import RunBudget
from backend.agents.errors import ConfirmationNotFoundError, RunNotFoundError
from backend.database.confirmations import SqlConfirmationStore
from backend.tests.fakes.agents import ANN, BOB, Effects, World, deletes, end, error_of, wants, whole
from backend.utils.llm.testing import ScriptedChatModel

if TYPE_CHECKING:
    from .conftest import MakeWorld

TASK = wants(("worker", {"task": "Delete number 7."}))


def with_worker(make: Any, clerk: list[Any], worker: list[Any], **more: Any) -> World:
    """A clerk that may hand a task to a worker, whose feature is another one."""
    world: World = make(clerk, tools=(), delegates=("worker",), **more)
    model = ScriptedChatModel(script=worker)
    world.models = lambda feature: model if feature == "other" else world.model
    helper = Agent(
        "worker", "other", "You work.", world.effects.tools, about="Deletes.", budget=RunBudget(turns=9)
    )
    clerk_agent = Agent("clerk", "chat_agent", "You help.", (), ("worker",), budget=world.agent.budget)
    world.put_in_force(clerk_agent, helper)
    world.worker = model  # type: ignore[attr-defined]
    return world


def make(script: list[Any], **more: Any) -> World:
    return World(script, **{name: value for name, value in more.items() if name != "delegates"})


async def test_what_the_other_agent_says_is_the_result_of_the_call() -> None:
    world = with_worker(make, [TASK, "All done."], ["It is clean."])

    events = await world.say()

    assert (end(events).text, world.results()) == ("All done.", ["It is clean."])
    assert end(events).spent.turns == 3


async def test_a_yes_to_the_other_agent_goes_on_with_both(world: MakeWorld) -> None:
    def on_stores(script: list[Any], **more: Any) -> World:
        return world(script, **{name: value for name, value in more.items() if name != "delegates"})

    app = with_worker(on_stores, [TASK, "All done."], [deletes(), "Deleted."])
    events = await app.say()
    (one,) = await app.pending()

    answered = await app.approve(one)

    assert (end(events).state, one.agent, app.effects.done) == ("awaiting", "worker", [("delete", 7)])
    assert (end(answered).state, end(answered).text, app.results()) == ("done", "All done.", ["Deleted."])
    assert len(await app.runner.list_recent_runs(ANN)) == 1


async def test_both_share_one_budget() -> None:
    busy = [wants(("search", {"words": str(number)})) for number in range(9)]
    world = with_worker(make, [TASK, "All done."], busy, budget=RunBudget(turns=4))

    events = await world.say()

    asked = len(world.model.calls) + len(world.worker.calls)  # type: ignore[attr-defined]
    assert (asked, end(events).reason, end(events).spent.turns) == (4, "turns", 4)


async def test_what_still_waits_for_a_person_leaves_less_to_the_other_agent() -> None:
    waits = [("delete", {"number": number}) for number in range(4)]
    looks = wants(*[("search", {"words": str(number)}) for number in range(5)])
    looking, deleting, _ = Effects().tools
    budget = RunBudget(tool_calls=5)
    world = World(
        [wants(("worker", {"task": "Look."}), *waits), looks, "Found.", "All done."],
        tools=(deleting,),
        others=[Agent("worker", "other", "You work.", (looking,), about="Looks.", budget=budget)],
        delegates=("worker",),
        budget=budget,
    )

    events = await world.say()
    for confirmation in await world.pending():
        events = await world.approve(confirmation)

    assert end(events).spent.tool_calls == 5


async def test_a_new_message_withdraws_what_the_other_agent_waits_for() -> None:
    world = with_worker(make, [TASK, "What else?"], [deletes(), "Deleted."])
    await world.say()

    events = await world.say("Stop.")

    assert (end(events).state, await world.pending(), world.effects.done) == ("done", [], [])
    assert error_of(world.results()[0]) == "Superseded"


async def test_a_task_that_is_none_is_answered() -> None:
    world = with_worker(make, [wants(("worker", {"job": "x"})), "Sorry."], [])

    await world.say()

    assert error_of(world.results()[0]) == "InvalidArguments"


async def test_a_run_that_is_removed_takes_all_along_that_it_delegated_and_asked_for(
    world: MakeWorld,
) -> None:
    def on_stores(script: list[Any], **more: Any) -> World:
        return world(script, **{name: value for name, value in more.items() if name != "delegates"})

    app = with_worker(on_stores, [TASK, "All done."], [deletes(), "Deleted."])
    await app.say(conversation=None)
    (one,) = await app.pending()

    with pytest.raises(RunNotFoundError):
        await app.runner.delete_run(BOB, one.run)
    await app.runner.delete_run(ANN, one.run)

    assert (await app.runner.list_recent_runs(ANN), await app.runs.get(ANN, one.run)) == ([], None)
    assert await app.pending() == []
    with pytest.raises(ConfirmationNotFoundError):
        await app.approve(one)
    if isinstance(app.confirmations, SqlConfirmationStore):
        assert await app.confirmations.list_for_run(one.run) == []


async def test_a_conversation_that_is_removed_takes_delegated_runs_along(world: MakeWorld) -> None:
    def on_stores(script: list[Any], **more: Any) -> World:
        return world(script, **{name: value for name, value in more.items() if name != "delegates"})

    app = with_worker(on_stores, [TASK, "All done."], [deletes(), "Deleted."])
    await app.say()
    (one,) = await app.pending()

    await app.runner.delete_conversation_runs(ANN, "clerk", "c")

    assert await app.runs.get(ANN, one.run) is None


async def test_a_run_that_stopped_in_the_other_agent_can_be_gone_on_with() -> None:
    from backend.utils.llm.errors import ProviderDownError

    world = with_worker(make, [TASK, ProviderDownError("away"), "All done."], ["It is clean."])
    events = await world.say()

    again = await whole(world.runner.resume_run(ANN, end(events).run_id))

    assert (end(events).state, end(again).text) == ("failed", "All done.")
    assert len(world.worker.calls) == 1  # type: ignore[attr-defined]


def test_agents_that_delegate_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        Agents([Agent("a", "f", "", delegates=("b",)), Agent("b", "f", "", delegates=("a",))])
