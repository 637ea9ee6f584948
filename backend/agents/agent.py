"""Defines an agent: the feature whose model answers, its instructions, and the tools that it may call."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from .budget import RunBudget
from .errors import UnknownAgentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .tools import Tool


@dataclass(frozen=True, slots=True)
class Agent:
    """The definition of an agent: its model, instructions, tools and budget.

    Attributes:
        name: The unique name of the agent.
        feature: The feature whose model the agent uses, as in ``get_llm(feature)``.
        instructions: The system prompt.
        tools: The only tools that the agent may call.
        delegates: Names of agents to which this agent may delegate tasks. Its model sees them as tools.
        about: What the agent is for, as told to people and to models of agents that may delegate to it.
        budget: The limits of each run.
    """

    name: str
    feature: str
    instructions: str
    tools: tuple[Tool, ...] = ()
    delegates: tuple[str, ...] = ()
    about: str = ""
    budget: RunBudget = field(default_factory=RunBudget)

    def __post_init__(self) -> None:
        names = [*(tool.name for tool in self.tools), *self.delegates]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{self.name}: two tools are called {', '.join(twice)}")

    def find_tool(self, name: str) -> Tool | None:
        """Find the tool called ``name``; None if the agent has no such tool. Delegates are not searched."""
        return next((tool for tool in self.tools if tool.name == name), None)


class Agents:
    """All agents of an application, by name.

    Raises:
        ValueError: Two agents have the same name, an agent delegates to an unknown agent, or agents delegate
            in a circle.
    """

    def __init__(self, agents: Iterable[Agent] = ()) -> None:
        found = tuple(agents)
        self._agents: Mapping[str, Agent] = MappingProxyType({agent.name: agent for agent in found})
        if len(self._agents) < len(found):
            raise ValueError("two agents have the same name")
        for agent in found:
            self._follow(agent, ())

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def __contains__(self, name: object) -> bool:
        return name in self._agents

    def __getitem__(self, name: str) -> Agent:
        """The agent called ``name``.

        Raises:
            UnknownAgentError: There is no agent of that name.
        """
        if (agent := self._agents.get(name)) is None:
            raise UnknownAgentError(name, self._agents)
        return agent

    def _follow(self, agent: Agent, above: tuple[str, ...]) -> None:
        if agent.name in above:
            raise ValueError(f"agents delegate in a circle: {' → '.join((*above, agent.name))}")
        for name in agent.delegates:
            if name not in self._agents:
                raise ValueError(f"{agent.name} delegates to {name}, which is no agent")
            self._follow(self._agents[name], (*above, agent.name))
