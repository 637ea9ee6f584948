"""An application of agents whose model follows a script, on stores that may be real ones, at a time of the test's own."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.messages import AIMessage
from pydantic import Field

from backend.access import DataOwner
from backend.agents.agent import Agent, Agents
from backend.agents.events import ConfirmationChanged, RunEnded
from backend.agents.gate import ApprovalDecision, ConfirmationGate
from backend.agents.in_memory import InMemoryConfirmationStore, InMemoryRunStore
from backend.agents.runner import AgentRunner
from backend.agents.tools import Execution, Tool, tool
from backend.utils.llm.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from backend.agents.confirmations import Confirmation, ConfirmationStore
    from backend.agents.events import Event
    from backend.agents.runs import RunStore

ANN, BOB, CAT = DataOwner("ann", "acme"), DataOwner("bob", "acme"), DataOwner("ann", "globex")
NOON = 1_796_000_000_000_000
SECOND = 1_000_000


def wants(*calls: tuple[str, dict[str, Any]], text: str = "", **more: Any) -> AIMessage:
    """An answer that calls tools."""
    made = [
        {"name": name, "args": args, "id": f"call_{place}", "type": "tool_call"}
        for place, (name, args) in enumerate(calls)
    ]
    return AIMessage(text, tool_calls=made, **more)


def deletes(number: int = 7) -> AIMessage:
    return wants(("delete", {"number": number}))


@dataclass
class Effects:
    """What tools have done."""

    done: list[tuple[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def search(self, words: str) -> str:
        """Look for something."""
        self.done.append(("search", words))
        return f"found {words}"

    async def delete(self, number: Annotated[int, Field(description="Which.")], execution: Execution) -> str:
        """Delete something."""
        self.done.append(("delete", number))
        self.keys.append(execution.key)
        return f"deleted {number}"

    async def note(self, text: str) -> str:
        """Write something down."""
        self.done.append(("note", text))
        return "noted"

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (
            tool(self.search, risk="read", policy="allow"),
            tool(self.delete, risk="dangerous"),
            tool(self.note, policy="allow"),
        )


class World:
    """Everything of it. ``now`` may be set."""

    def __init__(
        self,
        script: Sequence[Any] = (),
        *,
        confirmations: ConfirmationStore | None = None,
        runs: RunStore | None = None,
        tools: Sequence[Tool] | None = None,
        others: Sequence[Agent] = (),
        **more: Any,
    ) -> None:
        self.now = NOON
        self.effects = Effects()
        self.model = ScriptedChatModel(script=list(script))
        self.confirmations = confirmations or InMemoryConfirmationStore()
        self.runs = runs or InMemoryRunStore()
        given = self.effects.tools if tools is None else tuple(tools)
        self.models: Callable[[str], Any] = lambda _: self.model
        self.agent = Agent("clerk", "chat_agent", "You help.", given, **more)
        self.put_in_force(self.agent, *others)

    def put_in_force(self, *agents: Agent, **more: Any) -> None:
        """Have these agents from now on, as another process would."""
        self.gate = ConfirmationGate(self.confirmations, Agents(agents), now=lambda: self.now, **more)
        self.runner = AgentRunner(
            Agents(agents), self.models, self.runs, self.gate, now=lambda: self.now, clock=lambda: 0.0
        )

    def pass_by(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    async def say(
        self, text: str = "Do it.", conversation: str | None = "c", owner: DataOwner = ANN
    ) -> list[Event]:
        return await whole(self.runner.start_run(owner, "clerk", text, conversation))

    async def pending(self, owner: DataOwner = ANN) -> Sequence[Confirmation]:
        return await self.gate.list_pending_confirmations(owner)

    async def approve(
        self, one: Confirmation, owner: DataOwner = ANN, *, again: bool = False, arguments: Any = None
    ) -> list[Event]:
        decision = ApprovalDecision(owner, one.id, one.digest, again, arguments)
        return await whole(self.runner.approve(decision))

    async def reject(self, one: Confirmation, reason: str = "", owner: DataOwner = ANN) -> list[Event]:
        return await whole(self.runner.reject(owner, one.id, reason))

    def told(self, call: int = -1) -> list[tuple[str, Any]]:
        """What the model was told in one of its calls: the kind and the text of each message, without the first."""
        return [(message.type, message.text) for message in self.model.calls[call].messages[1:]]

    def results(self, call: int = -1) -> list[str]:
        return [text for kind, text in self.told(call) if kind == "tool"]


async def whole(events: AsyncGenerator[Event, None]) -> list[Event]:
    async with aclosing(events):
        return [event async for event in events]


def end(events: Sequence[Event]) -> RunEnded:
    last = events[-1]
    assert isinstance(last, RunEnded)
    return last


def asked(events: Sequence[Event]) -> list[Confirmation]:
    return [event.confirmation for event in events if isinstance(event, ConfirmationChanged)]


def error_of(result: str) -> str:
    """The code of an observation that is an error."""
    return str(json.loads(result)["error"])
