"""Confirmations as stored: a person's approval of one tool call that changes something.

Each confirmation is decided once, and its call executed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.access import DataOwner

from .canonical import to_canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.ledger.audit import Kind

    from .tools import Risk

State = Literal["pending", "executing", "done", "rejected", "expired", "superseded", "unknown"]
"""``unknown``: the process that executed the call ended before it recorded the result; a person decides."""
OPEN: Final[frozenset[State]] = frozenset({"pending", "executing", "unknown"})
LIFETIME: Final = 600_000_000
"""Microseconds that a person has to decide: ten minutes."""


class Confirmation(NamedTuple):
    """A tool call that changes something, with the person's decision and the tool's result.

    A call whose policy is ``allow`` is recorded in the same form, without a decision. Times are microseconds
    since 1970 (UTC).

    Attributes:
        id: The id: 128 random bits. The tool receives it as the idempotency key.
        run: The id of the run that made the call.
        call: The key of the call in its run.
        number: How often the confirmation of this call was renewed, because the tool had changed or an
            approval was refused.
        title: The tool's name for people.
        definition: The hash of the tool's definition when the confirmation was created.
        terms: The tool's risk and policy when the confirmation was created, such as ``write/ask``.
        arguments: The arguments as canonical JSON. The tool is executed with exactly these.
        digest: The hash or MAC of everything that the person approves. An approval must contain it.
            See `encode_for_digest` and `DigestSigner`.
        decided_by: The id of the user who decided; None before the decision, or if no decision is needed.
        reason: The reason that the person gave for rejecting the call.
        edited_from: The former digest, if a person changed the arguments; else None.
        leased_until: The deadline by which the result must be recorded. Later, the result counts as unknown.
        status: Whether the call succeeded, or how it failed; None before.
        outcome: The result, as the model receives it; None before.
    """

    id: str
    tenant_id: str
    user_id: str
    agent: str
    run: str
    call: str
    number: int
    tool: str
    title: str
    risk: Risk
    definition: str
    terms: str
    arguments: str
    digest: str
    asked_at: int
    expires_at: int
    state: State = "pending"
    decided_by: str | None = None
    decided_at: int | None = None
    reason: str | None = None
    edited_from: str | None = None
    leased_until: int | None = None
    status: str | None = None
    outcome: str | None = None

    @property
    def owner(self) -> DataOwner:
        """The user for whom the run made the call."""
        return DataOwner(self.user_id, self.tenant_id)

    def audit_fields(self) -> dict[str, Any]:
        """Return the fields to record in the audit trail. They contain the digest instead of the arguments."""
        facts = ("run", "call", "tool", "digest")
        return {**{name: getattr(self, name) for name in facts}, "owner": self.user_id}

    def state_at(self, now: int) -> State:
        """Return the state at the time ``now``, in microseconds since 1970.

        The stored ``state`` may be outdated: a background task records a passed deadline only some time later.
        """
        if self.state == "pending" and self.expires_at <= now:
            return "expired"
        is_left = self.state == "executing" and (self.leased_until or 0) <= now
        return "unknown" if is_left else self.state

    def encode_for_digest(self, arguments: str) -> bytes:
        """Serialize this confirmation, with ``arguments`` in place of its own, to the bytes that the digest is made of.

        They include the owner, the run, the tool and the deadline, so a digest is valid for one confirmation
        only.
        """
        bound = (*self[:12], arguments, self.asked_at, self.expires_at)
        return to_canonical_json((2, *bound)).encode()


class StateChange(NamedTuple):
    """A change of a confirmation's state, and the conditions under which the store makes it (compare-and-set).

    If a condition does not hold, nothing is changed.

    Attributes:
        source: The state that the confirmation must have.
        target: The new state.
        at: The time of the change, in microseconds since 1970 (UTC).
        kind: The kind of the audit entry.
        actor: Who makes the change, for the audit entry.
        values: Other fields to set, by name.
        equal: Fields that must have the given values, by name.
        before: A time field of the confirmation: ``at`` must be earlier than its value. None: no condition.
        after: A time field of the confirmation: ``at`` must not be earlier. None: no condition.
        details: Further facts for the audit entry.
    """

    source: State
    target: State
    at: int
    kind: Kind
    actor: str
    values: Mapping[str, Any] = {}
    equal: Mapping[str, str | int] = {}
    before: Literal["expires_at"] | None = None
    after: Literal["expires_at", "leased_until"] | None = None
    details: Mapping[str, Any] = {}


class ConfirmationStore(Protocol):
    """Stores confirmations, and writes an audit entry for each change.

    A user's confirmation is never returned to another user. A change is one conditional write: if several
    processes try to make the same change, exactly one succeeds.

    Raises:
        ConfirmationsUnreachableError: The store cannot be read or written now. A database may raise its own
            error instead.
    """

    async def add(self, confirmation: Confirmation) -> bool:
        """Store a new confirmation.

        Returns:
            False if the run already has a confirmation with the same call and number; nothing is stored then.
        """
        ...

    async def get(self, owner: DataOwner, confirmation_id: str) -> Confirmation | None:
        """Return the confirmation with this id; None if it does not exist or belongs to another user."""
        ...

    async def record_denied_access(self, owner: DataOwner, confirmation_id: str, now: int) -> None:
        """Record in the audit trail that ``owner`` tried to read another user's confirmation. Ignores unknown ids."""
        ...

    async def apply_change(
        self, owner: DataOwner, confirmation_id: str, change: StateChange
    ) -> Confirmation | None:
        """Make ``change`` if all of its conditions hold.

        Returns:
            The changed confirmation; None if a condition does not hold.
        """
        ...

    async def list_for_run(self, run_id: str) -> Sequence[Confirmation]:
        """Return all confirmations of a run, the oldest first."""
        ...

    async def list_open(self, owner: DataOwner, limit: int) -> Sequence[Confirmation]:
        """Return at most ``limit`` open confirmations of ``owner``, the newest first.

        A confirmation is open if it is pending, executing or unknown.
        """
        ...

    async def list_overdue(self, now: int, limit: int) -> Sequence[Confirmation]:
        """Return at most ``limit`` confirmations of all users whose deadline has passed at the time ``now``.

        A pending confirmation is overdue if it has expired; an executing confirmation if the result of its call
        was not recorded in time. ``now`` is in microseconds since 1970 (UTC).
        """
        ...
