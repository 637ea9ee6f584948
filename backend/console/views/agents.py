"""Agents and approvals: what waits for a person, and what agents did for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.agents.events import view
from backend.ledger.usage import dollars

from .windows import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.agents.agent import Agent
    from backend.agents.confirmations import Confirmation
    from backend.agents.runs import Run
    from backend.agents.steps import Spent


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits for a yes or a no; ``unknown`` if nobody knows whether it was run.

    Attributes:
        is_cut: Whether the arguments are not all of them, so that nobody can say yes to them here.
        again: What a yes to running it again names: the time for which it may have run; None if it did not run yet.
        arguments: Each with its ``name``, its ``text`` in which nothing is hidden, and whether it ``is_hiding`` something.
    """

    id: str
    agent: str
    run: str
    tool: str
    title: str
    risk: str
    state: str
    again: int | None
    arguments: tuple[dict[str, Any], ...]
    is_cut: bool
    digest: str
    asked_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run, and what it used of what it may."""

    id: str
    agent: str
    state: str
    reason: str | None
    question: str
    at: datetime
    turns: int
    most_turns: int
    tool_calls: int
    tokens: int
    cost_usd: str
    unpriced: int


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent, and its tools with what is asked before each."""

    name: str
    about: str
    feature: str
    tools: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class AgentsView:
    """What is the user's own: nobody is shown another's.

    Attributes:
        whole: The id of what is shown without anything left out; None of nothing.
        agents: None if the service has none.
    """

    at: datetime
    whole: str | None
    pending: tuple[Pending, ...]
    runs: tuple[RunRow, ...]
    agents: tuple[AgentRow, ...] | None


class Told(NamedTuple):
    """A run as it stands."""

    run: Run
    state: str
    spent: Spent


def agents_view(
    agents: Sequence[Agent] | None,
    pending: Sequence[Confirmation],
    runs: Sequence[Told],
    at: datetime,
    whole: str | None = None,
) -> AgentsView:
    """What waits for a user, and their last runs; of the confirmation ``whole``, all that would be done."""
    return AgentsView(
        at=at,
        whole=whole if any(one.id == whole for one in pending) else None,
        pending=tuple(_pending(one, whole) for one in pending),
        runs=tuple(map(_run, runs)),
        agents=None if agents is None else tuple(map(_agent, agents)),
    )


def _pending(one: Confirmation, whole: str | None) -> Pending:
    told = view(one, whole=one.id == whole)
    return Pending(
        id=one.id,
        agent=one.agent,
        run=one.run,
        tool=one.tool,
        title=one.title,
        risk=one.risk,
        state=one.state,
        again=one.leased_until if one.state == "unknown" else None,
        arguments=tuple(told["arguments"]),
        is_cut=told["is_cut"],
        digest=told["digest"] or "",
        asked_at=moment(one.asked_at),
        expires_at=moment(one.expires_at),
    )


def _run(told: Told) -> RunRow:
    run, state, spent = told
    return RunRow(
        id=run.id,
        agent=run.agent,
        state=state,
        reason=run.reason,
        question=run.question,
        at=moment(run.created_at),
        turns=spent.turns,
        most_turns=run.budget.turns,
        tool_calls=spent.tool_calls,
        tokens=spent.tokens,
        cost_usd=dollars(spent.pico_usd),
        unpriced=spent.unpriced,
    )


def _agent(agent: Agent) -> AgentRow:
    tools = tuple((tool.title, tool.risk, tool.policy) for tool in agent.tools)
    return AgentRow(agent.name, agent.about, agent.feature, tools)
