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
from .drive import Drive, Surroundings
from .errors import ConfirmationNotFoundError, RunBusyError, RunNotFoundError, RunOverError, StepTakenError
from .events import ConfirmationChanged, RunEnded
from .gate import microseconds
from .loop import Progress
from .observations import of_fault
from .runs import ENDED, Outcome, Run
from .steps import OpeningStep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from backend.access import Owner

    from .agent import Agents
    from .confirmations import Confirmation
    from .events import Event
    from .gate import Decision, Gate
    from .runs import RunStore
    from .steps import Step

log = logging.getLogger(__name__)

LEASE: Final = 30_000_000
"""Microseconds for which a process holds a run without renewing its lease."""
LONGEST_QUESTION: Final = 16_000
"""The most characters of a user's message to an agent, over HTTP."""
MEMORY: Final = 10
"""How many earlier exchanges of the conversation a new run is told."""
_SUPERSEDED: Final = of_fault(
    "Superseded", "This was not done: the user said something else instead."
).content


class Runner:
    """Runs the agents of an application. All state is in its stores, so any process may continue any run.

    Args:
        agents: The agents of the application.
        models: Returns the chat model of a feature, as `get_llm` does.
        runs: Stores runs.
        gate: Creates confirmations, and executes confirmed calls.
        now: The wall clock, in microseconds since 1970.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self,
        agents: Agents,
        models: Callable[[str], BaseChatModel],
        runs: RunStore,
        gate: Gate,
        *,
        now: Callable[[], int] = microseconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agents = agents
        self.gate = gate
        self._runs = runs
        self._now = now
        self._around = Surroundings(agents, models, runs, gate, now, clock, self._leased)

    async def start(
        self,
        owner: Owner,
        agent: str,
        question: str,
        conversation: str | None = None,
        before: Sequence[BaseMessage] = (),
    ) -> AsyncGenerator[Event, None]:
        """Start a run and yield its events until it ends or waits. Open confirmations of the same conversation are withdrawn.

        Args:
            owner: The user who asks.
            agent: The name of the agent.
            question: The user's message.
            conversation: The id of the conversation; without one, the run has no memory.
            before: Earlier messages, where the client keeps the history itself.

        Raises:
            UnknownAgentError: There is no such agent; raised before the first event.
        """
        budget = self.agents[agent].budget
        remembered = await self._before(owner, agent, conversation)
        told = (*remembered, *map(history.message_to_json, before), history.user_message(question))
        now = self._now()
        run = Run(str(uuid7()), agent, owner, question, budget, now, conversation, updated_at=now)
        run = run._replace(leased_by=secrets.token_hex(8), leased_until=now + LEASE)
        opened = OpeningStep(messages=told)
        await self._runs.begin(run, opened)
        async with aclosing(self._driven(run, self._held(run, [opened]))) as events:
            async for event in events:
                yield event

    async def resume(self, owner: Owner, run_id: str) -> AsyncGenerator[Event, None]:
        """Continue a run whose process ended, or whose model was unavailable, and yield its events.

        Raises:
            RunNotFoundError: There is no run with the given id, or it is another user's.
            RunOverError: The run has ended.
            RunBusyError: Another process is continuing the run.
        """
        run = await self._root(owner, await self.find(owner, run_id))
        if run.state in ENDED:
            raise RunOverError(run.state)
        async with aclosing(self._driven(run)) as events:
            async for event in events:
                yield event

    async def approve(self, decision: Decision) -> AsyncGenerator[Event, None]:
        """Execute the approved call, then continue its run, and yield the events of both.

        Raises:
            ConfirmationError: The call is not executed, and the error's type says why; raised before the first event.
        """
        await self._of_a_run(decision.owner, decision.confirmation)
        claimed, doing = await self.gate.approve(decision)
        yield ConfirmationChanged(claimed)
        yield ConfirmationChanged(await doing)
        async with aclosing(self._continued(decision.owner, claimed)) as events:
            async for event in events:
                yield event

    async def reject(
        self, owner: Owner, confirmation_id: str, reason: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Reject a confirmation, then continue its run, and yield the events of both.

        Raises:
            ConfirmationError: The confirmation can no longer be rejected.
        """
        await self._of_a_run(owner, confirmation_id)
        rejected = await self.gate.reject(owner, confirmation_id, reason)
        yield ConfirmationChanged(rejected)
        async with aclosing(self._continued(owner, rejected)) as events:
            async for event in events:
                yield event

    async def find(self, owner: Owner, run_id: str) -> Run:
        """The run with the given id.

        Raises:
            RunNotFoundError: There is no run with the given id, or it is another user's.
        """
        if (run := await self._runs.get(owner, run_id)) is None:
            raise RunNotFoundError
        return run

    async def progress(self, run: Run) -> Progress:
        """Load the stored steps of a run, and compute its state from them."""
        return Progress.of(run.budget, await self._runs.steps(run.id))

    async def recent(self, owner: Owner, limit: int = 50) -> Sequence[Run]:
        """At most ``limit`` runs of ``owner`` that no other run delegated, the newest first."""
        return await self._runs.recent(owner, limit)

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """Delete a conversation's runs with all their steps. Their pending confirmations can no longer be approved.

        Returns:
            How many runs were deleted.
        """
        for run in await self._runs.awaiting(owner, agent, conversation):
            await self._withdraw(run)
        return await self._runs.forget(owner, agent, conversation)

    async def remove(self, owner: Owner, run_id: str) -> None:
        """Remove a run, the run that delegated it and all that it delegated. Their confirmations can no longer be approved.

        Raises:
            RunNotFoundError: There is no run with the given id, or it is another user's.
        """
        run = await self._root(owner, await self.find(owner, run_id))
        await self._withdraw(run)
        await self._runs.remove(run)

    async def sweep(self) -> None:
        """Record expired confirmations of all users, and end the runs that waited for them. A background task calls it."""
        for one in await self.gate.sweep():
            run = await self._runs.get(one.owner, one.run)
            while run is not None:
                text = (await self.progress(run)).text
                await self._runs.end(run, Outcome("expired", "expired", text), self._now())
                run = await self._runs.get(one.owner, run.parent) if run.parent else None

    async def shown_state(self, run: Run) -> str:
        """The state of a run as people are shown it.

        ``interrupted`` if `resume` can continue it: its process ended, or the decisions that it waited for are made.
        """
        if run.state == "awaiting" and await self._is_decided(run):
            return "interrupted"
        return run.shown_state(self._now())

    # How -----------------------------------------------------------------------------------------------------------

    async def _driven(
        self, run: Run, held: AbstractAsyncContextManager[Drive] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Drive the run until it ends, or waits for a person who has not decided meanwhile.

        Args:
            run: The run.
            held: The same run, if its lease is held already.
        """
        has_begun = False
        while True:
            try:
                async with held or self._leased(run) as drive, aclosing(drive.events()) as events:
                    async for event in events:
                        has_begun = True
                        yield event
            except RunBusyError:
                if not has_begun:
                    raise
                yield await self._stands(await self.find(run.owner, run.id))  # somebody else goes on with it
                return
            if drive.outcome().state != "awaiting" or not await self._is_decided(run):
                return
            held = None

    @asynccontextmanager
    async def _leased(self, run: Run) -> AsyncIterator[Drive]:
        """Lease ``run``, drive it, and record its state at the end."""
        leased = run._replace(leased_by=secrets.token_hex(8))
        if not await self._renew(leased):
            raise RunBusyError
        async with self._held(leased, await self._runs.steps(run.id)) as drive:
            yield drive

    @asynccontextmanager
    async def _held(self, run: Run, steps: Sequence[Step]) -> AsyncIterator[Drive]:
        """Drive ``run``, whose lease is held and which has these ``steps``, and release the lease at the end."""
        drive = Drive(run, steps, self._around)
        renewing = asyncio.create_task(self._renewing(run))
        is_whole = False
        try:
            yield drive
            is_whole = True
        except StepTakenError:
            raise RunBusyError from None
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            await self._let_go(run, drive, is_whole=is_whole)

    async def _let_go(self, run: Run, drive: Drive, *, is_whole: bool) -> None:
        """Store the last steps of ``drive``, and release the lease, even if they cannot be stored.

        Args:
            run: The run.
            drive: The drive of the run.
            is_whole: Whether the drive raised nothing. If it did, its own error is raised instead of one from here.
        """
        try:
            try:
                with suppress(StepTakenError):  # who was cancelled while they wrote may have written
                    await drive.save()
            finally:
                await self._runs.release(run, run.leased_by or "", drive.outcome(), self._now())
        except Exception as error:
            if is_whole:
                raise
            log.warning("agents.run_not_kept run=%s error=%s", run.id, type(error).__name__)

    async def _renew(self, run: Run) -> bool:
        now = self._now()
        return await self._runs.lease(run, run.leased_by or "", now + LEASE, now)

    async def _renewing(self, run: Run) -> None:
        while True:
            await asyncio.sleep(LEASE / 3_000_000)
            try:
                await self._renew(run)
            except Exception as error:  # noqa: BLE001 - the lease decides nothing
                log.warning("agents.lease_not_renewed run=%s error=%s", run.id, type(error).__name__)

    async def _is_decided(self, run: Run) -> bool:
        """Whether no confirmation is open any more that the run, or one that it delegated, waits for."""
        progress = await self.progress(run)
        found = await self.gate.of_run(run.id)
        for call in progress.open_calls:
            child = None
            if call.verdict == "delegate":
                child = await self._runs.get(run.owner, f"{run.id}.{call.key}")
            if child is not None and not await self._is_decided(child):
                return False
            one = found.get(call.key)
            if one is not None and one.shown_state(self._now()) in ("pending", "executing", "unknown"):
                return False
        return True

    async def _continued(self, owner: Owner, one: Confirmation) -> AsyncGenerator[Event, None]:
        """Continue the run after a decision. If the run continues in another process, or has ended, say so."""
        root = await self._root(owner, await self.find(owner, one.run))
        if root.state in ENDED:
            yield await self._stands(root)
            return
        try:
            async with aclosing(self._driven(root)) as events:
                async for event in events:
                    yield event
        except RunBusyError:
            yield await self._stands(await self.find(owner, root.id))

    async def _stands(self, run: Run) -> RunEnded:
        spent = (await self.progress(run)).spent
        return RunEnded(run.id, await self.shown_state(run), run.reason, run.answer or "", spent)

    async def _of_a_run(self, owner: Owner, confirmation_id: str) -> None:
        """Check that the run of a confirmation still exists: its conversation may have been removed.

        Raises:
            ConfirmationNotFoundError: The run is gone.
        """
        one = await self.gate.find(owner, confirmation_id)
        if await self._runs.get(owner, one.run) is None:
            raise ConfirmationNotFoundError

    async def _root(self, owner: Owner, run: Run) -> Run:
        while run.parent is not None:
            run = await self.find(owner, run.parent)
        return run

    async def _before(
        self, owner: Owner, agent: str, conversation: str | None
    ) -> Sequence[dict[str, object]]:
        """The earlier exchanges of the conversation for a new run. All of a waiting run is included, because that run is withdrawn."""
        if conversation is None:
            return ()
        withdrawn: Sequence[Step] = ()
        for run in await self._runs.awaiting(owner, agent, conversation):
            await self._withdraw(run)
            withdrawn = await self._runs.steps(run.id)
        if withdrawn:
            return [history.message_to_json(message) for message in history.messages(withdrawn, _SUPERSEDED)]
        return list(history.exchange_messages(await self._runs.memory(owner, agent, conversation, MEMORY)))

    async def _withdraw(self, run: Run) -> None:
        """Withdraw the confirmations that ``run``, or one that it delegated, waits for, and end the run."""
        for call in (await self.progress(run)).open_calls:
            child = await self._runs.get(run.owner, f"{run.id}.{call.key}")
            if child is not None:
                await self._withdraw(child)
        for one in (await self.gate.of_run(run.id)).values():
            if one.state == "pending":
                await self.gate.supersede(one)
        await self._runs.end(run, Outcome("superseded", "superseded"), self._now())
