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

from backend.access import Owner
from backend.agents.agent import Agent
from backend.agents.canonical import read_object
from backend.agents.errors import InvalidEditError
from backend.agents.events import Event, confirmation_view
from backend.agents.gate import LONGEST_REASON, Decision
from backend.agents.runner import LONGEST_QUESTION, Runner
from backend.agents.runs import Run
from backend.agents.tools import LONGEST
from backend.conversations.text import WHOLE
from backend.utils.llm.errors import LLMError
from backend.wires.sse import json_event

from .bodies import body_limit
from .dependencies import IdentityDep, ServicesDep
from .errors import INTERNAL
from .event_stream import EventStream
from .json_bodies import JsonRoute

log = logging.getLogger(__name__)

router: Final = APIRouter(prefix="/v1", tags=["agents"], route_class=JsonRoute)

LONGEST_LISTED: Final = 500
"""The most characters of a question in the list of runs."""
LONGEST_BODY: Final = 12 * max(LONGEST, LONGEST_QUESTION)
Message = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_QUESTION), WHOLE
]


class AgentMessage(BaseModel):
    """A user's message to an agent.

    Attributes:
        conversation_id: The client's id of the conversation; without one the message starts its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    message: Message
    conversation_id: Annotated[str, StringConstraints(min_length=1, max_length=64), WHOLE] | None = None


class Answer(BaseModel):
    """A person's decision on a confirmation.

    Attributes:
        digest: The digest of the confirmation that they were shown in full.
        reason: The reason for a rejection, for the model.
        arguments: Arguments that replace those of the confirmation: an object, or its JSON as text.
        again: Whether to execute the call although it may have been executed before.
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

    def of(self, owner: Owner, confirmation_id: str) -> Decision:
        """The decision that ``owner`` made with this request, for the agents' runner.

        Raises:
            InvalidEditError: The arguments are text that is no JSON object.
        """
        arguments = self.arguments
        if isinstance(arguments, str):
            try:
                arguments = read_object(arguments)
            except ValueError as error:
                raise InvalidEditError(f"{error}.") from error
        return Decision(owner, confirmation_id, self.digest, self.again, arguments)


def runner_of(services: ServicesDep) -> Runner:
    """The agents' runner of the service.

    Raises:
        HTTPException: The service has no agents.
    """
    if services.agents is None:
        raise HTTPException(404, "This service has no agents.")
    return services.agents


def owner_of(identity: IdentityDep) -> Owner:
    """The user who makes the request, as the owner of the agents' runs."""
    return Owner(identity.user_id, identity.caller.tenant_id or "")


RunnerDep = Annotated[Runner, Depends(runner_of)]
OwnerDep = Annotated[Owner, Depends(owner_of)]
Events = AsyncGenerator[Event, None]


class BegunRun:
    """A run whose first event has arrived, so that the HTTP status can be sent."""

    def __init__(self, first: Event, rest: Events) -> None:
        self._first = first
        self._rest = rest

    async def written(self) -> AsyncGenerator[bytes, None]:
        """All events of the run, the first one included, as bytes of server-sent events."""
        try:
            yield _written(self._first)
            async for event in self._rest:
                yield _written(event)
        except LLMError as error:
            yield json_event(error.as_dict(), "error")
        except Exception:  # the status line is long gone: this is the only way to tell
            log.exception("http.stream_broke")
            yield json_event(INTERNAL, "error")


async def started_run(
    agent: str, wanted: AgentMessage, owner: OwnerDep, runner: RunnerDep
) -> AsyncIterator[BegunRun]:
    """Start a run of ``agent`` with the user's message, and wait for its first event. A FastAPI dependency."""
    async with aclosing(runner.start(owner, agent, wanted.message, wanted.conversation_id)) as events:
        yield BegunRun(await anext(events), events)


async def resumed_run(run_id: str, owner: OwnerDep, runner: RunnerDep) -> AsyncIterator[BegunRun]:
    """Continue an interrupted run, and wait for its next event. A FastAPI dependency."""
    async with aclosing(runner.resume(owner, run_id)) as events:
        yield BegunRun(await anext(events), events)


async def decided_run(
    confirmation_id: str, answer: Answer, owner: OwnerDep, runner: RunnerDep
) -> AsyncIterator[BegunRun]:
    """Carry out a person's decision, to its end even if the client disconnects."""
    chosen = (
        runner.reject(owner, confirmation_id, answer.reason)
        if answer.decision == "reject"
        else runner.approve(answer.of(owner, confirmation_id))
    )
    async with aclosing(chosen) as events:
        yield BegunRun(await anext(events), events)


@router.get("/agents")
async def agents(_: IdentityDep, runner: RunnerDep) -> dict[str, Any]:
    """Every agent, with its tools."""
    return {"agents": [_agent(agent) for agent in runner.agents]}


@router.post("/agents/{agent}/runs", response_class=EventStream)
@body_limit(longest_body=LONGEST_BODY)
async def start(begun: Annotated[BegunRun, Depends(started_run)]) -> EventStream:
    """Send a message to an agent. Pending confirmations of the same conversation are withdrawn."""
    return EventStream(begun.written())


@router.delete("/agents/{agent}/conversations/{conversation_id}", status_code=204)
async def forget(agent: str, conversation_id: str, owner: OwnerDep, runner: RunnerDep) -> Response:
    """Remove a conversation with an agent. Its pending confirmations can no longer be approved."""
    await runner.forget(owner, agent, conversation_id)
    return Response(status_code=204)


@router.get("/runs")
async def runs(
    owner: OwnerDep, runner: RunnerDep, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """The user's last runs, the newest first, each with the beginning of its question."""
    found = await runner.recent(owner, limit)
    return {"runs": [await _run(runner, run, LONGEST_LISTED) for run in found]}


@router.get("/runs/{run_id}")
async def run(run_id: str, owner: OwnerDep, runner: RunnerDep) -> dict[str, Any]:
    """One run: its state, its usage and its confirmations."""
    found = await runner.find(owner, run_id)
    progress = await runner.progress(found)
    asked = (await runner.gate.of_run(run_id)).values()
    return {
        **await _run(runner, found),
        "spent": progress.spent.model_dump(mode="json"),
        "budget": found.budget.model_dump(mode="json"),
        "steps": [step.kind for step in progress.steps],
        "confirmations": [confirmation_view(one) for one in asked],
    }


@router.delete("/runs/{run_id}", status_code=204)
async def remove(run_id: str, owner: OwnerDep, runner: RunnerDep) -> Response:
    """Remove a run, with all that it delegated. Its confirmations can no longer be approved."""
    await runner.remove(owner, run_id)
    return Response(status_code=204)


@router.post("/runs/{run_id}/resume", response_class=EventStream)
async def resume(begun: Annotated[BegunRun, Depends(resumed_run)]) -> EventStream:
    """Continue a run that was interrupted, or whose model was unavailable."""
    return EventStream(begun.written())


@router.get("/confirmations")
async def pending(
    owner: OwnerDep, runner: RunnerDep, limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> dict[str, Any]:
    """The user's open confirmations: undecided, or of unknown result."""
    return {"confirmations": [confirmation_view(one) for one in await runner.gate.pending(owner, limit)]}


@router.get("/confirmations/{confirmation_id}")
async def confirmation(confirmation_id: str, owner: OwnerDep, runner: RunnerDep) -> dict[str, Any]:
    """One confirmation, with every argument in full, and the arguments as JSON."""
    one = await runner.gate.find(owner, confirmation_id)
    return {**confirmation_view(one, whole=True), "json": json.loads(one.arguments)}


@router.post("/confirmations/{confirmation_id}", response_class=EventStream)
@body_limit(longest_body=LONGEST_BODY)
async def decide(begun: Annotated[BegunRun, Depends(decided_run)]) -> EventStream:
    """Approve, reject or edit a pending confirmation, and continue its run."""
    return EventStream(begun.written())


def _written(event: Event) -> bytes:
    return json_event(event.as_dict(), event.kind)


def _agent(agent: Agent) -> dict[str, Any]:
    tools = [
        {"name": tool.name, "title": tool.title, "risk": tool.risk, "policy": tool.policy}
        for tool in agent.tools
    ]
    return {"name": agent.name, "about": agent.about, "feature": agent.feature, "tools": tools}


async def _run(runner: Runner, run: Run, longest: int | None = None) -> dict[str, Any]:
    return {
        "id": run.id,
        "agent": run.agent,
        "conversation": run.conversation,
        "parent": run.parent,
        "state": await runner.shown_state(run),
        "reason": run.reason,
        "question": run.question[:longest],
        "answer": run.answer,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
    }
