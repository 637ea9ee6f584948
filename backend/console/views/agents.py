"""Agents: the user's pending confirmations, and the last runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.agents.events import confirmation_view
from backend.ledger.usage import dollars

from .windows import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.agents.agent import Agent
    from backend.agents.confirmations import Confirmation
    from backend.agents.runs import Run
    from backend.agents.steps import RunUsage


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that waits for a confirmation; ``unknown`` if it may have been executed.

    Attributes:
        is_cut: Whether arguments are left out, so that they cannot be approved here.
        again: The time at which the call may have been executed, which an approval to repeat it names; None if it was not.
        arguments: The arguments: ``name``, escaped ``text``, and ``is_hiding`` if the value has invisible characters.
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
    """A run, with its usage and its budget."""

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
    """An agent, with its tools and the policy of each."""

    name: str
    about: str
    feature: str
    tools: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class AgentsView:
    """The user's own runs and confirmations.

    Attributes:
        whole: The id of the confirmation that is shown in full; None if none is.
        agents: None if the service has none.
    """

    at: datetime
    whole: str | None
    pending: tuple[PendingCall, ...]
    runs: tuple[RunRow, ...]
    agents: tuple[AgentRow, ...] | None


class RunInState(NamedTuple):
    """A run in its present state."""

    run: Run
    state: str
    spent: RunUsage


def agents_view(
    agents: Sequence[Agent] | None,
    pending: Sequence[Confirmation],
    runs: Sequence[RunInState],
    at: datetime,
    whole: str | None = None,
) -> AgentsView:
    """The user's pending confirmations and last runs; the confirmation ``whole`` is shown in full."""
    return AgentsView(
        at=at,
        whole=whole if any(one.id == whole for one in pending) else None,
        pending=tuple(_pending(one, whole) for one in pending),
        runs=tuple(map(_run, runs)),
        agents=None if agents is None else tuple(map(_agent, agents)),
    )


def _pending(one: Confirmation, whole: str | None) -> PendingCall:
    told = confirmation_view(one, whole=one.id == whole)
    return PendingCall(
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


def _run(told: RunInState) -> RunRow:
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
