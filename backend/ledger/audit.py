"""The audit trail: people's decisions and the attempts, as hash chains whose last links are signed together in heads.

Each process has a chain of its own, so processes never wait for each other. An entry holds the hash of the previous entry; a
head is signed, and holds the last hash of each chain that has grown, and the hash of the previous head. To change, remove,
insert or move a row breaks a link; to forge all later links as well takes the key that signs heads. `Verification` names the
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
"""The actor of an event that no person caused: an expiry, the first token."""
ENTRIES: Final = "audit"
ATTEMPTS: Final = "ledger"
START: Final = "0" * 64
"""The previous hash of a chain's first link."""
_VERSION: Final = 1
_encoded = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class Event(NamedTuple):
    """An event for the audit trail.

    Attributes:
        at: When the event happened, in microseconds since 1970 (UTC).
        actor: Who caused it: a user, the operator at the command line, or `SYSTEM`.
        subject: What the event is about, by a name that is no secret.
        details: JSON-ready facts. Anything that looks like a key is masked.
    """

    at: int
    actor: str
    kind: Kind
    subject: str
    details: Mapping[str, Any] = {}


class Entry(NamedTuple):
    """One event in the audit trail, as a link of its process's hash chain.

    Attributes:
        writer: The chain's process: a UUIDv7 as 32 hex digits, unique to the process.
        sequence: The number of the link in the chain, from 1.
        details: The event's details as canonical JSON.
        previous: The hash of the previous link.
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
        """Make the next link of a chain from ``event``. Control characters are escaped, and anything like a key is masked."""
        actor, subject = _shown(event.actor), _shown(event.subject)
        details = _encoded(_without_keys(event.details))
        entry = cls(writer, sequence, event.at, actor, event.kind, subject, details, previous, "")
        return entry._replace(hash=entry.digest())

    def digest(self) -> str:
        """Compute the hash from the entry's fields. It differs from ``hash`` if the entry was changed later."""
        return sha256(_encoded([_VERSION, *self[:-1]]))

    @property
    def name(self) -> str:
        """A short text that identifies the entry for people: its number, its chain and its kind."""
        return f"entry {self.sequence} of {self.writer} ({self.kind} {self.subject})"


class ChainTip(NamedTuple):
    """The end of a chain at the time when a head signs it.

    Attributes:
        chain: The kind of chain: `ENTRIES` or `ATTEMPTS`.
        writer: The process whose chain it is.
        sequence: The number of the last link.
        hash: The hash of the last link.
    """

    chain: str
    writer: str
    sequence: int
    hash: str


class Head(NamedTuple):
    """A signature over the last links of all chains that have grown since the previous head.

    Attributes:
        number: The number of the head, from 1, without gaps.
        at: When the head was signed, in microseconds since 1970 (UTC).
        tips: The chains' last links, as canonical JSON of `ChainTip` values in order.
        previous: The hash of the previous head.
        key: The name of the master key from which the signing key is derived.
        hash: SHA-256 over all of the above. A copy kept elsewhere vouches for everything before it.
        signature: The signature of ``hash``, in hex.
    """

    number: int
    at: int
    tips: str
    previous: str
    key: str
    hash: str
    signature: str

    @classmethod
    def signed(cls, number: int, at: int, tips: Iterable[ChainTip], previous: str, by: SigningKey) -> Head:
        """Make the next head over the chains' last links ``tips``, and sign it with the key ``by``."""
        head = cls(number, at, _encoded(sorted(tips)), previous, by.name, "", "")
        head = head._replace(hash=head.digest())
        return head._replace(signature=by.sign(head.hash.encode()).hex())

    def digest(self) -> str:
        """Compute the hash from the head's fields. It differs from ``hash`` if the head was changed later."""
        return sha256(_encoded([_VERSION, *self[:5]]))

    def all_tips(self) -> list[ChainTip]:
        """Parse ``tips``, the JSON text, into values.

        Raises:
            ValueError: ``tips`` are no valid JSON of tips.
        """
        try:
            return [
                ChainTip(chain, str(writer), int(at), str(last))
                for chain, writer, at, last in json.loads(self.tips)
            ]
        except TypeError as error:
            raise ValueError("no tips") from error


class SigningKey(Protocol):
    """A key that signs heads."""

    @property
    def name(self) -> str:
        """The name of the key, which is stored with the heads that it signs."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``. Returns the signature."""
        ...


class Verifier(Protocol):
    """Verifies signatures of heads."""

    def verifies(self, key: str, message: bytes, signature: bytes) -> bool | None:
        """Whether ``signature`` of ``message`` was made by the key called ``key``; None if that key is no longer available."""
        ...


class ChainLength(NamedTuple):
    """How long a chain is, as recorded beside it, so that a missing end is noticed.

    Attributes:
        sequence: The number of the last link.
        hash: The hash of the last link.
        signed: The number of the last link that a head has signed.
    """

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
