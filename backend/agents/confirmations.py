"""Confirmations as they are kept: one for each call that changes something, answered once, and run once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.access import Owner

from .canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.ledger.audit import Kind

    from .tools import Risk

State = Literal["pending", "executing", "done", "rejected", "expired", "superseded", "unknown"]
"""``unknown``: whoever ran it has ended, and did not say what came of it. A person decides."""
OPEN: Final[frozenset[State]] = frozenset({"pending", "executing", "unknown"})
LIFETIME: Final = 600_000_000
"""Microseconds that a person has to answer: ten minutes."""


class Confirmation(NamedTuple):
    """A call that is, or was, to be confirmed. Times are microseconds since 1970 (UTC).

    Attributes:
        id: 128 random bits. It is the key by which the tool knows the call again.
        run: The run that wants it, and ``call`` its key there.
        number: Counts how often the same call was asked for, from 0: anew when the tool has changed.
        title: What people call the tool.
        definition: Of the tool, and ``terms``: its risk and its policy, when it was asked for.
        arguments: Canonical JSON. This, and nothing else, is what runs.
        digest: The seal of everything above, and of the arguments: what a yes has to name.
        decided_by: Who decided; of what nobody had to be asked for, None.
        reason: Why it was rejected, in the person's words.
        edited_from: The digest before a person changed the arguments.
        leased_until: Until when whoever runs it has time to say what came of it.
        status: What came of it, and ``outcome`` what the model is told.
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
        """Whose it is."""
        return Owner(self.user_id, self.tenant_id)

    def audited(self) -> dict[str, Any]:
        """What the audit trail is told of it: its arguments by their digest alone."""
        facts = ("run", "call", "tool", "digest")
        return {**{name: getattr(self, name) for name in facts}, "owner": self.user_id}

    def shown_state(self, now: int) -> State:
        """Its state as of now, also where nobody has noted it yet."""
        if self.state == "pending" and self.expires_at <= now:
            return "expired"
        is_left = self.state == "executing" and (self.leased_until or 0) <= now
        return "unknown" if is_left else self.state

    def sealed(self, arguments: str) -> bytes:
        """What is sealed if the arguments are these: for whom, of which run, which tool, by when."""
        bound = (*self[:12], arguments, self.asked_at, self.expires_at)
        return canonical((2, *bound)).encode()


class Change(NamedTuple):
    """From one state to another, if all that is said holds; else nothing is changed.

    Attributes:
        source: The state that it is in.
        values: What else changes.
        equal: What has to be as said.
        before: The name of a time that has to come yet.
        after: The name of a time that has to be over.
        kind: What the audit trail calls it, and ``actor`` who did it, with ``details``.
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
    """Keeps confirmations, and an entry of the audit trail with each change. Nobody is ever given another user's.

    A change is one conditional write, so of any number of processes that want the same one, one makes it.

    Raises:
        ConfirmationsAwayError: Or whatever the database raises, if nothing can be read or written now.
    """

    async def add(self, one: Confirmation) -> bool:
        """Keep a new one; False if the run has one of that call and number."""
        ...

    async def get(self, owner: Owner, confirmation_id: str) -> Confirmation | None:
        """The confirmation, if there is one of that id and it is this owner's."""
        ...

    async def deny(self, owner: Owner, confirmation_id: str, now: int) -> None:
        """Note in the audit trail that ``owner`` asked for it, if there is one of that id, which is another's then."""
        ...

    async def change(self, owner: Owner, confirmation_id: str, change: Change) -> Confirmation | None:
        """Make ``change``, and return what it came to; None if something that it wants does not hold."""
        ...

    async def of_run(self, run_id: str) -> Sequence[Confirmation]:
        """All of a run, in the order in which they were asked for."""
        ...

    async def open(self, owner: Owner, limit: int) -> Sequence[Confirmation]:
        """Those that are open, the newest first."""
        ...

    async def due(self, now: int, limit: int) -> Sequence[Confirmation]:
        """Those of anybody whose time is over: pending ones that expired, executing ones whose lease is over."""
        ...
