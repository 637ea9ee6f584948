"""Agents over HTTP: runs as server-sent events, and pending confirmations.

The events of a run are ``run``, ``delta``, ``call``, ``result``, ``confirmation``, and at last ``end``. A failure before the
first event is an ordinary HTTP error; a later one is an ``error`` event, which ends the stream.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from backend.access import DataOwner
from backend.agents.agent import Agent
from backend.agents.canonical import parse_json_object
from backend.agents.errors import InvalidEditedArgumentsError
from backend.agents.events import Event, confirmation_to_json
from backend.agents.gate import LONGEST_REASON, ApprovalDecision
from backend.agents.runner import LONGEST_QUESTION, AgentRunner
from backend.agents.runs import Run
from backend.agents.tools import LONGEST
from backend.conversations.text import WHOLE
from backend.utils.llm.errors import LLMError
from backend.wires.sse import encode_json_event

from .bodies import body_limit
from .dependencies import IdentityDep, ServicesDep
from .errors import INTERNAL
from .event_stream import EventStreamResponse
from .json_bodies import JsonRoute

log = logging.getLogger(__name__)

router: Final = APIRouter(prefix="/v1", tags=["agents"], route_class=JsonRoute)

LONGEST_LISTED: Final = 500
"""The most characters of a question in the list of runs."""
LONGEST_BODY: Final = 12 * max(LONGEST, LONGEST_QUESTION)
Message = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_QUESTION), WHOLE
]


class AgentMessageRequest(BaseModel):
    """The body of a request that sends a user's message to an agent.

    Attributes:
        message: The text of the message.
        conversation_id: The client's id of the conversation that the message continues; None to start a new
            conversation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    message: Message
    conversation_id: Annotated[str, StringConstraints(min_length=1, max_length=64), WHOLE] | None = None


class ConfirmationDecisionRequest(BaseModel):
    """The body of a request in which a user decides on a tool call that waits for confirmation.

    Attributes:
        decision: Whether to execute the call, to reject it, or to execute it with edited arguments.
        digest: The digest of the confirmation, as the user was shown it. It proves which call the user saw.
        reason: Why the user rejects the call. The model is told the reason.
        arguments: For ``edit``, the arguments to call the tool with: an object, or a string with its JSON.
        again: Whether to execute the call even if an earlier, interrupted execution may have taken effect.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Literal["approve", "reject", "edit"]
    digest: Annotated[str, Field(max_length=120)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_REASON), WHOLE] = ""
    arguments: dict[str, Any] | Annotated[str, WHOLE] | None = None
    again: bool = False

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.decision == "edit") != (self.arguments is not None):
            raise ValueError("arguments belong to edit, and edit needs them")
        return self

    def to_approval_decision(self, owner: DataOwner, confirmation_id: str) -> ApprovalDecision:
        """Convert an approval or edit by ``owner`` into the form that the agents' runner takes.

        Raises:
            InvalidEditedArgumentsError: ``arguments`` is a string that holds no JSON object.
        """
        arguments = self.arguments
        if isinstance(arguments, str):
            try:
                arguments = parse_json_object(arguments)
            except ValueError as error:
                raise InvalidEditedArgumentsError(f"{error}.") from error
        return ApprovalDecision(owner, confirmation_id, self.digest, self.again, arguments)


def get_agent_runner(services: ServicesDep) -> AgentRunner:
    """The runner that executes the service's agents. A FastAPI dependency.

    Raises:
        HTTPException: The service has no agents (404).
    """
    if services.agents is None:
        raise HTTPException(404, "This service has no agents.")
    return services.agents


def get_run_owner(identity: IdentityDep) -> DataOwner:
    """Return the user and tenant of the request, who own the agent runs. A FastAPI dependency."""
    return DataOwner(identity.user_id, identity.caller.tenant_id or "")


RunnerDep = Annotated[AgentRunner, Depends(get_agent_runner)]
OwnerDep = Annotated[DataOwner, Depends(get_run_owner)]
Events = AsyncGenerator[Event, None]


class AgentRunStream:
    """The events of an agent run, created only once the first event has arrived.

    So a failure before the first event can still be answered with an HTTP error status.
    """

    def __init__(self, first: Event, rest: Events) -> None:
        self._first = first
        self._rest = rest

    async def encode_events(self) -> AsyncGenerator[bytes, None]:
        """Encode all events of the run as server-sent events, the first included.

        A failure becomes an ``error`` event.
        """
        try:
            yield _written(self._first)
            async for event in self._rest:
                yield _written(event)
        except LLMError as error:
            yield encode_json_event(error.as_dict(), "error")
        except Exception:  # the status line is long gone: this is the only way to tell
            log.exception("http.stream_broke")
            yield encode_json_event(INTERNAL, "error")


async def start_run(
    agent: str, body: AgentMessageRequest, owner: OwnerDep, runner: RunnerDep
) -> AsyncIterator[AgentRunStream]:
    """Start a run of ``agent``, and yield its events once the first has arrived. A FastAPI dependency."""
    async with aclosing(runner.start_run(owner, agent, body.message, body.conversation_id)) as events:
        yield AgentRunStream(await anext(events), events)


async def resume_run(run_id: str, owner: OwnerDep, runner: RunnerDep) -> AsyncIterator[AgentRunStream]:
    """Resume an interrupted run, and yield its events once the next has arrived. A FastAPI dependency."""
    async with aclosing(runner.resume_run(owner, run_id)) as events:
        yield AgentRunStream(await anext(events), events)


async def carry_out_decision(
    confirmation_id: str, body: ConfirmationDecisionRequest, owner: OwnerDep, runner: RunnerDep
) -> AsyncIterator[AgentRunStream]:
    """Carry out a decision on a confirmation, and yield the resumed run's events. A FastAPI dependency.

    The decision is carried out completely even if the client disconnects.
    """
    chosen = (
        runner.reject(owner, confirmation_id, body.reason)
        if body.decision == "reject"
        else runner.approve(body.to_approval_decision(owner, confirmation_id))
    )
    async with aclosing(chosen) as events:
        yield AgentRunStream(await anext(events), events)


@router.get("/agents")
async def list_agents(_: IdentityDep, runner: RunnerDep) -> dict[str, Any]:
    """List the agents with their tools."""
    return {"agents": [_agent(agent) for agent in runner.agents]}


@router.post("/agents/{agent}/runs", response_class=EventStreamResponse)
@body_limit(longest_body=LONGEST_BODY)
async def stream_new_run(stream: Annotated[AgentRunStream, Depends(start_run)]) -> EventStreamResponse:
    """Send a message to an agent, and stream the events of its run.

    Pending confirmations of the same conversation are withdrawn.
    """
    return EventStreamResponse(stream.encode_events())


@router.delete("/agents/{agent}/conversations/{conversation_id}", status_code=204)
async def delete_conversation(
    agent: str, conversation_id: str, owner: OwnerDep, runner: RunnerDep
) -> Response:
    """Delete a conversation with an agent. Its pending confirmations can no longer be approved."""
    await runner.delete_conversation_runs(owner, agent, conversation_id)
    return Response(status_code=204)


@router.get("/runs")
async def list_runs(
    owner: OwnerDep, runner: RunnerDep, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """List the user's latest runs, the newest first, each with the beginning of the user's question."""
    found = await runner.list_recent_runs(owner, limit)
    return {"runs": [await _run(runner, run, LONGEST_LISTED) for run in found]}


@router.get("/runs/{run_id}")
async def read_run(run_id: str, owner: OwnerDep, runner: RunnerDep) -> dict[str, Any]:
    """Return a run with its state, its usage and its confirmations."""
    found = await runner.get_run(owner, run_id)
    progress = await runner.load_progress(found)
    asked = (await runner.gate.latest_confirmation_by_call(run_id)).values()
    return {
        **await _run(runner, found),
        "spent": progress.spent.model_dump(mode="json"),
        "budget": found.budget.model_dump(mode="json"),
        "steps": [step.kind for step in progress.steps],
        "confirmations": [confirmation_to_json(confirmation) for confirmation in asked],
    }


@router.delete("/runs/{run_id}", status_code=204)
async def delete_run(run_id: str, owner: OwnerDep, runner: RunnerDep) -> Response:
    """Delete a run and all runs that it delegated to other agents.

    Their confirmations can no longer be approved.
    """
    await runner.delete_run(owner, run_id)
    return Response(status_code=204)


@router.post("/runs/{run_id}/resume", response_class=EventStreamResponse)
async def stream_resumed_run(stream: Annotated[AgentRunStream, Depends(resume_run)]) -> EventStreamResponse:
    """Resume a run that was interrupted or whose model was unavailable, and stream its events."""
    return EventStreamResponse(stream.encode_events())


@router.get("/confirmations")
async def list_confirmations(
    owner: OwnerDep, runner: RunnerDep, limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> dict[str, Any]:
    """List the user's confirmations that are undecided, or whose approved tool call has an unknown result."""
    return {
        "confirmations": [
            confirmation_to_json(confirmation)
            for confirmation in await runner.gate.list_pending_confirmations(owner, limit)
        ]
    }


@router.get("/confirmations/{confirmation_id}")
async def read_confirmation(confirmation_id: str, owner: OwnerDep, runner: RunnerDep) -> dict[str, Any]:
    """Return a confirmation with the untruncated arguments of its tool call, as text to show and as JSON."""
    one = await runner.gate.get_confirmation(owner, confirmation_id)
    return {**confirmation_to_json(one, untruncated=True), "json": json.loads(one.arguments)}


@router.post("/confirmations/{confirmation_id}", response_class=EventStreamResponse)
@body_limit(longest_body=LONGEST_BODY)
async def stream_run_after_decision(
    stream: Annotated[AgentRunStream, Depends(carry_out_decision)],
) -> EventStreamResponse:
    """Approve, edit or reject a pending tool call, and stream the events of the run that then resumes."""
    return EventStreamResponse(stream.encode_events())


def _written(event: Event) -> bytes:
    return encode_json_event(event.as_dict(), event.kind)


def _agent(agent: Agent) -> dict[str, Any]:
    tools = [
        {"name": tool.name, "title": tool.title, "risk": tool.risk, "policy": tool.policy}
        for tool in agent.tools
    ]
    return {"name": agent.name, "about": agent.about, "feature": agent.feature, "tools": tools}


async def _run(runner: AgentRunner, run: Run, longest: int | None = None) -> dict[str, Any]:
    return {
        "id": run.id,
        "agent": run.agent,
        "conversation": run.conversation,
        "parent": run.parent,
        "state": await runner.current_state(run),
        "reason": run.reason,
        "question": run.question[:longest],
        "answer": run.answer,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
    }
