"""The audit trail: decisions of people, and attempts, as hash chains whose last links are signed together.

Each process has its own chain, so processes never wait for each other. An entry holds the hash of the
previous entry. A head is a signature: it holds the last hash of each chain that has grown, and the hash
of the previous head. To change, remove, insert or move a row breaks a link. To forge all later links as
well takes the key that signs heads. `ChainVerificationResult` names the break.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.utils.llm.foreign import sanitize_text
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


class AuditEvent(NamedTuple):
    """An event to record in the audit trail.

    Attributes:
        at: When the event happened, in microseconds since 1970 (UTC).
        actor: Who caused the event: a user, the operator at the command line, or `SYSTEM`.
        kind: What happened, such as ``key.added``.
        subject: The name of what the event is about; never a secret.
        details: Facts that are ready for JSON. Anything that looks like an API key is masked.
    """

    at: int
    actor: str
    kind: Kind
    subject: str
    details: Mapping[str, Any] = {}


class AuditEntry(NamedTuple):
    """An event as recorded in the audit trail: one link in the recording process's hash chain.

    Attributes:
        writer: The id of the recording process: a UUIDv7 as 32 hex digits.
        sequence: The number of the link in the chain, from 1.
        at: When the event happened, in microseconds since 1970 (UTC).
        actor: Who caused the event.
        kind: What happened, such as ``key.added``.
        subject: What the event is about.
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
    def from_event(cls, event: AuditEvent, writer: str, sequence: int, previous: str) -> AuditEntry:
        """Make the next link of the chain of ``writer`` from ``event``; ``previous`` is the hash of the last link.

        Control characters are escaped, and anything that looks like an API key is masked.
        """
        actor, subject = _shown(event.actor), _shown(event.subject)
        details = _encoded(_without_keys(event.details))
        entry = cls(writer, sequence, event.at, actor, event.kind, subject, details, previous, "")
        return entry._replace(hash=entry.compute_hash())

    def compute_hash(self) -> str:
        """Compute the hash of the entry's content. It differs from ``hash`` if the entry was changed later."""
        return sha256_hex(_encoded([_VERSION, *self[:-1]]))

    @property
    def display_name(self) -> str:
        """A short text that identifies the entry in reports: its number, process, kind and subject."""
        return f"entry {self.sequence} of {self.writer} ({self.kind} {self.subject})"


class ChainTip(NamedTuple):
    """The last link of a hash chain, as signed in a head.

    Attributes:
        chain: The kind of chain: `ENTRIES` or `ATTEMPTS`.
        writer: The id of the process that wrote the chain.
        sequence: The number of the last link.
        hash: The hash of the last link.
    """

    chain: str
    writer: str
    sequence: int
    hash: str


class SignedHead(NamedTuple):
    """A signature over the last links of all hash chains that have grown since the previous head.

    Attributes:
        number: The number of the head, from 1, without gaps.
        at: When the head was signed, in microseconds since 1970 (UTC).
        tips: The chains' last links, as canonical JSON of sorted `ChainTip` values.
        previous: The hash of the previous head.
        key: The name of the master key from which the signing key is derived.
        hash: SHA-256 over all of the above. A copy kept elsewhere proves that nothing earlier was changed.
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
    def sign_next(
        cls, number: int, at: int, tips: Iterable[ChainTip], previous: str, signing_key: SigningKey
    ) -> SignedHead:
        """Make the next head over the chains' last links ``tips``, and sign it with ``signing_key``."""
        head = cls(number, at, _encoded(sorted(tips)), previous, signing_key.name, "", "")
        head = head._replace(hash=head.compute_hash())
        return head._replace(signature=signing_key.sign(head.hash.encode()).hex())

    def compute_hash(self) -> str:
        """Compute the hash of the head's content. It differs from ``hash`` if the head was changed later."""
        return sha256_hex(_encoded([_VERSION, *self[:5]]))

    def parse_tips(self) -> list[ChainTip]:
        """Parse the JSON text ``tips`` into the chains' last links.

        Raises:
            ValueError: ``tips`` is not valid JSON of `ChainTip` values.
        """
        try:
            return [
                ChainTip(chain, str(writer), int(at), str(last))
                for chain, writer, at, last in json.loads(self.tips)
            ]
        except TypeError as error:
            raise ValueError("no tips") from error


class SigningKey(Protocol):
    """A key that signs heads of the audit trail."""

    @property
    def name(self) -> str:
        """The name of the key, which is stored with the heads that it signs."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``."""
        ...


class SignatureVerifier(Protocol):
    """Verifies the signatures of heads of the audit trail."""

    def is_valid_signature(self, key_name: str, message: bytes, signature: bytes) -> bool | None:
        """Whether ``signature`` is that of ``message`` by the key named ``key_name``; None if the key is gone."""
        ...


class ChainLength(NamedTuple):
    """The recorded length of a hash chain, stored apart from the chain to detect missing last links.

    Attributes:
        sequence: The number of the last link.
        hash: The hash of the last link.
        signed: The number of the last link that a head has signed.
    """

    sequence: int
    hash: str
    signed: int


def sha256_hex(text: str) -> str:
    """Return the SHA-256 of ``text``, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(text: str) -> str:
    return sanitize_text(KEY_LIKE.sub("[hidden]", text))


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
