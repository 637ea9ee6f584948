"""The audit trail: what persons decided, and what was sent, in chains of hashes that signed heads join.

Each process has a chain of its own, so that no two wait for each other. An entry holds the hash of the one before it; a head
holds the last hash of each chain that has grown, and the hash of the head before it, and is signed. Whoever changes, removes,
inserts or moves a row breaks a link; whoever forges all links behind it has no key for the heads. `Verification` names the
break.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.utils.llm.foreign import label
from backend.utils.llm.secrets import KEY_LIKE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal[
    "override.set",
    "override.replaced",
    "override.reverted",
    "override.expired",
    "key.added",
    "key.used",
    "key.revoked",
    "key.expired",
    "master_key.rotated",
    "token.made",
    "token.revoked",
    "session.revoked",
    "ledger.pruned",
    "ledger.repriced",
    "budget.raised",
    "budget.reset",
    "agent.answered",
    "agent.asked",
    "agent.approved",
    "agent.denied",
    "agent.edited",
    "agent.executed",
    "agent.expired",
    "agent.failed",
    "agent.pruned",
    "agent.recorded",
    "agent.rejected",
    "agent.superseded",
    "agent.tool",
    "agent.unknown",
]
SYSTEM: Final = "system"
"""The actor of what nobody decided: an end that came by itself, the first token."""
ENTRIES: Final = "audit"
ATTEMPTS: Final = "ledger"
START: Final = "0" * 64
"""What the first link of a chain has as the hash before it."""
_VERSION: Final = 1
_encoded = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class Event(NamedTuple):
    """An event for the audit trail.

    Attributes:
        at: When, in microseconds since 1970 (UTC).
        actor: Who did it: a user, whoever sat at the command line, or `SYSTEM`.
        subject: What it was done to, by a name that is no secret.
        details: JSON-ready facts. What looks like a key is hidden.
    """

    at: int
    actor: str
    kind: Kind
    subject: str
    details: Mapping[str, Any] = {}


class Entry(NamedTuple):
    """A link of a chain.

    Attributes:
        writer: Whose chain: a UUIDv7 as 32 hex digits, another one for each process.
        sequence: Its number in the chain, from 1.
        details: As canonical JSON.
        previous: The hash of the link before.
        hash: SHA-256 over all of the above.
    """

    writer: str
    sequence: int
    at: int
    actor: str
    kind: str
    subject: str
    details: str
    previous: str
    hash: str

    @classmethod
    def of(cls, event: Event, writer: str, sequence: int, previous: str) -> Entry:
        """The link that holds ``event``, in text that does nothing where it is shown, without anything like a key."""
        actor, subject = _shown(event.actor), _shown(event.subject)
        details = _encoded(_without_keys(event.details))
        entry = cls(writer, sequence, event.at, actor, event.kind, subject, details, previous, "")
        return entry._replace(hash=entry.digest())

    def digest(self) -> str:
        """The hash that it should have."""
        return sha256(_encoded([_VERSION, *self[:-1]]))

    @property
    def name(self) -> str:
        """The entry as people are told it: its number, its chain, and what it records."""
        return f"entry {self.sequence} of {self.writer} ({self.kind} {self.subject})"


class Tip(NamedTuple):
    """The last link of a chain at some moment.

    Attributes:
        chain: What it holds: `ENTRIES` or `ATTEMPTS`.
        writer: Whose chain it is.
        sequence: Of its last link.
        hash: Of its last link.
    """

    chain: str
    writer: str
    sequence: int
    hash: str


class Head(NamedTuple):
    """A signature over the last links of all chains that had grown since the head before.

    Attributes:
        number: Its place among the heads, from 1, without gaps.
        at: When it was signed, in microseconds since 1970 (UTC).
        tips: The chains' last links, as canonical JSON of `Tip` values in order.
        previous: The hash of the head before.
        key: The name of the master key from which its key is derived.
        hash: SHA-256 over all of the above: who has noted it elsewhere knows all that came before.
        signature: Over ``hash``, in hex.
    """

    number: int
    at: int
    tips: str
    previous: str
    key: str
    hash: str
    signature: str

    @classmethod
    def signed(cls, number: int, at: int, tips: Iterable[Tip], previous: str, by: SigningKey) -> Head:
        """The head over ``tips``, signed ``by`` a key."""
        head = cls(number, at, _encoded(sorted(tips)), previous, by.name, "", "")
        head = head._replace(hash=head.digest())
        return head._replace(signature=by.sign(head.hash.encode()).hex())

    def digest(self) -> str:
        """The hash that it should have."""
        return sha256(_encoded([_VERSION, *self[:5]]))

    def all_tips(self) -> list[Tip]:
        """The ``tips`` as values.

        Raises:
            ValueError: They are none.
        """
        try:
            return [
                Tip(chain, str(writer), int(at), str(last))
                for chain, writer, at, last in json.loads(self.tips)
            ]
        except TypeError as error:
            raise ValueError("no tips") from error


class SigningKey(Protocol):
    """A key that signs heads."""

    @property
    def name(self) -> str:
        """The name of the key, which heads that it signed have."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``."""
        ...


class Verifier(Protocol):
    """Knows the keys that signed heads."""

    def verifies(self, key: str, message: bytes, signature: bytes) -> bool | None:
        """Whether ``signature`` is one of ``message`` by the key of that name; None if that key is gone."""
        ...


class Grown(NamedTuple):
    """The length of a chain as noted beside it, with its last hash, and up to which link heads were signed."""

    sequence: int
    hash: str
    signed: int


def sha256(text: str) -> str:
    """SHA-256 of ``text``, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(text: str) -> str:
    return label(KEY_LIKE.sub("[hidden]", text))


def _without_keys(value: Any) -> Any:
    match value:
        case str():
            return KEY_LIKE.sub("[hidden]", value)
        case dict():
            return {str(name): _without_keys(part) for name, part in value.items()}
        case list() | tuple():
            return [_without_keys(part) for part in value]
        case _:
            return value
