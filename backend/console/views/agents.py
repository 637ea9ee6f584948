"""The page "Agents": the user's pending confirmations, and the last runs."""

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
    """A tool call that waits for the user's decision, as the page shows it.

    Attributes:
        state: ``pending``, or ``unknown`` if the call may have been executed.
        again: For ``unknown``, the time at which the call may have been executed, which an approval to repeat it names;
            else
            None.
        arguments: The arguments: ``name``, escaped ``text``, and ``is_hiding`` if the value has invisible characters.
        is_cut: Whether arguments are too long to be shown in full, so that they cannot be approved here.
        digest: The digest that an approval has to name; empty if ``is_cut``.
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
    """A run as a row of the list, with what it used of its budget."""

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
    """An agent as a row of the list.

    Attributes:
        tools: The title, risk and policy of each tool.
    """

    name: str
    about: str
    feature: str
    tools: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class AgentsView:
    """Everything that the page shows: the user's own runs and confirmations.

    Attributes:
        whole: The id of the confirmation that is shown in full; None if none is.
        agents: The agents of the application; None if it has none.
    """

    at: datetime
    whole: str | None
    pending: tuple[PendingCall, ...]
    runs: tuple[RunRow, ...]
    agents: tuple[AgentRow, ...] | None


class RunInState(NamedTuple):
    """A run with what the page shows besides its stored fields.

    Attributes:
        run: The run.
        state: The state as people are shown it, such as ``interrupted``.
        spent: What the run has used.
    """

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
    """Build the page from the user's pending confirmations and last runs.

    Args:
        agents: The agents of the application; None if it has none.
        pending: The confirmations on which the user can decide.
        runs: The user's last runs.
        at: The time of the view.
        whole: The id of a confirmation to show in full; None for none.
    """
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
