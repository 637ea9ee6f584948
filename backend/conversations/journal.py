"""The journal of a conversation in progress: keeps paid answers until the conversation is stored.

A journal is open in one place at a time, across processes. Its content survives a crash.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, TypeAdapter

from .store import Conversation
from .transcript import AwareTime, Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

CONVERSATION: Final = TypeAdapter(Conversation)
"""Serializes a conversation to bytes. As a string, one wide letter would quadruple its memory."""

_TRANSCRIPT: Final = TypeAdapter(Transcript)
_BESIDE: Final = 256 * 1024
"""The most bytes of a conversation without its transcript; most of them are receipts."""
_DEFAULTS: Final = 32
"""Bytes of a segment's fields that have their defaults."""


class Claim(BaseModel):
    """Identifies the transcript that a journal is for, to notice an idempotency key that is used for another one.

    Attributes:
        fingerprint: The transcript's fingerprint, as in its `TranscriptOutline`.
        created_at: The time of the first request.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    created_at: AwareTime


class TranscriptOutline(NamedTuple):
    """A transcript's hash, and the disk space to reserve for its conversation.

    Attributes:
        fingerprint: The SHA-256 of the transcript, independent of its JSON notation.
        room: The bytes that its conversation needs in a journal, with the answers of its steps.
    """

    fingerprint: str
    room: int

    @classmethod
    def of(cls, transcript: Transcript) -> TranscriptOutline:
        """Compute the hash and the needed disk space of ``transcript``. Takes as long as serializing it."""
        content = _TRANSCRIPT.dump_json(transcript, exclude_defaults=True)
        room = len(content) + _DEFAULTS * len(transcript.segments) + _BESIDE
        return cls(hashlib.sha256(content).hexdigest(), room)


class Journal(Protocol):
    """Keeps the paid answers of one conversation in progress, and then the conversation until it is stored.

    Attributes:
        claim: The hash of the transcript that the journal is for; None in a new journal.
        conversation: The JSON of the finished conversation; None before.
    """

    @property
    def claim(self) -> Claim | None: ...  # noqa: D102

    @property
    def conversation(self) -> bytes | None: ...  # noqa: D102

    @property
    def age(self) -> float:
        """Seconds since the journal was last written."""
        ...

    def answer(self, feature: str) -> bytes | None:
        """The stored answer to ``feature``, as JSON; None if there is none."""
        ...

    async def keep(self, feature: str, answer: bytes) -> None:
        """Write the answer to ``feature`` to the journal.

        A failure is not raised, because its only effect is that the model is asked again after a crash.
        """
        ...

    async def begin(self, claim: Claim, room: int) -> None:
        """Reserve ``room`` bytes on disk, and write ``claim``, before the first paid call.

        Raises:
            StorageUnavailableError: There is not enough space.
        """
        ...

    async def finish(self, conversation: bytes) -> None:
        """Write the finished conversation, as JSON, to the journal. Once this returns, it survives a crash.

        Raises:
            StorageUnavailableError: The conversation cannot be written.
        """
        ...

    async def remove(self) -> None:
        """Delete the journal, because the conversation is stored, or was abandoned."""
        ...

    async def close(self) -> None:
        """Close the journal, so that another request or process can open it."""
        ...


class Journals(Protocol):
    """Opens and lists journals, by the id of their conversation."""

    async def open(self, conversation_id: str) -> Journal | None:
        """Open the journal of that conversation, creating it if it is missing.

        Returns:
            The journal; None if another request or process has it open.

        Raises:
            StorageUnavailableError: The journal cannot be read or written.
        """
        ...

    async def finished(self, conversation_id: str) -> bytes | None:
        """The JSON of a finished conversation that is not stored yet, even if the journal is open elsewhere."""
        ...

    async def abandoned(self, older: float) -> Sequence[str]:
        """List the ids of journals that nobody has open, and that are finished or older than ``older`` seconds.

        Raises:
            StorageUnavailableError: The journals cannot be read.
        """
        ...
