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
    """The transcript of a conversation in progress, and the time of its first request.

    Attributes:
        fingerprint: The transcript's fingerprint, as in its `TranscriptOutline`.
        created_at: The time of the first request.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    created_at: AwareTime


class TranscriptOutline(NamedTuple):
    """The size and hash of a transcript.

    Attributes:
        fingerprint: The SHA-256 of the transcript, independent of its JSON notation.
        room: The bytes that its conversation needs in a journal, with the answers of its steps.
    """

    fingerprint: str
    room: int

    @classmethod
    def of(cls, transcript: Transcript) -> TranscriptOutline:
        """The outline of ``transcript``. Takes as long as serializing it."""
        content = _TRANSCRIPT.dump_json(transcript, exclude_defaults=True)
        room = len(content) + _DEFAULTS * len(transcript.segments) + _BESIDE
        return cls(hashlib.sha256(content).hexdigest(), room)


class Journal(Protocol):
    """The journal of one conversation.

    Attributes:
        claim: The conversation's claim; None in a new journal.
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
        """The JSON of the kept answer to ``feature``; None if there is none."""
        ...

    async def keep(self, feature: str, answer: bytes) -> None:
        """Keep the answer to ``feature``. If that fails, the answer is only requested again after a crash."""
        ...

    async def begin(self, claim: Claim, room: int) -> None:
        """Claim the conversation, and reserve ``room`` bytes for it.

        Raises:
            StorageUnavailableError: There is no such room.
        """
        ...

    async def finish(self, conversation: bytes) -> None:
        """Keep the finished conversation. Once this returns, it survives a crash.

        Raises:
            StorageUnavailableError: The conversation cannot be written.
        """
        ...

    async def remove(self) -> None:
        """Remove the journal: the conversation is stored, or was abandoned."""
        ...

    async def close(self) -> None:
        """Close the journal, so that another process can open it."""
        ...


class Journals(Protocol):
    """All journals, by the id of their conversation."""

    async def open(self, conversation_id: str) -> Journal | None:
        """Open the journal of that conversation, or a new one; None if it is open elsewhere.

        Raises:
            StorageUnavailableError: The journal cannot be read or written.
        """
        ...

    async def finished(self, conversation_id: str) -> bytes | None:
        """The JSON of a finished conversation that is not stored yet, even if the journal is open elsewhere."""
        ...

    async def abandoned(self, older: float) -> Sequence[str]:
        """The ids of journals that are not open, and are finished or older than ``older`` seconds.

        Raises:
            StorageUnavailableError: The journals cannot be read.
        """
        ...
