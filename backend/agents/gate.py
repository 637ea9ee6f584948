"""Records each tool call that changes something, has it approved if necessary, and executes it only once."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from backend.ledger.audit import SYSTEM

from .confirmations import LIFETIME, OPEN, Confirmation, StateChange
from .errors import (
    AlreadyDecidedError,
    ConfirmationChangedError,
    ConfirmationExpiredError,
    ConfirmationNotFoundError,
    ConfirmationRevokedError,
    ConfirmationStaleError,
    InvalidEditedArgumentsError,
    UnknownAgentError,
    UnknownOutcomeError,
)
from .observations import (
    ToolObservation,
    make_error_observation,
    make_timeout_observation,
    observation_from_exception,
    observation_from_result,
)
from .seals import PlainHashSigner
from .tools import Execution, InvalidArgumentsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from backend.access import DataOwner
    from backend.ledger.audit import Kind

    from .agent import Agents
    from .confirmations import ConfirmationStore, State
    from .runs import Run
    from .seals import DigestSigner
    from .steps import JudgedToolCall
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


class CallAuthorizer(Protocol):
    """A function of the application that can still forbid an approved call, just before it is executed."""

    async def __call__(self, confirmation: Confirmation, /) -> str | None:
        """Return why ``confirmation`` may not be executed, as a sentence; None if it may be executed."""
        ...


class ApprovalDecision(NamedTuple):
    """A person's approval of a confirmation.

    Attributes:
        owner: The authenticated user who approves.
        confirmation: The id of the confirmation.
        digest: The digest that the person was shown together with the arguments.
        again: Whether to execute the call even if it may have been executed before.
        arguments: Arguments to execute instead of the model's; None to keep the model's.
    """

    owner: DataOwner
    confirmation: str
    digest: str
    again: bool = False
    arguments: Mapping[str, Any] | None = None


async def _allowed(_: Confirmation) -> str | None:
    return None


def current_unix_microseconds() -> int:
    """Return the current time, in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000


class ConfirmationGate:
    """Executes each tool call that changes something only once, and after approval if its policy requires it.

    Args:
        store: Stores the confirmations.
        agents: The agents whose tools may be called.
        authorize: Checks, just before an approved call is executed, whether it is still allowed; by default,
            each is. Calls that need no approval are not checked.
        seals: Computes and verifies the digests of confirmations, to detect a forged row in the store; None
            for hashes without a key.
        now: The wall clock, in microseconds since 1970.
    """

    def __init__(
        self,
        store: ConfirmationStore,
        agents: Agents,
        *,
        authorize: CallAuthorizer = _allowed,
        seals: DigestSigner | None = None,
        now: Callable[[], int] = current_unix_microseconds,
    ) -> None:
        self._store = store
        self._agents = agents
        self._authorize = authorize
        self._seals = seals or PlainHashSigner()
        self._now = now
        self._running: set[asyncio.Task[Any]] = set()

    # Asking --------------------------------------------------------------------------------------------------------

    async def request_confirmation(self, run: Run, call: JudgedToolCall, tool: Tool) -> Confirmation | None:
        """Store a pending confirmation for ``call``, on which a person can then decide. Nothing is executed.

        Returns:
            The new confirmation, or the existing one of the same call; None if the user has too many open
            confirmations.
        """
        if len(await self._store.list_open(run.owner, MOST_PENDING)) >= MOST_PENDING:
            return None
        return await self._added(self._confirmation(run, call, tool))

    async def record_auto_approved_call(
        self, run: Run, call: JudgedToolCall, tool: Tool
    ) -> Confirmation | None:
        """Store a record of a call that its tool's policy allows without approval, before the call is executed.

        Returns:
            The record, to pass to `start_claimed_call`; None if the call was recorded before and must not be
            executed again.
        """
        one = self._confirmation(run, call, tool)
        one = one._replace(state="executing", leased_until=self._lease(tool))
        return one if await self._store.add(one) else None

    async def latest_confirmation_by_call(self, run_id: str) -> dict[str, Confirmation]:
        """Return the latest confirmation of each tool call of a run, as a dict from the call's key."""
        found = await self._store.list_for_run(run_id)
        return {
            confirmation.call: confirmation
            for confirmation in sorted(found, key=lambda confirmation: confirmation.number)
        }

    async def list_pending_confirmations(self, owner: DataOwner, limit: int = 50) -> Sequence[Confirmation]:
        """Return at most ``limit`` confirmations on which ``owner`` can decide now, the newest first.

        Each is pending, or its call was begun and has an unknown result.
        """
        now = self._now()
        shown = [
            confirmation._replace(state=confirmation.state_at(now))
            for confirmation in await self._store.list_open(owner, limit)
        ]
        return [confirmation for confirmation in shown if confirmation.state in ("pending", "unknown")]

    async def get_confirmation(self, owner: DataOwner, confirmation_id: str) -> Confirmation:
        """Return the confirmation with this id, with its state as of now, even if a deadline has just passed.

        Raises:
            ConfirmationNotFoundError: The confirmation does not exist, or belongs to another user. In the second
                case, the audit trail records the attempt.
        """
        one = await self._store.get(owner, confirmation_id)
        if one is None:
            await self._store.record_denied_access(owner, confirmation_id, self._now())
            raise ConfirmationNotFoundError
        return one._replace(state=one.state_at(self._now()))

    # Deciding ------------------------------------------------------------------------------------------------------

    async def claim_confirmation(self, decision: ApprovalDecision) -> tuple[Confirmation, Tool]:
        """Mark a confirmation as approved and executing, so that no other process executes its call.

        The caller must then execute the call with `start_claimed_call`.

        Returns:
            The claimed confirmation, and its tool.

        Raises:
            ConfirmationError: The approval is not valid; the error's type says why.
        """
        one = await self.get_confirmation(decision.owner, decision.confirmation)
        self._check_answerable(one, decision)
        tool = await self._authorized(one)
        if (tool.definition_hash, tool.risk_and_policy) != (one.definition, one.terms):
            raise ConfirmationStaleError(await self._asked_anew(one, tool))
        arguments = self._arguments(one, tool, decision)
        if one.state == "unknown":
            await self._note_unknown(one)
        claimed = await self._store.apply_change(
            decision.owner, one.id, self._claim(one, tool, decision, arguments)
        )
        if claimed is None:
            raise await self._refusal(decision)
        return claimed, tool

    async def approve(self, decision: ApprovalDecision) -> tuple[Confirmation, asyncio.Future[Confirmation]]:
        """Claim an approved confirmation, and start its call. Neither is undone or stopped if the caller is cancelled.

        Returns:
            The claimed confirmation, and a future of the confirmation with the result of the call.

        Raises:
            ConfirmationError: The approval is not valid, as in `claim_confirmation`.
        """
        return await asyncio.shield(self._kept(self._approve(decision)))

    async def _approve(self, decision: ApprovalDecision) -> tuple[Confirmation, asyncio.Future[Confirmation]]:
        claimed, tool = await self.claim_confirmation(decision)
        return claimed, self.start_claimed_call(claimed, tool)

    def start_claimed_call(self, claimed: Confirmation, tool: Tool) -> asyncio.Future[Confirmation]:
        """Start the tool call of a claimed confirmation.

        Even if the caller is cancelled, the call runs to its end, and its result is stored.

        Returns:
            A future of the confirmation with the stored result.
        """
        return asyncio.shield(self._kept(self._execute(claimed, tool)))

    async def reject(self, owner: DataOwner, confirmation_id: str, reason: str = "") -> Confirmation:
        """Reject a confirmation, which is pending or whose result is unknown, so that its call is not executed.

        Raises:
            ConfirmationError: The confirmation can no longer be rejected.
        """
        one = await self.get_confirmation(owner, confirmation_id)
        if one.state == "expired":
            await self.mark_expired(one)
        if one.state not in ("pending", "unknown"):
            raise make_decided_or_expired_error(one.state)
        if one.state == "unknown":
            await self._note_unknown(one)
        now = self._now()
        values = {"decided_by": owner.user_id, "decided_at": now, "reason": reason[:LONGEST_REASON]}
        change = StateChange(one.state, "rejected", now, "agent.rejected", owner.user_id, values)
        if one.state == "pending":
            change = change._replace(before="expires_at")
        rejected = await self._store.apply_change(owner, one.id, change)
        if rejected is None:
            raise make_decided_or_expired_error((await self.get_confirmation(owner, confirmation_id)).state)
        return rejected

    async def reissue_confirmation(self, confirmation: Confirmation, refused_digest: str) -> Confirmation:
        """After a refused approval, return the latest confirmation of the call, so that it can be shown again.

        If that confirmation is open and has ``refused_digest``, it gets a new digest, so that the refused
        approval can never become valid. A forged digest is kept, so that it remains invalid.

        Args:
            confirmation: Any confirmation of the call.
            refused_digest: The digest in the refused approval.
        """
        confirmation = (await self.latest_confirmation_by_call(confirmation.run))[confirmation.call]
        if refused_digest != confirmation.digest or confirmation.state not in OPEN:
            return confirmation
        new = confirmation._replace(number=confirmation.number + 1)
        if self._seals.verify(confirmation.digest, confirmation.encode_for_digest(confirmation.arguments)):
            new = self._sealed(new, new.arguments)
        values = {"number": new.number, "digest": new.digest}
        change = StateChange(
            confirmation.state, confirmation.state, self._now(), "agent.asked", confirmation.user_id, values
        )
        changed = await self._store.apply_change(
            confirmation.owner, confirmation.id, change._replace(equal={"digest": confirmation.digest})
        )
        return changed or (await self.latest_confirmation_by_call(confirmation.run))[confirmation.call]

    async def withdraw(self, confirmation: Confirmation) -> bool:
        """Withdraw a pending confirmation that its run no longer needs; False if it was decided in the meantime."""
        return await self._closed_as(confirmation, "pending", "superseded")

    async def mark_expired(self, confirmation: Confirmation) -> bool:
        """Mark a pending confirmation as expired; False if it was decided meanwhile or is not yet overdue."""
        change = StateChange("pending", "expired", self._now(), "agent.expired", SYSTEM)
        return (
            await self._store.apply_change(
                confirmation.owner, confirmation.id, change._replace(after="expires_at")
            )
            is not None
        )

    async def mark_overdue_confirmations(self) -> Sequence[Confirmation]:
        """Mark overdue confirmations of all users: pending ones as expired, executing ones as unknown.

        Returns:
            The expired confirmations. The caller must end the runs that wait for them.
        """
        now, expired = self._now(), []
        for confirmation in await self._store.list_overdue(now, _DUE):
            if confirmation.state == "executing":
                await self._note_unknown(confirmation)
            elif await self.mark_expired(confirmation):
                expired.append(confirmation)
        return expired

    async def wait_for_running_calls(self, seconds: float) -> None:
        """At shutdown, wait at most ``seconds`` until the running tool calls have ended.

        If a call is still running then, its result stays unknown.
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

    def _confirmation(self, run: Run, call: JudgedToolCall, tool: Tool) -> Confirmation:
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
        return one._replace(digest=self._seals.sign(one.encode_for_digest(arguments)))

    async def _added(self, one: Confirmation) -> Confirmation | None:
        if await self._store.add(one):
            return one
        return (await self.latest_confirmation_by_call(one.run)).get(one.call)

    def _lease(self, tool: Tool) -> int:
        return self._now() + int(tool.seconds * _SECOND) + GRACE

    def _check_answerable(self, one: Confirmation, decision: ApprovalDecision) -> None:
        if one.state == "unknown" and not decision.again:
            raise UnknownOutcomeError
        if one.state not in ("pending", "unknown"):
            raise make_decided_or_expired_error(one.state)
        verified = self._seals.verify(one.digest, one.encode_for_digest(one.arguments))
        if not verified:
            fault = "agents.confirmation_key_missing" if verified is None else "agents.confirmation_forged"
            log.error("%s id=%s run=%s", fault, one.id, one.run)
            raise ConfirmationChangedError
        if decision.digest != one.digest:
            raise ConfirmationChangedError

    async def _authorized(self, one: Confirmation) -> Tool:
        """The tool in the agent's present definition."""
        try:
            tool = self._agents[one.agent].find_tool(one.tool)
        except UnknownAgentError:
            tool = None
        if tool is None or tool.policy == "deny":
            raise ConfirmationRevokedError("the agent may not use this tool any more.")
        if (why := await self._authorize(one)) is not None:
            raise ConfirmationRevokedError(why)
        return tool

    def _arguments(self, one: Confirmation, tool: Tool, decision: ApprovalDecision) -> str:
        try:
            return (
                one.arguments if decision.arguments is None else tool.validate_arguments(decision.arguments)
            )
        except InvalidArgumentsError as error:
            raise InvalidEditedArgumentsError(str(error)) from None

    def _claim(
        self, one: Confirmation, tool: Tool, decision: ApprovalDecision, arguments: str
    ) -> StateChange:
        is_edited, who, now = arguments != one.arguments, decision.owner.user_id, self._now()
        digest = self._seals.sign(one.encode_for_digest(arguments)) if is_edited else one.digest
        values = {
            "decided_by": who,
            "decided_at": now,
            "leased_until": self._lease(tool),
            "arguments": arguments,
            "digest": digest,
            "edited_from": one.digest if is_edited else one.edited_from,
        }
        kind: Kind = "agent.edited" if is_edited else "agent.approved"
        change = StateChange("pending", "executing", now, kind, who, values, _bound(one), "expires_at")
        if one.state == "unknown":
            return change._replace(source="unknown", before=None, details={"again": True})
        return change

    async def _refusal(self, decision: ApprovalDecision) -> Exception:
        """Why the confirmation could not be claimed: it was decided before, has expired, or was changed."""
        one = await self.get_confirmation(decision.owner, decision.confirmation)
        if one.state in ("pending", "unknown"):
            return ConfirmationChangedError()
        return make_decided_or_expired_error(one.state)

    async def _execute(self, one: Confirmation, tool: Tool) -> Confirmation:
        observation = await call_tool(tool, json.loads(one.arguments), _execution(one))
        # A tool that changes something and did not answer in time may have done it.
        target: State = "unknown" if observation.status == "timed_out" else "done"
        values = {"status": observation.status, "outcome": observation.content}
        kind: Kind = "agent.unknown" if target == "unknown" else "agent.executed"
        # Somebody may have had it run again meanwhile: that is settled by whoever runs it.
        mine, details = {"leased_until": one.leased_until or 0}, {"status": observation.status}
        change = StateChange("executing", target, self._now(), kind, SYSTEM, values, mine, details=details)
        return await self._settled(one, change)

    async def _settled(self, one: Confirmation, change: StateChange) -> Confirmation:
        settled = await self._store.apply_change(one.owner, one.id, change)
        if settled is not None:
            return settled
        # It took longer than its lease, and somebody noted that. That it is done is known now.
        late = await self._store.apply_change(one.owner, one.id, change._replace(source="unknown"))
        return late or await self.get_confirmation(one.owner, one.id)

    async def _note_unknown(self, one: Confirmation) -> None:
        change = StateChange("executing", "unknown", self._now(), "agent.unknown", SYSTEM)
        await self._store.apply_change(one.owner, one.id, change._replace(after="leased_until"))

    async def _closed_as(self, one: Confirmation, source: State, target: State) -> bool:
        change = StateChange(source, target, self._now(), "agent.superseded", SYSTEM)
        return await self._store.apply_change(one.owner, one.id, change) is not None

    async def _asked_anew(self, one: Confirmation, tool: Tool) -> str | None:
        """Create a confirmation of the same call with the tool's present definition, and return its id; None if the tool no longer accepts the arguments."""
        if one.state != "pending" or not await self.withdraw(one):
            return None
        try:
            arguments = tool.validate_arguments(json.loads(one.arguments))
        except InvalidArgumentsError:
            return None
        now = self._now()
        new = one._replace(
            id=secrets.token_hex(16),
            number=one.number + 1,
            title=tool.title or tool.name,
            risk=tool.risk,
            definition=tool.definition_hash,
            terms=tool.risk_and_policy,
            arguments=arguments,
            asked_at=now,
            expires_at=now + LIFETIME,
        )
        new = self._sealed(new, arguments)
        return new.id if await self._store.add(new) else None


async def call_tool(tool: Tool, arguments: dict[str, Any], execution: Execution) -> ToolObservation:
    """Call ``tool`` within its time limit, and convert the result for the model.

    An exception of the tool is not raised: it is returned as a result with the status ``error`` or
    ``timed_out``.
    """
    limit = asyncio.timeout(tool.seconds)
    try:
        async with limit:
            return observation_from_result(await tool.run(arguments, execution))
    except TimeoutError as error:
        if limit.expired():
            return make_timeout_observation(tool.seconds)
        return _failed(tool, execution, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the model is told
        return _failed(tool, execution, error)


def observation_from_confirmation(confirmation: Confirmation) -> ToolObservation | None:
    """Convert the result, rejection or expiry of a confirmation to the result that the model is told.

    Returns:
        The converted result; None while the confirmation has no result.
    """
    match confirmation.state:
        case "done":
            return ToolObservation(confirmation.status or "ok", confirmation.outcome or "")  # type: ignore[arg-type] # as it was kept
        case "rejected" if confirmation.leased_until:
            return make_error_observation(
                "Unknown",
                f"It may have been done: nobody knows. Do not try again. {_reason(confirmation)}",
                "unknown",
            )
        case "rejected":
            return make_error_observation(
                "Declined",
                f"The user declined this. Do not try again unless asked to. {_reason(confirmation)}",
                "declined",
            )
        case "expired":
            return make_error_observation(
                "Expired", "Nobody confirmed this in time. It was not done.", "expired"
            )
        case "superseded":
            return make_error_observation(
                "Superseded", "This was not done: the user said something else instead.", "superseded"
            )
        case _:
            return None


def _reason(one: Confirmation) -> str:
    return f"They said: {one.reason}" if one.reason else ""


def _failed(tool: Tool, execution: Execution, error: Exception | SystemExit) -> ToolObservation:
    log.warning(
        "agents.tool_failed tool=%s run=%s error=%s", tool.name, execution.run_id, type(error).__name__
    )
    return observation_from_exception(error)


def make_decided_or_expired_error(state: State) -> Exception:
    """Make the error for a decision that comes too late, because the confirmation is decided or expired."""
    return ConfirmationExpiredError() if state == "expired" else AlreadyDecidedError(state)


def _execution(one: Confirmation) -> Execution:
    return Execution(one.user_id, one.tenant_id, one.run, one.id)


def _bound(one: Confirmation) -> dict[str, str]:
    """The fields, besides id and owner, that must be unchanged for a claim."""
    return {"digest": one.digest, "definition": one.definition, "terms": one.terms}
