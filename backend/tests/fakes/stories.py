"""Runs that follow from a seed, with everything that a model may want and a person may say; the same on every kind of store."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from backend.agents.agent import Agent
from backend.agents.budget import RunBudget
from backend.agents.errors import InvalidEditedArgumentsError
from backend.agents.events import ConfirmationChanged, RunEnded, ToolCalled, ToolResult
from backend.agents.observations import ToolError
from backend.agents.tools import tool
from backend.tests.fakes.agents import ANN, World, end, wants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import AIMessage

    from backend.agents.confirmations import Confirmation, ConfirmationStore
    from backend.agents.events import Event
    from backend.agents.runs import RunStore

_TURNS = 4


def _calls(chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """What a model wants in one answer: good calls, and such as cannot be made."""
    number = chance.randrange(5)
    known: list[tuple[str, dict[str, Any]]] = [
        ("search", {"words": f"tea {number}"}),
        ("note", {"text": f"note {number}"}),
        ("delete", {"number": number}),
        ("fail", {}),
        ("broken", {}),
        ("much", {}),
        ("os.system", {"command": "true"}),
        ("delete", {"number": "seven"}),
        ("delete", {"number": number, "more": 1}),
        ("note", {"text": "x" * 70_000}),
        ("note", {"text": "\0\u202e" + "y" * 3_000}),
    ]
    return chance.choices(known, k=chance.randint(1, 3))


def script(seed: int) -> list[AIMessage | str]:
    """What the model of ``seed`` answers."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    turns = [wants(*_calls(chance), text=f"turn {turn}") for turn in range(chance.randint(1, _TURNS))]
    return [*turns, "Done.", "Done."]


def made(seed: int, confirmations: ConfirmationStore | None = None, runs: RunStore | None = None) -> World:
    """An application in which the story of ``seed`` can happen."""

    async def fail() -> str:
        """Fail, and say why."""
        raise ToolError("There is none.")

    async def broken() -> str:
        """Fail with a secret."""
        raise ValueError("sk-canary-of-a-tool")

    async def much() -> str:
        """Return much."""
        return "m" * 50_000

    async def search(words: str) -> str:
        """Look for something."""
        return f"found {words}"

    looks = [tool(each, risk="read", policy="allow") for each in (search, fail, broken, much)]
    world = World(script(seed), confirmations=confirmations, runs=runs)
    tools = (*looks, *world.effects.tools[1:])
    budget = RunBudget(turns=_TURNS, tool_calls=5)
    world.put_in_force(Agent("clerk", "chat_agent", "You help.", tools, budget=budget))
    return world


async def told(world: World, seed: int) -> list[Any]:
    """Let it happen: what is told of it, what the model is told, and what is done."""
    chance = random.Random(-seed - 1)  # noqa: S311 - no secret
    events = await world.say(conversation=f"story {seed}")
    while waiting := [
        confirmation for confirmation in await world.pending() if confirmation.state == "pending"
    ]:
        first = min(waiting, key=lambda one: one.call)
        events += await _decision(chance)(world, first)
    facts = [_fact(event) for event in events]
    done = sorted(world.effects.done, key=str)
    run = await world.runner.get_run(ANN, end(events).run_id)
    steps = [step.kind for step in (await world.runner.load_progress(run)).steps]
    calls = [world.told(place) for place in range(len(world.model.calls))]
    return [sorted(filter(None, facts), key=str), calls, done, steps, run.state, run.reason, run.answer]


def _decision(chance: random.Random) -> Callable[[World, Confirmation], Any]:
    async def yes(world: World, one: Confirmation) -> Sequence[Event]:
        return await world.approve(one)

    async def no(world: World, one: Confirmation) -> Sequence[Event]:
        return await world.reject(one, "Keep it.")

    async def other(world: World, one: Confirmation) -> Sequence[Event]:
        return await world.approve(one, arguments={"number": 99})

    async def wrong(world: World, one: Confirmation) -> Sequence[Event]:
        try:
            return await world.approve(one, arguments={"number": "x"})
        except InvalidEditedArgumentsError:
            return await world.approve(one)

    return chance.choice((yes, no, other, wrong))


def _fact(event: Event) -> tuple[Any, ...] | None:
    """What is the same wherever it is kept: no ids, and no times."""
    match event:
        case ToolCalled():
            return "call", event.call, event.tool, event.verdict, event.message
        case ConfirmationChanged():
            one = event.confirmation
            return "asked", one.call, one.tool, one.state, one.arguments, one.reason
        case RunEnded():
            return "end", event.state, event.reason, event.text, event.spent.tool_calls, event.spent.turns
        case ToolResult():
            return "result", event.call, event.tool, event.status, event.message
        case _:
            return None
