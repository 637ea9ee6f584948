"""Confirmations as stored: a person's approval of one tool call that changes something.

Each confirmation is decided once, and its call executed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.access import Owner

from .canonical import canonical

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
    """A tool call that a person has to approve, or that was recorded because it changes something, with its result.

    Times are microseconds since 1970 (UTC).

    Attributes:
        id: 128 random bits. Also the idempotency key that the tool is given.
        run: The id of the run that made the call.
        call: The call's key in the run.
        number: From 0, counts the confirmations of the same call: a changed tool, or a refused approval, needs another.
        title: The tool's name, as people are shown it.
        definition: The hash of the tool's definition when the confirmation was created.
        terms: The tool's risk and policy when the confirmation was created.
        arguments: The arguments of the call, as canonical JSON. Exactly these are executed.
        digest: A hash over the fields above, `asked_at` and `expires_at`, which an approval has to name (see `Seals`).
        decided_by: The id of the user who decided; None before, or if nobody has to.
        reason: Why the call was rejected, in the person's words.
        edited_from: The digest before a person changed the arguments; None if nobody did.
        leased_until: The deadline for recording the result, after which the result counts as unknown.
        status: The status of the result.
        outcome: The result, as the model is told it.
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
    def owner(self) -> Owner:
        """The user whose run made the call."""
        return Owner(self.user_id, self.tenant_id)

    def audited(self) -> dict[str, Any]:
        """The fields to record in the audit trail, with a digest in place of the arguments."""
        facts = ("run", "call", "tool", "digest")
        return {**{name: getattr(self, name) for name in facts}, "owner": self.user_id}

    def shown_state(self, now: int) -> State:
        """The state at ``now`` (microseconds since 1970), as people are shown it.

        Unlike ``state``, it is right before a background task has recorded that a deadline has passed.
        """
        if self.state == "pending" and self.expires_at <= now:
            return "expired"
        is_left = self.state == "executing" and (self.leased_until or 0) <= now
        return "unknown" if is_left else self.state

    def sealed(self, arguments: str) -> bytes:
        """The bytes to hash for the ``digest`` of this confirmation with these ``arguments``.

        They include the owner, the run, the tool and the deadline.
        """
        bound = (*self[:12], arguments, self.asked_at, self.expires_at)
        return canonical((2, *bound)).encode()


class Change(NamedTuple):
    """A change of a confirmation's state that a store makes only if all conditions hold (compare-and-set).

    Attributes:
        source: The state that the confirmation must be in.
        target: The state that it gets.
        at: The time of the change, in microseconds since 1970 (UTC).
        kind: The kind of the audit entry.
        actor: Who made the change, for the audit entry.
        values: The other fields to set.
        equal: Fields that must have these values.
        before: The name of a time field that must be later than ``at``; None for no such condition.
        after: The name of a time field that must not be later than ``at``; None for no such condition.
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
    """Stores confirmations, with an audit entry for each change. An owner is never given another's.

    A change is one conditional write: if several processes attempt the same change, exactly one succeeds.

    Raises:
        ConfirmationsAwayError: The store cannot be read or written now. A database may raise its own error.
    """

    async def add(self, one: Confirmation) -> bool:
        """Store a new confirmation; False if the run already has a confirmation with the same call and number."""
        ...

    async def get(self, owner: Owner, confirmation_id: str) -> Confirmation | None:
        """The confirmation with the given id; None if there is none, or if it is another owner's."""
        ...

    async def deny(self, owner: Owner, confirmation_id: str, now: int) -> None:
        """Record in the audit trail that ``owner`` tried to read another owner's confirmation; nothing if the id is unknown."""
        ...

    async def change(self, owner: Owner, confirmation_id: str, change: Change) -> Confirmation | None:
        """Make ``change`` if all of its conditions hold, and return the changed confirmation; None if one does not hold."""
        ...

    async def of_run(self, run_id: str) -> Sequence[Confirmation]:
        """All confirmations of a run, in the order in which they were created."""
        ...

    async def open(self, owner: Owner, limit: int) -> Sequence[Confirmation]:
        """At most ``limit`` confirmations of ``owner`` in a state of `OPEN` (pending, executing or unknown), the newest first."""
        ...

    async def due(self, now: int, limit: int) -> Sequence[Confirmation]:
        """At most ``limit`` confirmations, of all owners, whose deadline has passed at ``now``.

        Each is pending and expired, or executing and without a result in time. Times are microseconds since 1970 (UTC).
        """
        ...
