"""Starts runs of agents, continues them in any process, and takes people's decisions."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from uuid_utils import uuid7

from . import history
from .drive import RunDependencies, RunDriver
from .errors import (
    ConfirmationNotFoundError,
    RunBusyError,
    RunEndedError,
    RunNotFoundError,
    StepConflictError,
)
from .events import ConfirmationChanged, RunEnded
from .gate import current_unix_microseconds
from .loop import RunProgress
from .observations import make_error_observation
from .runs import ENDED, Run, RunOutcome
from .steps import OpeningStep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from backend.access import DataOwner

    from .agent import Agents
    from .confirmations import Confirmation
    from .events import Event
    from .gate import ApprovalDecision, ConfirmationGate
    from .runs import RunStore
    from .steps import Step

log = logging.getLogger(__name__)

LEASE: Final = 30_000_000
"""Microseconds for which a process holds a run without renewing its lease."""
LONGEST_QUESTION: Final = 16_000
"""The most characters of a user's message to an agent, over HTTP."""
MEMORY: Final = 10
"""How many earlier exchanges of the conversation a new run is told."""
_SUPERSEDED: Final = make_error_observation(
    "Superseded", "This was not done: the user said something else instead."
).content


class AgentRunner:
    """Starts and continues runs of an application's agents.

    All state is in the stores, so any process can continue any run.

    Args:
        agents: The agents of the application.
        models: Returns the chat model of a feature, as `get_llm` does.
        runs: Stores runs and their steps.
        gate: Stores confirmations, and executes the calls that need them.
        now: The wall clock, in microseconds since 1970.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self,
        agents: Agents,
        models: Callable[[str], BaseChatModel],
        runs: RunStore,
        gate: ConfirmationGate,
        *,
        now: Callable[[], int] = current_unix_microseconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agents = agents
        self.gate = gate
        self._runs = runs
        self._now = now
        self._around = RunDependencies(agents, models, runs, gate, now, clock, self._leased)

    async def start_run(
        self,
        owner: DataOwner,
        agent: str,
        question: str,
        conversation: str | None = None,
        earlier_messages: Sequence[BaseMessage] = (),
    ) -> AsyncGenerator[Event, None]:
        """Start a run, and yield its events until it ends or waits for a person.

        Runs of the same conversation that wait for a person are ended, and their pending confirmations are
        withdrawn.

        Args:
            owner: The user who asks.
            agent: The name of the agent.
            question: The user's message.
            conversation: The id of the conversation; None for a run without memory.
            earlier_messages: The messages before ``question``, if the client keeps the history itself.

        Raises:
            UnknownAgentError: There is no such agent. Raised before the first event.
        """
        budget = self.agents[agent].budget
        remembered = await self._before(owner, agent, conversation)
        messages = (
            *remembered,
            *map(history.message_to_json, earlier_messages),
            history.user_message_to_json(question),
        )
        now = self._now()
        run = Run(str(uuid7()), agent, owner, question, budget, now, conversation, updated_at=now)
        run = run._replace(leased_by=secrets.token_hex(8), leased_until=now + LEASE)
        opened = OpeningStep(messages=messages)
        await self._runs.add_run(run, opened)
        async with aclosing(self._driven(run, self._held(run, [opened]))) as events:
            async for event in events:
                yield event

    async def resume_run(self, owner: DataOwner, run_id: str) -> AsyncGenerator[Event, None]:
        """Continue a run that was interrupted or whose model call has failed, and yield its events.

        Raises:
            RunNotFoundError: The run does not exist or belongs to another user.
            RunEndedError: The run has ended.
            RunBusyError: Another process is executing the run.
        """
        run = await self._root(owner, await self.get_run(owner, run_id))
        if run.state in ENDED:
            raise RunEndedError(run.state)
        async with aclosing(self._driven(run)) as events:
            async for event in events:
                yield event

    async def approve(self, decision: ApprovalDecision) -> AsyncGenerator[Event, None]:
        """Execute the approved call, continue its run, and yield the events of the call and the run.

        Raises:
            ConfirmationError: The call is not executed; the error's type says why. Raised before the first
                event.
        """
        await self._of_a_run(decision.owner, decision.confirmation)
        claimed, doing = await self.gate.approve(decision)
        yield ConfirmationChanged(claimed)
        yield ConfirmationChanged(await doing)
        async with aclosing(self._continued(decision.owner, claimed)) as events:
            async for event in events:
                yield event

    async def reject(
        self, owner: DataOwner, confirmation_id: str, reason: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Reject a tool call, continue its run without it, and yield the events.

        Raises:
            ConfirmationError: The confirmation can no longer be rejected.
        """
        await self._of_a_run(owner, confirmation_id)
        rejected = await self.gate.reject(owner, confirmation_id, reason)
        yield ConfirmationChanged(rejected)
        async with aclosing(self._continued(owner, rejected)) as events:
            async for event in events:
                yield event

    async def get_run(self, owner: DataOwner, run_id: str) -> Run:
        """Return the run with this id.

        Raises:
            RunNotFoundError: The run does not exist or belongs to another user.
        """
        if (run := await self._runs.get(owner, run_id)) is None:
            raise RunNotFoundError
        return run

    async def load_progress(self, run: Run) -> RunProgress:
        """Load the steps of a run from the store, and compute its state."""
        return RunProgress.from_steps(run.budget, await self._runs.list_steps(run.id))

    async def list_recent_runs(self, owner: DataOwner, limit: int = 50) -> Sequence[Run]:
        """Return the last ``limit`` runs of ``owner``, the newest first, without delegated runs."""
        return await self._runs.list_recent_runs(owner, limit)

    async def delete_conversation_runs(self, owner: DataOwner, agent: str, conversation: str) -> int:
        """Delete all runs of a conversation with their steps. Their confirmations can no longer be approved.

        Returns:
            How many runs of the conversation were deleted, not counting delegated ones.
        """
        for run in await self._runs.list_runs_awaiting_decision(owner, agent, conversation):
            await self._withdraw(run)
        return await self._runs.delete_conversation_runs(owner, agent, conversation)

    async def delete_run(self, owner: DataOwner, run_id: str) -> None:
        """Delete a run, the runs that delegated it, and all that those delegated.

        Their confirmations can no longer be approved.

        Raises:
            RunNotFoundError: The run does not exist or belongs to another user.
        """
        run = await self._root(owner, await self.get_run(owner, run_id))
        await self._withdraw(run)
        await self._runs.delete_run(run)

    async def end_expired_runs(self) -> None:
        """Mark overdue confirmations of all users, and end the runs that wait for an expired confirmation.

        A background task calls this regularly.
        """
        for confirmation in await self.gate.mark_overdue_confirmations():
            run = await self._runs.get(confirmation.owner, confirmation.run)
            while run is not None:
                text = (await self.load_progress(run)).latest_text
                await self._runs.end_run_awaiting_decision(
                    run, RunOutcome("expired", "expired", text), self._now()
                )
                run = await self._runs.get(confirmation.owner, run.parent) if run.parent else None

    async def current_state(self, run: Run) -> str:
        """Return the present state of a run, which may differ from the stored one.

        ``interrupted`` means that `resume_run` can continue the run: its process has died, or all decisions that
        it waited for are made.
        """
        if run.state == "awaiting" and await self._is_decided(run):
            return "interrupted"
        return run.state_at(self._now())

    # How -----------------------------------------------------------------------------------------------------------

    async def _driven(
        self, run: Run, held: AbstractAsyncContextManager[RunDriver] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Drive the run until it ends, or waits for a person who has not decided meanwhile.

        Args:
            run: The run.
            held: The same run, if its lease is held already.
        """
        has_begun = False
        while True:
            try:
                async with held or self._leased(run) as drive, aclosing(drive.continue_run()) as events:
                    async for event in events:
                        has_begun = True
                        yield event
            except RunBusyError:
                if not has_begun:
                    raise
                yield await self._stands(
                    await self.get_run(run.owner, run.id)
                )  # somebody else goes on with it
                return
            if drive.make_outcome().state != "awaiting" or not await self._is_decided(run):
                return
            held = None

    @asynccontextmanager
    async def _leased(self, run: Run) -> AsyncIterator[RunDriver]:
        """Lease ``run``, drive it, and record its state at the end."""
        leased = run._replace(leased_by=secrets.token_hex(8))
        if not await self._renew(leased):
            raise RunBusyError
        async with self._held(leased, await self._runs.list_steps(run.id)) as drive:
            yield drive

    @asynccontextmanager
    async def _held(self, run: Run, steps: Sequence[Step]) -> AsyncIterator[RunDriver]:
        """Drive ``run``, whose lease is held and which has these ``steps``, and release the lease at the end."""
        drive = RunDriver(run, steps, self._around)
        renewing = asyncio.create_task(self._renewing(run))
        is_whole = False
        try:
            yield drive
            is_whole = True
        except StepConflictError:
            raise RunBusyError from None
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            await self._let_go(run, drive, is_whole=is_whole)

    async def _let_go(self, run: Run, drive: RunDriver, *, is_whole: bool) -> None:
        """Store the last steps of ``drive``, and release the lease, even if they cannot be stored.

        Args:
            run: The run.
            drive: The drive of the run.
            is_whole: Whether the drive raised nothing. If it did, its own error is raised instead of one from here.
        """
        try:
            try:
                with suppress(StepConflictError):  # who was cancelled while they wrote may have written
                    await drive.save_steps()
            finally:
                await self._runs.release_lease(run, run.leased_by or "", drive.make_outcome(), self._now())
        except Exception as error:
            if is_whole:
                raise
            log.warning("agents.run_not_kept run=%s error=%s", run.id, type(error).__name__)

    async def _renew(self, run: Run) -> bool:
        now = self._now()
        return await self._runs.acquire_lease(run, run.leased_by or "", now + LEASE, now)

    async def _renewing(self, run: Run) -> None:
        while True:
            await asyncio.sleep(LEASE / 3_000_000)
            try:
                await self._renew(run)
            except Exception as error:  # noqa: BLE001 - the lease decides nothing
                log.warning("agents.lease_not_renewed run=%s error=%s", run.id, type(error).__name__)

    async def _is_decided(self, run: Run) -> bool:
        """Whether no confirmation is open any more that the run, or one that it delegated, waits for."""
        progress = await self.load_progress(run)
        found = await self.gate.latest_confirmation_by_call(run.id)
        for call in progress.calls_without_result:
            child = None
            if call.verdict == "delegate":
                child = await self._runs.get(run.owner, f"{run.id}.{call.key}")
            if child is not None and not await self._is_decided(child):
                return False
            one = found.get(call.key)
            if one is not None and one.state_at(self._now()) in ("pending", "executing", "unknown"):
                return False
        return True

    async def _continued(self, owner: DataOwner, one: Confirmation) -> AsyncGenerator[Event, None]:
        """Continue the run after a decision. If the run continues in another process, or has ended, say so."""
        root = await self._root(owner, await self.get_run(owner, one.run))
        if root.state in ENDED:
            yield await self._stands(root)
            return
        try:
            async with aclosing(self._driven(root)) as events:
                async for event in events:
                    yield event
        except RunBusyError:
            yield await self._stands(await self.get_run(owner, root.id))

    async def _stands(self, run: Run) -> RunEnded:
        spent = (await self.load_progress(run)).spent
        return RunEnded(run.id, await self.current_state(run), run.reason, run.answer or "", spent)

    async def _of_a_run(self, owner: DataOwner, confirmation_id: str) -> None:
        """Check that the run of a confirmation still exists: its conversation may have been removed.

        Raises:
            ConfirmationNotFoundError: The run is gone.
        """
        one = await self.gate.get_confirmation(owner, confirmation_id)
        if await self._runs.get(owner, one.run) is None:
            raise ConfirmationNotFoundError

    async def _root(self, owner: DataOwner, run: Run) -> Run:
        while run.parent is not None:
            run = await self.get_run(owner, run.parent)
        return run

    async def _before(
        self, owner: DataOwner, agent: str, conversation: str | None
    ) -> Sequence[dict[str, object]]:
        """The earlier exchanges of the conversation for a new run. All of a waiting run is included, because that run is withdrawn."""
        if conversation is None:
            return ()
        withdrawn: Sequence[Step] = ()
        for run in await self._runs.list_runs_awaiting_decision(owner, agent, conversation):
            await self._withdraw(run)
            withdrawn = await self._runs.list_steps(run.id)
        if withdrawn:
            return [
                history.message_to_json(message)
                for message in history.build_message_history(withdrawn, _SUPERSEDED)
            ]
        return list(
            history.exchanges_to_json(await self._runs.list_exchanges(owner, agent, conversation, MEMORY))
        )

    async def _withdraw(self, run: Run) -> None:
        """Withdraw the confirmations that ``run``, or one that it delegated, waits for, and end the run."""
        for call in (await self.load_progress(run)).calls_without_result:
            child = await self._runs.get(run.owner, f"{run.id}.{call.key}")
            if child is not None:
                await self._withdraw(child)
        for confirmation in (await self.gate.latest_confirmation_by_call(run.id)).values():
            if confirmation.state == "pending":
                await self.gate.withdraw(confirmation)
        await self._runs.end_run_awaiting_decision(run, RunOutcome("superseded", "superseded"), self._now())
