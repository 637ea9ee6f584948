"""Executes one run from its last stored step until it ends or waits for a person."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from langchain_core.messages import SystemMessage

from backend.utils.llm.errors import LLMError

from . import history, spending
from .events import AnswerDelta, ConfirmationChanged, RunEnded, RunStarted, ToolCalled, ToolResult
from .gate import call_tool, observation_from_confirmation
from .judging import ToolCallJudge, ensure_tool_call_ids, has_hit_token_limit, join_chunks, verdict_for_tool
from .loop import (
    CallModelAction,
    DelegateCallAction,
    ExecuteCallsAction,
    FinishRunAction,
    RunProgress,
    WaitForDecisionsAction,
)
from .observations import ToolObservation, make_error_observation, read_error_message
from .runs import ENDED, Run, RunOutcome
from .steps import AnswerStep, JudgedToolCall, ModelFailureStep, OpeningStep, RunUsage, ToolResultStep
from .tools import Execution

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk

    from .agent import Agents
    from .confirmations import Confirmation
    from .events import Event
    from .gate import ConfirmationGate
    from .loop import NextAction, Reason
    from .runs import RunState, RunStore
    from .steps import Step

_STATES: Final[dict[Reason, RunState]] = {
    "answered": "done",
    "failed": "failed",
    "expired": "expired",
    "superseded": "superseded",
}
"""The state for each reason for which a run ends; any other reason is a limit."""


class RunDependencies(NamedTuple):
    """The stores, models and clocks that all runs of an application share.

    Attributes:
        models: Returns the chat model of a feature.
        now: The wall clock, in microseconds since 1970.
        clock: The monotonic clock, in seconds.
        lease: Returns a context manager that acquires and holds the lease of a run. Used for delegated runs.
    """

    agents: Agents
    models: Callable[[str], BaseChatModel]
    runs: RunStore
    gate: ConfirmationGate
    now: Callable[[], int]
    clock: Callable[[], float]
    lease: Callable[[Run], AbstractAsyncContextManager[RunDriver]]


class RunDriver:
    """Executes one run step by step. The process must hold the run's lease.

    ``steps`` are all steps of the run that are already stored.
    """

    def __init__(self, run: Run, steps: Sequence[Step], dependencies: RunDependencies) -> None:
        self._run = run
        self._around = dependencies
        self._agent = dependencies.agents[run.agent]
        self._judge = ToolCallJudge(self._agent, dependencies.agents)
        self._progress = RunProgress.from_steps(run.budget, steps)
        self._saved = len(steps)
        self._left_open: set[str] = set()
        """Calls that ran, and nobody knows what came of them."""
        self._end: RunEnded | None = None

    async def continue_run(self) -> AsyncGenerator[Event, None]:
        """Continue the run until it ends or waits for a person, and yield its events. The last event is `RunEnded`.

        The caller must then store what `make_outcome` returns.
        """
        yield RunStarted(self._run)
        while self._end is None:
            move = self._progress.next_action()
            if not isinstance(move, CallModelAction):
                await self.save_steps()
            async with aclosing(self._stage(move)) as stage:
                async for event in stage:
                    yield event

    def _stage(self, move: NextAction) -> AsyncGenerator[Event, None]:
        match move:
            case CallModelAction():
                return self._ask(move.seconds)
            case ExecuteCallsAction():
                return self._execute(move)
            case DelegateCallAction():
                return self._delegate(move.call)
            case WaitForDecisionsAction():
                return self._wait(move.gated)
            case FinishRunAction():
                return self._finish(move.reason)

    async def _finish(self, reason: Reason) -> AsyncGenerator[Event, None]:
        yield self._ended(_STATES.get(reason, "exhausted"), reason)

    def make_outcome(self) -> RunOutcome:
        """Return the state, reason and answer to store for the run.

        The state is ``running`` if the run was interrupted: it neither ended nor waits for a person.
        """
        ended = self._end
        if ended is None:
            return RunOutcome("running")
        state = cast("RunState", ended.state)
        if state not in ENDED:
            return RunOutcome(state, ended.reason)
        whole = all(step.status in ("ok", "error", "timed_out") for step in self._progress.results.values())
        is_exchange = self._run.conversation is not None and self._run.parent is None
        return RunOutcome(state, ended.reason, ended.text, state == "done" and is_exchange and whole)

    # The model -----------------------------------------------------------------------------------------------------

    async def _ask(self, seconds: float) -> AsyncGenerator[Event, None]:
        clock = self._around.clock
        chunks: list[AIMessageChunk] = []
        began = clock()
        try:
            async with aclosing(self._chunks(seconds)) as answer:
                async for chunk in answer:
                    chunks.append(chunk)
                    if chunk.text:
                        yield AnswerDelta(self._run.id, chunk.text)
        except LLMError as error:
            spent = spending.usage_from_error(error, clock() - began)
            await self._append(ModelFailureStep(code=error.code, spent=spent, call_id=error.call_id))
            yield self._ended("failed", error.code, error)
            return
        except TimeoutError:
            took = seconds if seconds < float("inf") else clock() - began
            await self._append(
                ModelFailureStep(code="seconds", spent=RunUsage(turns=1, unpriced=1, seconds=took))
            )
            return
        answered = self._answered(chunks, clock() - began)
        await self._append(answered)
        for call in answered.calls:
            yield ToolCalled(self._run.id, call.key, call.name, call.verdict, read_error_message(call.fault))

    async def _chunks(self, seconds: float) -> AsyncGenerator[AIMessageChunk, None]:
        """The answer in chunks, as they arrive. The time limit is checked between chunks, because their reader may take time, too.

        Raises:
            TimeoutError: ``seconds`` have passed.
        """
        model: Any = self._around.models(self._agent.feature)
        if functions := self._judge.make_function_definitions():
            model = model.bind_tools(functions)
        stream = model.astream(
            [SystemMessage(self._agent.instructions), *history.build_message_history(self._progress.steps)]
        )
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds if seconds < float("inf") else None
        async with aclosing(stream):
            while True:
                async with asyncio.timeout_at(until):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                yield chunk

    def _answered(self, chunks: Sequence[AIMessageChunk], seconds: float) -> AnswerStep:
        number = len(self._progress.steps)
        came = ensure_tool_call_ids(join_chunks(chunks), number)
        kept = history.message_to_json(came)
        message = cast("AIMessage", history.message_from_json(kept))
        receipt = came.response_metadata.get("receipt") or {}
        left = self._run.budget.remaining_tool_calls(self._progress.spent)
        return AnswerStep(
            message=kept,
            text=message.text,
            calls=self._judge.judge_tool_calls(message, number, left, is_truncated=has_hit_token_limit(came)),
            spent=spending.usage_from_answer(came, seconds),
            call_id=receipt.get("id"),
            endpoint=receipt.get("endpoint"),
        )

    # Tools ---------------------------------------------------------------------------------------------------------

    async def _execute(self, move: ExecuteCallsAction) -> AsyncGenerator[Event, None]:
        """Create all needed confirmations before any call is executed; then execute the other calls concurrently."""
        for call in move.gated:
            await self._asked(call)
        calls = [call for call in move.calls if call.key not in self._left_open]
        if not calls:
            async for event in self._wait((*move.calls, *move.gated)):
                yield event
            return
        tasks = [asyncio.create_task(self._executed(call)) for call in calls]
        try:
            for each in asyncio.as_completed(tasks):
                if (result := await each) is None:
                    continue
                if result.confirmation is not None:
                    await self._append(result)
                else:  # it only looked, and would look again: it is kept with what follows
                    self._progress.add_step(result)
                yield self._tool_result(result)
        finally:
            for task in tasks:
                task.cancel()

    async def _executed(self, call: JudgedToolCall) -> ToolResultStep | None:
        """The result of ``call``; None if an earlier process began to execute it and its result is unknown."""
        tool = self._agent.find_tool(call.name)
        is_changed = tool is None or (tool.definition_hash, tool.risk_and_policy) != (
            call.definition,
            call.terms,
        )
        if tool is None or is_changed or verdict_for_tool(tool) != call.verdict:
            return _observed(
                call,
                make_error_observation("Changed", "This tool has changed. It was not called.", "refused"),
            )
        began = self._around.clock()
        if call.verdict == "run":
            run, owner = self._run, self._run.owner
            execution = Execution(owner.user_id, owner.tenant_id, run.id, f"{run.id}.{call.key}")
            found = await call_tool(tool, json.loads(call.arguments), execution)
            return _observed(call, found, seconds=self._around.clock() - began)
        one = await self._around.gate.record_auto_approved_call(self._run, call, tool)
        if one is None:
            self._left_open.add(call.key)
            return None
        done = await self._around.gate.start_claimed_call(one, tool)
        return self._settled(call, done, self._around.clock() - began)

    def _settled(
        self, call: JudgedToolCall, one: Confirmation, seconds: float = 0.0
    ) -> ToolResultStep | None:
        found = observation_from_confirmation(one)
        if found is None:
            self._left_open.add(call.key)
            return None
        return _observed(call, found, one.id, seconds)

    async def _asked(self, call: JudgedToolCall) -> Confirmation | None:
        """The confirmation of ``call``, created if there is none yet; None if the tool has changed, or the user has too many open ones."""
        gate, tool = self._around.gate, self._agent.find_tool(call.name)
        if (one := (await gate.latest_confirmation_by_call(self._run.id)).get(call.key)) is not None:
            return one
        if tool is None or (tool.definition_hash, tool.risk_and_policy) != (call.definition, call.terms):
            return None
        return await gate.request_confirmation(self._run, call, tool)

    # Other agents --------------------------------------------------------------------------------------------------

    async def _delegate(self, call: JudgedToolCall) -> AsyncGenerator[Event, None]:
        """Continue the other agent's run, within what is left of this run's budget, and take its answer as the call's result."""
        child = await self._child(call)
        if child is None:
            yield await self._observe(
                _observed(
                    call,
                    make_error_observation("NothingLeft", "The run has nothing left for this.", "refused"),
                )
            )
            return
        ended = await self._past(child)
        if ended is None:
            async with self._around.lease(child) as drive, aclosing(drive.continue_run()) as inner:
                async for event in inner:
                    ended = event if isinstance(event, RunEnded) and event.run_id == child.id else ended
                    yield event
        if ended is None or ended.state == "awaiting":
            yield self._ended("awaiting", None)
            return
        yield await self._observe(_delegated(call, ended))

    async def _past(self, child: Run) -> RunEnded | None:
        """The last event of another agent's run that has ended; None if it has not."""
        if child.state not in ENDED:
            return None
        spent = RunProgress.from_steps(child.budget, await self._around.runs.list_steps(child.id)).spent
        return RunEnded(child.id, child.state, child.reason, child.answer or "", spent)

    async def _child(self, call: JudgedToolCall) -> Run | None:
        """The run of the other agent: the same run at every call."""
        run, child_id = self._run, f"{self._run.id}.{call.key}"
        if (known := await self._around.runs.get(run.owner, child_id)) is not None:
            return known
        spent = self._progress.spent + RunUsage(tool_calls=len(self._progress.calls_without_result))
        budget = run.budget.make_delegated_budget(spent, self._around.agents[call.name].budget)
        if budget is None:
            return None
        now = self._around.now()
        child = Run(
            child_id, call.name, run.owner, call.arguments, budget, now, parent=run.id, parent_call=call.key
        )
        await self._around.runs.add_run(
            child, OpeningStep(messages=(history.user_message_to_json(call.arguments),))
        )
        return child

    # Waiting -------------------------------------------------------------------------------------------------------

    async def _wait(self, calls: Sequence[JudgedToolCall]) -> AsyncGenerator[Event, None]:
        """Add the results of decided confirmations; if there are none, the run waits."""
        before = len(self._progress.results)
        asked = [(call, await self._asked(call)) for call in calls]
        for call, confirmation in asked:
            if confirmation is None:
                refused = make_error_observation(
                    "NotAsked", "Nobody can be asked for this now. It was not done.", "refused"
                )
                yield await self._observe(_observed(call, refused))
            elif (result := self._settled(call, confirmation)) is not None:
                yield await self._observe(result)
        if any(
            confirmation is not None and confirmation.state_at(self._around.now()) == "expired"
            for _, confirmation in asked
        ):
            yield self._ended("expired", "expired")
        elif len(self._progress.results) == before:
            for _, confirmation in asked:
                if confirmation is not None:
                    yield ConfirmationChanged(
                        confirmation._replace(state=confirmation.state_at(self._around.now()))
                    )
            yield self._ended("awaiting", None)

    # Steps ---------------------------------------------------------------------------------------------------------

    async def _observe(self, result: ToolResultStep) -> ToolResult:
        await self._append(result)
        return self._tool_result(result)

    def _tool_result(self, result: ToolResultStep) -> ToolResult:
        why = "" if result.status == "ok" else read_error_message(result.content)
        return ToolResult(self._run.id, result.call, result.name, result.status, why)

    async def _append(self, step: Step) -> None:
        """Fold ``step`` into the state, and queue it for storing."""
        self._progress.add_step(step)
        await self.save_steps()

    async def save_steps(self) -> None:
        """Store all steps that are not stored yet.

        Raises:
            StepConflictError: Another process has continued the run.
        """
        if unsaved := self._progress.steps[self._saved :]:
            await self._around.runs.append_steps(self._run, self._saved, unsaved, self._around.now())
            self._saved += len(unsaved)

    def _ended(self, state: RunState, reason: str | None, error: LLMError | None = None) -> RunEnded:
        progress = self._progress
        self._end = RunEnded(self._run.id, state, reason, progress.latest_text, progress.spent, error)
        return self._end


def _observed(
    call: JudgedToolCall, found: ToolObservation, confirmation: str | None = None, seconds: float = 0.0
) -> ToolResultStep:
    ran = found.status in ("ok", "error", "timed_out")
    return ToolResultStep(
        call=call.key,
        name=call.name,
        status=found.status,
        content=found.content,
        confirmation=confirmation,
        spent=RunUsage(tool_calls=int(ran), seconds=seconds),
    )


def _delegated(call: JudgedToolCall, ended: RunEnded) -> ToolResultStep:
    """The result of a delegated call. For an agent that was stopped: its last text, and why it stopped."""
    note = "" if ended.state == "done" else f"\n[stopped: {ended.reason}]"
    spent = ended.spent + RunUsage(tool_calls=1)
    return ToolResultStep(
        call=call.key, name=call.name, status="ok", content=f"{ended.text}{note}", spent=spent
    )
