"""Confirmations as stored: one for each tool call that changes something, decided once and executed once."""

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
    """A tool call that needs, or needed, a confirmation. Times are microseconds since 1970 (UTC).

    Attributes:
        id: 128 random bits. Also the idempotency key that the tool is given.
        run: The run that made the call; ``call`` is the call's key in the run.
        number: The number, from 0, of this confirmation of the same call: a changed tool, or a refused approval, needs another.
        title: What people call the tool.
        definition: The tool's definition, and ``terms`` its risk and policy, when the confirmation was created.
        arguments: The arguments of the call, as canonical JSON. Exactly these are executed.
        digest: The seal of all fields above, which an approval has to name.
        decided_by: The user who decided; None if nobody had to.
        reason: Why the call was rejected, in the person's words.
        edited_from: The digest before a person changed the arguments.
        leased_until: When the execution lease ends: the deadline for recording the result.
        status: The status of the result; ``outcome`` is what the model is told.
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
        """The details for the audit trail: the arguments only as their digest."""
        facts = ("run", "call", "tool", "digest")
        return {**{name: getattr(self, name) for name in facts}, "owner": self.user_id}

    def shown_state(self, now: int) -> State:
        """The state at ``now`` (microseconds since 1970), even if an expiry is not recorded yet."""
        if self.state == "pending" and self.expires_at <= now:
            return "expired"
        is_left = self.state == "executing" and (self.leased_until or 0) <= now
        return "unknown" if is_left else self.state

    def sealed(self, arguments: str) -> bytes:
        """The bytes to seal for these ``arguments``: owner, run, tool and deadline included."""
        bound = (*self[:12], arguments, self.asked_at, self.expires_at)
        return canonical((2, *bound)).encode()


class Change(NamedTuple):
    """A conditional change of a confirmation's state: made only if all conditions hold.

    Attributes:
        source: The state that the confirmation must be in.
        values: The other fields to set.
        equal: Fields that must have these values.
        before: The name of a time field that must be in the future.
        after: The name of a time field that must be in the past.
        kind: The kind of the audit entry; ``actor`` is who made the change, with ``details``.
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
        """Store a new confirmation; False if the run already has one of that call and number."""
        ...

    async def get(self, owner: Owner, confirmation_id: str) -> Confirmation | None:
        """The confirmation of that id; None if there is none, or if it is another owner's."""
        ...

    async def deny(self, owner: Owner, confirmation_id: str, now: int) -> None:
        """Record in the audit trail that ``owner`` asked for another owner's confirmation; nothing if the id is unknown."""
        ...

    async def change(self, owner: Owner, confirmation_id: str, change: Change) -> Confirmation | None:
        """Make ``change``, and return the changed confirmation; None if a condition of the change does not hold."""
        ...

    async def of_run(self, run_id: str) -> Sequence[Confirmation]:
        """All confirmations of a run, in the order in which they were created."""
        ...

    async def open(self, owner: Owner, limit: int) -> Sequence[Confirmation]:
        """At most ``limit`` open confirmations of ``owner``, the newest first."""
        ...

    async def due(self, now: int, limit: int) -> Sequence[Confirmation]:
        """At most ``limit`` confirmations of all owners that have expired, or whose execution lease has, at ``now``."""
        ...
