"""An agent: a feature that answers, what it is told to be, and the tools that it may call."""

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
    """An agent as the application defines it.

    Attributes:
        name: What it is called.
        feature: The feature of the table that answers.
        instructions: What the model is told first.
        tools: What it may call; a tool that is not here does not exist for it.
        delegates: Names of agents that it may hand a task to, as if each were a tool.
        about: What it is for, for people, and for agents that delegate to it.
        budget: What one run may use.
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

    def tool(self, name: str) -> Tool | None:
        """The tool of that name, if it is one of its own."""
        return next((tool for tool in self.tools if tool.name == name), None)


class Agents:
    """The agents of an application, by name.

    Args:
        agents: All of them.

    Raises:
        ValueError: If two have one name, or one delegates to nobody, or to itself by way of others.
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
        """The agent of that name.

        Raises:
            UnknownAgentError: If there is none.
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
