"""Approval of tool calls for agents of LangChain's `create_agent`, as a middleware.

A graph may run a node twice: after a crash, or because two processes resume the same thread. A call can be claimed only
once, so even then its tool runs once, and the second process gets the recorded result.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, ToolMessage
from typing_extensions import override

from backend.utils.llm.errors import ConfirmationError
from backend.utils.llm.execution.loop_thread import SharedBackgroundLoop
from backend.utils.llm.schema_checks import find_schema_violation

from .agent import Agent, Agents
from .budget import RunBudget
from .errors import AlreadyDecidedError, ConfirmationExpiredError, ConfirmationsUnreachableError
from .events import confirmation_to_json
from .gate import ApprovalDecision, ConfirmationGate, observation_from_confirmation
from .observations import ToolObservation, make_error_observation
from .runs import Run
from .steps import JudgedToolCall
from .threads import ToolThreads
from .tools import InvalidArgumentsError, Tool

try:
    from langchain.agents.middleware import AgentMiddleware
    from langgraph.errors import GraphInterrupt
    from langgraph.types import interrupt
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError("The gate for `create_agent` needs LangChain itself: pip install langchain") from error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from langchain.agents.middleware.types import ToolCallRequest
    from langchain_core.tools import BaseTool
    from langgraph.types import Command

    from backend.access import DataOwner

    from .confirmations import Confirmation, ConfirmationStore
    from .tools import Policy, Risk

    Answered = ToolMessage | Command[Any]
    Handler = Callable[[ToolCallRequest], Awaitable[Answered]]

_NAME: Final = "create_agent"
_ELSEWHERE: Final = make_error_observation(
    "Elsewhere", "It is being done by somebody else. Do not do it again."
)


class ConfirmedTools(AgentMiddleware[Any, Any, Any]):
    """LangChain middleware that executes a tool call only once, and after approval if its policy requires it.

    For an approval, it interrupts the graph with the confirmation, in the form of `confirmation_to_json`.
    Resume the graph with ``Command(resume={"decision": "approve", "digest": …})``. The decision may also
    be ``reject`` with a ``reason``, or ``edit`` with ``arguments``. After an invalid decision, the graph is
    interrupted again, with the ``error`` and a new ``digest``.

    In a synchronous agent, the store is used on an event loop in a separate thread, and each tool call runs
    in a thread of its own. A store that is bound to one event loop, such as one on PostgreSQL, cannot serve
    synchronous and asynchronous agents at the same time.

    Args:
        store: Stores the confirmations.
        tools: The tools of the agent.
        terms: Risk and policy of each tool, by its name. A tool that is missing here has ``write`` and
            ``ask``.
        owner: Returns the authenticated user who resumes the LangGraph thread. It must not read the user
            from the thread's config.
        gate: Further arguments for the `ConfirmationGate`.
    """

    def __init__(
        self,
        store: ConfirmationStore,
        tools: Sequence[BaseTool],
        terms: Mapping[str, tuple[Risk, Policy]],
        *,
        owner: Callable[[], DataOwner],
        **gate: Any,
    ) -> None:
        super().__init__()
        ours = tuple(_tool(tool, *terms.get(tool.name, ("write", "ask"))) for tool in tools)
        self._agent = Agent(_NAME, "", "", ours)
        self._gate = ConfirmationGate(store, Agents([self._agent]), **gate)
        self._owner = owner
        self._loop = SharedBackgroundLoop()
        self._threads = {tool.name: ToolThreads() for tool in ours if tool.risk_and_policy != "read/allow"}

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Answered]
    ) -> Answered:
        async def handle(asked: ToolCallRequest) -> Answered:
            threads = self._threads.get(asked.tool_call["name"]) or ToolThreads()
            return await threads.run_in_thread(partial(handler, asked))

        found = self._loop.get_loop().run(self.awrap_tool_call(request, handle))
        assert found is not None, "no tool runs on that loop's own thread"  # noqa: S101
        return found

    @override
    async def awrap_tool_call(self, request: ToolCallRequest, handler: Handler) -> Answered:
        tool = self._agent.find_tool(request.tool_call["name"])
        if tool is None or (tool.risk, tool.policy) == ("read", "allow"):
            return await handler(request)
        if tool.policy == "deny":
            return _message(request, make_error_observation("NotAllowed", "This tool may not be called."))
        try:
            accepted = tool.validate_arguments(request.tool_call["args"])
        except InvalidArgumentsError as error:
            return _message(request, make_error_observation("InvalidArguments", str(error)))
        return _message(request, await self._confirmed(request, handler, tool, accepted))

    async def _confirmed(
        self, request: ToolCallRequest, handler: Handler, tool: Tool, arguments: str
    ) -> ToolObservation:
        run, call = self._run(request), _call(request, tool, arguments)
        one = (await self._gate.latest_confirmation_by_call(run.id)).get(call.key)
        if one is None and tool.policy == "allow":
            one = await self._gate.record_auto_approved_call(run, call, tool)
            if one is not None:
                done = await self._gate.start_claimed_call(one, _bound(tool, request, handler))
                return observation_from_confirmation(done) or _ELSEWHERE
            one = (await self._gate.latest_confirmation_by_call(run.id)).get(call.key)
        one = one or await self._gate.request_confirmation(run, call, tool)
        if one is None or one.owner != run.owner:
            return make_error_observation("NotAsked", "Nobody can be asked for this now. It was not done.")
        return await self._answered(one, request, handler)

    async def _answered(
        self, one: Confirmation, request: ToolCallRequest, handler: Handler
    ) -> ToolObservation:
        """The result of a person's last decision. Without a valid one the graph is interrupted.

        LangGraph gives a node that runs again every earlier answer, too: only the last one counts.
        """
        answers = _answers() if observation_from_confirmation(one) is None else []
        if not answers:
            return _known(one)
        try:
            return await self._decided(one, answers[-1], request, handler)
        except ConfirmationsUnreachableError:
            raise
        except ConfirmationError as error:
            one = await self._gate.reissue_confirmation(one, str(answers[-1].get("digest", "")))
            return _known(one, error=error.as_dict())

    async def _decided(
        self, one: Confirmation, answer: Mapping[str, Any], request: ToolCallRequest, handler: Handler
    ) -> ToolObservation:
        try:
            if answer.get("decision") == "reject":
                done = await self._gate.reject(self._owner(), one.id, str(answer.get("reason", "")))
            else:
                claimed, tool = await self._gate.claim_confirmation(_decision(self._owner(), one, answer))
                done = await self._gate.start_claimed_call(claimed, _bound(tool, request, handler))
        except (AlreadyDecidedError, ConfirmationExpiredError):
            done = await self._gate.get_confirmation(one.owner, one.id)
        return observation_from_confirmation(done) or _ELSEWHERE

    def _run(self, request: ToolCallRequest) -> Run:
        """The thread of the graph as a run."""
        thread = str(request.runtime.config.get("configurable", {}).get("thread_id", ""))
        return Run(thread, _NAME, self._owner(), "", RunBudget(), 0)


def _answers() -> list[Mapping[str, Any]]:
    """All answers that the thread has given to this call, in order."""
    found: list[Mapping[str, Any]] = []
    with suppress(GraphInterrupt):
        while True:
            found.append(interrupt(None))
    return found


def _known(one: Confirmation, **more: Any) -> ToolObservation:
    """The result of a confirmation. While there is none, the graph is interrupted with the confirmation and ``more``."""
    while (known := observation_from_confirmation(one)) is None:
        interrupt({**confirmation_to_json(one, untruncated=True), **more})
    return known


def _tool(one: BaseTool, risk: Risk, policy: Policy) -> Tool:
    call_schema: Any = one.tool_call_schema
    schema: dict[str, Any] = call_schema if isinstance(call_schema, dict) else call_schema.model_json_schema()

    def accept(given: Mapping[str, Any]) -> dict[str, Any]:
        if (fault := find_schema_violation(dict(given), schema)) is not None:
            raise InvalidArgumentsError(f"{fault}.")
        return dict(given)

    async def run(*_: object) -> str:
        raise AssertionError("it runs where the graph does")

    return Tool(
        one.name, one.description, schema, accept, run, risk, policy, one.name.replace("_", " ").capitalize()
    )


def _bound(tool: Tool, request: ToolCallRequest, handler: Handler) -> Tool:
    """``tool``, as run by the graph, with the confirmed arguments."""

    async def run(arguments: dict[str, Any], _: object) -> str:
        answered = await handler(request.override(tool_call={**request.tool_call, "args": arguments}))
        return str(answered.text) if isinstance(answered, ToolMessage) else "done"

    return replace(tool, run=run)


def _call(request: ToolCallRequest, tool: Tool, arguments: str) -> JudgedToolCall:
    """The call, identified by the id of its message as well, because providers reuse the ids of calls."""
    call_id = request.tool_call["id"] or ""
    messages = request.state["messages"]
    answer = next(
        (message for message in reversed(messages) if isinstance(message, AIMessage) and message.tool_calls),
        None,
    )
    key = f"{answer.id if answer else ''}.{call_id}"
    found = {"arguments": arguments, "definition": tool.definition_hash, "terms": tool.risk_and_policy}
    return JudgedToolCall(key=key, id=call_id, name=tool.name, verdict="ask", **found)


def _decision(owner: DataOwner, one: Confirmation, answer: Mapping[str, Any]) -> ApprovalDecision:
    arguments = answer.get("arguments") if answer.get("decision") == "edit" else None
    return ApprovalDecision(
        owner, one.id, str(answer.get("digest", "")), bool(answer.get("again")), arguments
    )


def _message(request: ToolCallRequest, found: ToolObservation) -> ToolMessage:
    status: Any = "success" if found.status == "ok" else "error"
    call = request.tool_call
    return ToolMessage(found.content, tool_call_id=call["id"] or "", name=call["name"], status=status)
