"""The page "Agents": the user's pending confirmations, and the last runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from backend.agents.events import confirmation_to_json
from backend.ledger.usage import format_dollars

from .windows import datetime_from_microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.agents.agent import Agent
    from backend.agents.confirmations import Confirmation
    from backend.agents.runs import Run
    from backend.agents.steps import RunUsage


@dataclass(frozen=True, slots=True)
class PendingToolCall:
    """A tool call on which the user can decide, as shown on the page.

    Attributes:
        state: ``pending``; or ``unknown``, if the call may already have been executed.
        again: For an ``unknown`` call, the deadline of its last execution, in microseconds; else None. The
            form that approves another execution sends it back.
        arguments: For each argument, its ``name``, its escaped ``text``, and ``is_hiding`` if the value has
            invisible characters.
        is_cut: Whether an argument is not shown completely. If so, the call cannot be approved on this page.
        digest: The digest that an approval must contain; empty if ``is_cut``.
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
    """One run in the list of runs, with its usage and the limit of its turns."""

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
    """One agent in the list of agents.

    Attributes:
        tools: The title, risk and policy of each tool.
    """

    name: str
    about: str
    feature: str
    tools: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class AgentsView:
    """The data of the page "Agents": the user's runs, and the tool calls on which the user can decide.

    Attributes:
        whole: The id of the confirmation that is shown without truncation; None if there is none.
        agents: The agents of the application; None if it has no agents.
    """

    at: datetime
    whole: str | None
    pending: tuple[PendingToolCall, ...]
    runs: tuple[RunRow, ...]
    agents: tuple[AgentRow, ...] | None


class RunWithState(NamedTuple):
    """A run together with its present state and its usage.

    Attributes:
        run: The run as stored.
        state: The present state, such as ``interrupted``, which is never stored.
        spent: What the run has used.
    """

    run: Run
    state: str
    spent: RunUsage


def make_agents_view(
    agents: Sequence[Agent] | None,
    pending: Sequence[Confirmation],
    runs: Sequence[RunWithState],
    now: datetime,
    untruncated_id: str | None = None,
) -> AgentsView:
    """Make the data of the page "Agents".

    Args:
        agents: The agents of the application; None if it has no agents.
        pending: The confirmations on which the user can decide.
        runs: The user's last runs.
        now: The present time.
        untruncated_id: The id of a confirmation to show without truncation; None for none.
    """
    return AgentsView(
        at=now,
        whole=untruncated_id if any(confirmation.id == untruncated_id for confirmation in pending) else None,
        pending=tuple(_pending(confirmation, untruncated_id) for confirmation in pending),
        runs=tuple(map(_run, runs)),
        agents=None if agents is None else tuple(map(_agent, agents)),
    )


def _pending(one: Confirmation, whole: str | None) -> PendingToolCall:
    payload = confirmation_to_json(one, untruncated=one.id == whole)
    return PendingToolCall(
        id=one.id,
        agent=one.agent,
        run=one.run,
        tool=one.tool,
        title=one.title,
        risk=one.risk,
        state=one.state,
        again=one.leased_until if one.state == "unknown" else None,
        arguments=tuple(payload["arguments"]),
        is_cut=payload["is_cut"],
        digest=payload["digest"] or "",
        asked_at=datetime_from_microseconds(one.asked_at),
        expires_at=datetime_from_microseconds(one.expires_at),
    )


def _run(run_with_state: RunWithState) -> RunRow:
    run, state, spent = run_with_state
    return RunRow(
        id=run.id,
        agent=run.agent,
        state=state,
        reason=run.reason,
        question=run.question,
        at=datetime_from_microseconds(run.created_at),
        turns=spent.turns,
        most_turns=run.budget.turns,
        tool_calls=spent.tool_calls,
        tokens=spent.total_tokens,
        cost_usd=format_dollars(spent.pico_usd),
        unpriced=spent.unpriced,
    )


def _agent(agent: Agent) -> AgentRow:
    tools = tuple((tool.title, tool.risk, tool.policy) for tool in agent.tools)
    return AgentRow(agent.name, agent.about, agent.feature, tools)
