"""Every tool call that changes something passes the gate: it is recorded, confirmed by a person, and executed once."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from backend.ledger.audit import SYSTEM

from .confirmations import LIFETIME, OPEN, Change, Confirmation
from .errors import (
    AlreadyDecidedError,
    ConfirmationChangedError,
    ConfirmationExpiredError,
    ConfirmationNotFoundError,
    ConfirmationRevokedError,
    ConfirmationStaleError,
    InvalidEditError,
    UnknownAgentError,
    UnknownOutcomeError,
)
from .observations import Observation, of_error, of_fault, of_result, of_time_out
from .seals import Digests
from .tools import ArgumentsError, Execution

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from backend.access import Owner
    from backend.ledger.audit import Kind

    from .agent import Agents
    from .confirmations import ConfirmationStore, State
    from .runs import Run
    from .seals import Seals
    from .steps import Call
    from .tools import Tool

T = TypeVar("T")
log = logging.getLogger(__name__)

MOST_PENDING: Final = 100
"""The most open confirmations of one user; the agent can ask for no more."""
GRACE: Final = 5_000_000
"""Microseconds added to a tool's own time limit before its execution lease ends."""
LONGEST_REASON: Final = 500
"""The most characters of the reason for a rejection."""
_SECOND: Final = 1_000_000
_DUE: Final = 500


class Authorize(Protocol):
    """A function of the application that decides, just before execution, whether a confirmed call is still allowed."""

    async def __call__(self, confirmation: Confirmation, /) -> str | None:
        """Return why ``confirmation`` may not be executed, as a sentence; None if it may be executed."""
        ...


class Decision(NamedTuple):
    """A person's approval of a confirmation.

    Attributes:
        owner: The person who decides, as authenticated.
        confirmation: The id of the confirmation that they were shown.
        digest: The digest of the confirmation that they were shown.
        again: Whether to execute the call even though it may have been executed before.
        arguments: Arguments that replace those of the confirmation; None to keep them.
    """

    owner: Owner
    confirmation: str
    digest: str
    again: bool = False
    arguments: Mapping[str, Any] | None = None


async def _allowed(_: Confirmation) -> str | None:
    return None


def microseconds() -> int:
    """The current time, in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000


class Gate:
    """Controls every tool call that changes something: creates its confirmation, takes the decision, and executes it once.

    Args:
        store: Stores confirmations.
        agents: The agents whose tools may be called.
        authorize: Called just before a call is executed, to check again that it is allowed; by default, every call is.
        seals: Computes the digests, so that a forged row in the store is detected; by default, plain hashes.
        now: The wall clock, in microseconds since 1970.
    """

    def __init__(
        self,
        store: ConfirmationStore,
        agents: Agents,
        *,
        authorize: Authorize = _allowed,
        seals: Seals | None = None,
        now: Callable[[], int] = microseconds,
    ) -> None:
        self._store = store
        self._agents = agents
        self._authorize = authorize
        self._seals = seals or Digests()
        self._now = now
        self._running: set[asyncio.Task[Any]] = set()

    # Asking --------------------------------------------------------------------------------------------------------

    async def ask(self, run: Run, call: Call, tool: Tool) -> Confirmation | None:
        """Store a pending confirmation of ``call``, so that a person can decide. Nothing is executed.

        Returns:
            The confirmation, an earlier one if the call has one already; None if the user has too many open
            confirmations.
        """
        if len(await self._store.open(run.owner, MOST_PENDING)) >= MOST_PENDING:
            return None
        return await self._added(self._confirmation(run, call, tool))

    async def record(self, run: Run, call: Call, tool: Tool) -> Confirmation | None:
        """Store that ``call``, which changes something but needs no approval, is about to be executed.

        Returns:
            The record, to pass to `execute`; None if the call was recorded before, so that it is never executed twice.
        """
        one = self._confirmation(run, call, tool)
        one = one._replace(state="executing", leased_until=self._lease(tool))
        return one if await self._store.add(one) else None

    async def of_run(self, run_id: str) -> dict[str, Confirmation]:
        """The latest confirmation of each call of a run, by the call's key. Empty if there are none."""
        found = await self._store.of_run(run_id)
        return {one.call: one for one in sorted(found, key=lambda one: one.number)}

    async def pending(self, owner: Owner, limit: int = 50) -> Sequence[Confirmation]:
        """At most ``limit`` confirmations on which ``owner`` can decide now, the newest first.

        Each is pending, or its call has an unknown result.
        """
        now = self._now()
        shown = [one._replace(state=one.shown_state(now)) for one in await self._store.open(owner, limit)]
        return [one for one in shown if one.state in ("pending", "unknown")]

    async def find(self, owner: Owner, confirmation_id: str) -> Confirmation:
        """The confirmation with the given id, in the state that it has now.

        Raises:
            ConfirmationNotFoundError: There is no such confirmation, or it is another user's; the audit trail records
                the latter.
        """
        one = await self._store.get(owner, confirmation_id)
        if one is None:
            await self._store.deny(owner, confirmation_id, self._now())
            raise ConfirmationNotFoundError
        return one._replace(state=one.shown_state(self._now()))

    # Deciding ------------------------------------------------------------------------------------------------------

    async def claim(self, decision: Decision) -> tuple[Confirmation, Tool]:
        """Mark a confirmation as approved and executing, so that no other process executes its call. Then call `execute`.

        Returns:
            The claimed confirmation, and its tool.

        Raises:
            ConfirmationError: The decision is not valid; the error's type says why.
        """
        one = await self.find(decision.owner, decision.confirmation)
        self._check_answerable(one, decision)
        tool = await self._authorized(one)
        if (tool.definition, tool.terms) != (one.definition, one.terms):
            raise ConfirmationStaleError(await self._asked_anew(one, tool))
        arguments = self._arguments(one, tool, decision)
        if one.state == "unknown":
            await self._note_unknown(one)
        claimed = await self._store.change(
            decision.owner, one.id, self._claim(one, tool, decision, arguments)
        )
        if claimed is None:
            raise await self._refusal(decision)
        return claimed, tool

    async def approve(self, decision: Decision) -> tuple[Confirmation, asyncio.Future[Confirmation]]:
        """Claim an approved confirmation and start its call. A cancelled caller does not stop either.

        Returns:
            The claimed confirmation, and a future of the same confirmation with its result.

        Raises:
            ConfirmationError: The claim failed, as in `claim`.
        """
        return await asyncio.shield(self._kept(self._approve(decision)))

    async def _approve(self, decision: Decision) -> tuple[Confirmation, asyncio.Future[Confirmation]]:
        claimed, tool = await self.claim(decision)
        return claimed, self.execute(claimed, tool)

    def execute(self, one: Confirmation, tool: Tool) -> asyncio.Future[Confirmation]:
        """Start a claimed call. It runs, and its result is recorded, even if the caller is cancelled.

        Returns:
            A future of the confirmation with its result.
        """
        return asyncio.shield(self._kept(self._execute(one, tool)))

    async def reject(self, owner: Owner, confirmation_id: str, reason: str = "") -> Confirmation:
        """Reject a confirmation that is pending or whose result is unknown. The call is not executed.

        Raises:
            ConfirmationError: The confirmation can no longer be rejected.
        """
        one = await self.find(owner, confirmation_id)
        if one.state == "expired":
            await self.expire(one)
        if one.state not in ("pending", "unknown"):
            raise not_open_error(one.state)
        if one.state == "unknown":
            await self._note_unknown(one)
        now = self._now()
        values = {"decided_by": owner.user_id, "decided_at": now, "reason": reason[:LONGEST_REASON]}
        change = Change(one.state, "rejected", now, "agent.rejected", owner.user_id, values)
        if one.state == "pending":
            change = change._replace(before="expires_at")
        rejected = await self._store.change(owner, one.id, change)
        if rejected is None:
            raise not_open_error((await self.find(owner, confirmation_id)).state)
        return rejected

    async def ask_again(self, one: Confirmation, digest: str) -> Confirmation:
        """Return the latest confirmation of a call, for the person whose decision on ``one`` was refused.

        If it is open and still has the ``digest`` that the refused decision named, it gets a new digest, so that the
        same
        decision is never valid later. A digest that is not genuine stays so.
        """
        one = (await self.of_run(one.run))[one.call]
        if digest != one.digest or one.state not in OPEN:
            return one
        new = one._replace(number=one.number + 1)
        if self._seals.verifies(one.digest, one.sealed(one.arguments)):
            new = self._sealed(new, new.arguments)
        values = {"number": new.number, "digest": new.digest}
        change = Change(one.state, one.state, self._now(), "agent.asked", one.user_id, values)
        changed = await self._store.change(one.owner, one.id, change._replace(equal={"digest": one.digest}))
        return changed or (await self.of_run(one.run))[one.call]

    async def supersede(self, one: Confirmation) -> bool:
        """Withdraw a pending confirmation, because its run does not wait for it any more; False if it was decided meanwhile."""
        return await self._closed_as(one, "pending", "superseded")

    async def expire(self, one: Confirmation) -> bool:
        """Record that a pending confirmation has passed its deadline; False if it was decided meanwhile."""
        change = Change("pending", "expired", self._now(), "agent.expired", SYSTEM)
        return await self._store.change(one.owner, one.id, change._replace(after="expires_at")) is not None

    async def sweep(self) -> Sequence[Confirmation]:
        """Record the confirmations of all users that have expired, and the results that have become unknown.

        Returns:
            The confirmations that expired, whose runs the caller ends.
        """
        now, expired = self._now(), []
        for one in await self._store.due(now, _DUE):
            if one.state == "executing":
                await self._note_unknown(one)
            elif await self.expire(one):
                expired.append(one)
        return expired

    async def drain(self, seconds: float) -> None:
        """At shutdown, wait at most ``seconds`` for the calls being executed.

        The results of calls that still run then stay unknown.
        """
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    def _kept(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task for ``work``, held until it has ended, so that it is not garbage-collected."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        """Let go of ``task``. Its exception goes to whoever awaits it; asyncio need not report it."""
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    # How -----------------------------------------------------------------------------------------------------------

    def _confirmation(self, run: Run, call: Call, tool: Tool) -> Confirmation:
        now = self._now()
        one = Confirmation(
            id=secrets.token_hex(16),
            tenant_id=run.owner.tenant_id,
            user_id=run.owner.user_id,
            agent=run.agent,
            run=run.id,
            call=call.key,
            number=0,
            tool=tool.name,
            title=tool.title or tool.name,
            risk=tool.risk,
            definition=call.definition,
            terms=call.terms,
            arguments=call.arguments,
            digest="",
            asked_at=now,
            expires_at=now + LIFETIME,
        )
        return self._sealed(one, one.arguments)

    def _sealed(self, one: Confirmation, arguments: str) -> Confirmation:
        return one._replace(digest=self._seals.seal(one.sealed(arguments)))

    async def _added(self, one: Confirmation) -> Confirmation | None:
        if await self._store.add(one):
            return one
        return (await self.of_run(one.run)).get(one.call)

    def _lease(self, tool: Tool) -> int:
        return self._now() + int(tool.seconds * _SECOND) + GRACE

    def _check_answerable(self, one: Confirmation, decision: Decision) -> None:
        if one.state == "unknown" and not decision.again:
            raise UnknownOutcomeError
        if one.state not in ("pending", "unknown"):
            raise not_open_error(one.state)
        verified = self._seals.verifies(one.digest, one.sealed(one.arguments))
        if not verified:
            fault = "agents.confirmation_key_missing" if verified is None else "agents.confirmation_forged"
            log.error("%s id=%s run=%s", fault, one.id, one.run)
            raise ConfirmationChangedError
        if decision.digest != one.digest:
            raise ConfirmationChangedError

    async def _authorized(self, one: Confirmation) -> Tool:
        """The tool in the agent's present definition."""
        try:
            tool = self._agents[one.agent].tool(one.tool)
        except UnknownAgentError:
            tool = None
        if tool is None or tool.policy == "deny":
            raise ConfirmationRevokedError("the agent may not use this tool any more.")
        if (why := await self._authorize(one)) is not None:
            raise ConfirmationRevokedError(why)
        return tool

    def _arguments(self, one: Confirmation, tool: Tool, decision: Decision) -> str:
        try:
            return one.arguments if decision.arguments is None else tool.accepted(decision.arguments)
        except ArgumentsError as error:
            raise InvalidEditError(str(error)) from None

    def _claim(self, one: Confirmation, tool: Tool, decision: Decision, arguments: str) -> Change:
        is_edited, who, now = arguments != one.arguments, decision.owner.user_id, self._now()
        digest = self._seals.seal(one.sealed(arguments)) if is_edited else one.digest
        values = {
            "decided_by": who,
            "decided_at": now,
            "leased_until": self._lease(tool),
            "arguments": arguments,
            "digest": digest,
            "edited_from": one.digest if is_edited else one.edited_from,
        }
        kind: Kind = "agent.edited" if is_edited else "agent.approved"
        change = Change("pending", "executing", now, kind, who, values, _bound(one), "expires_at")
        if one.state == "unknown":
            return change._replace(source="unknown", before=None, details={"again": True})
        return change

    async def _refusal(self, decision: Decision) -> Exception:
        """Why the confirmation could not be claimed: it was decided before, has expired, or was changed."""
        one = await self.find(decision.owner, decision.confirmation)
        if one.state in ("pending", "unknown"):
            return ConfirmationChangedError()
        return not_open_error(one.state)

    async def _execute(self, one: Confirmation, tool: Tool) -> Confirmation:
        observation = await call_tool(tool, json.loads(one.arguments), _execution(one))
        # A tool that changes something and did not answer in time may have done it.
        target: State = "unknown" if observation.status == "timed_out" else "done"
        values = {"status": observation.status, "outcome": observation.content}
        kind: Kind = "agent.unknown" if target == "unknown" else "agent.executed"
        # Somebody may have had it run again meanwhile: that is settled by whoever runs it.
        mine, details = {"leased_until": one.leased_until or 0}, {"status": observation.status}
        change = Change("executing", target, self._now(), kind, SYSTEM, values, mine, details=details)
        return await self._settled(one, change)

    async def _settled(self, one: Confirmation, change: Change) -> Confirmation:
        settled = await self._store.change(one.owner, one.id, change)
        if settled is not None:
            return settled
        # It took longer than its lease, and somebody noted that. That it is done is known now.
        late = await self._store.change(one.owner, one.id, change._replace(source="unknown"))
        return late or await self.find(one.owner, one.id)

    async def _note_unknown(self, one: Confirmation) -> None:
        change = Change("executing", "unknown", self._now(), "agent.unknown", SYSTEM)
        await self._store.change(one.owner, one.id, change._replace(after="leased_until"))

    async def _closed_as(self, one: Confirmation, source: State, target: State) -> bool:
        change = Change(source, target, self._now(), "agent.superseded", SYSTEM)
        return await self._store.change(one.owner, one.id, change) is not None

    async def _asked_anew(self, one: Confirmation, tool: Tool) -> str | None:
        """Create a confirmation of the same call with the tool's present definition, and return its id; None if the tool no longer accepts the arguments."""
        if one.state != "pending" or not await self.supersede(one):
            return None
        try:
            arguments = tool.accepted(json.loads(one.arguments))
        except ArgumentsError:
            return None
        now = self._now()
        new = one._replace(
            id=secrets.token_hex(16),
            number=one.number + 1,
            title=tool.title or tool.name,
            risk=tool.risk,
            definition=tool.definition,
            terms=tool.terms,
            arguments=arguments,
            asked_at=now,
            expires_at=now + LIFETIME,
        )
        new = self._sealed(new, arguments)
        return new.id if await self._store.add(new) else None


async def call_tool(tool: Tool, arguments: dict[str, Any], execution: Execution) -> Observation:
    """Call ``tool`` within its time limit, and return the result for the model.

    An exception of the tool is not raised, but becomes a result with the status ``error`` or ``timed_out``.
    """
    limit = asyncio.timeout(tool.seconds)
    try:
        async with limit:
            return of_result(await tool.run(arguments, execution))
    except TimeoutError as error:
        if limit.expired():
            return of_time_out(tool.seconds)
        return _failed(tool, execution, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the model is told
        return _failed(tool, execution, error)


def observation_of(one: Confirmation) -> Observation | None:
    """Convert the result of a decided confirmation into what the model is told; None while it is not decided."""
    match one.state:
        case "done":
            return Observation(one.status or "ok", one.outcome or "")  # type: ignore[arg-type] # as it was kept
        case "rejected" if one.leased_until:
            return of_fault(
                "Unknown", f"It may have been done: nobody knows. Do not try again. {_reason(one)}", "unknown"
            )
        case "rejected":
            return of_fault(
                "Declined",
                f"The user declined this. Do not try again unless asked to. {_reason(one)}",
                "declined",
            )
        case "expired":
            return of_fault("Expired", "Nobody confirmed this in time. It was not done.", "expired")
        case "superseded":
            return of_fault(
                "Superseded", "This was not done: the user said something else instead.", "superseded"
            )
        case _:
            return None


def _reason(one: Confirmation) -> str:
    return f"They said: {one.reason}" if one.reason else ""


def _failed(tool: Tool, execution: Execution, error: Exception | SystemExit) -> Observation:
    log.warning(
        "agents.tool_failed tool=%s run=%s error=%s", tool.name, execution.run_id, type(error).__name__
    )
    return of_error(error)


def not_open_error(state: State) -> Exception:
    """Make the error to raise for a confirmation that is in ``state``, so that it cannot be decided any more."""
    return ConfirmationExpiredError() if state == "expired" else AlreadyDecidedError(state)


def _execution(one: Confirmation) -> Execution:
    return Execution(one.user_id, one.tenant_id, one.run, one.id)


def _bound(one: Confirmation) -> dict[str, str]:
    """The fields, besides id and owner, that must be unchanged for a claim."""
    return {"digest": one.digest, "definition": one.definition, "terms": one.terms}
