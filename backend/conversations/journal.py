"""The journal of a conversation that is being made: what was paid for, kept until the conversation is stored.

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
"""Makes bytes of one. As a string, one wide letter would make the whole transcript four times as large."""

_TRANSCRIPT: Final = TypeAdapter(Transcript)
_BESIDE: Final = 256 * 1024
"""The most bytes of a conversation without its transcript; most of them are receipts."""
_DEFAULTS: Final = 32
"""Bytes of a segment's fields that have their defaults."""


class Claim(BaseModel):
    """The transcript that a conversation is made of, and when it was requested.

    Attributes:
        fingerprint: Of the transcript, as its `Outline` has it.
        created_at: When it was first asked for.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    created_at: AwareTime


class Outline(NamedTuple):
    """What a journal has to know of a transcript.

    Attributes:
        fingerprint: Its SHA-256, the same however its JSON was written.
        room: Bytes that its conversation takes in a journal, with the answers of its steps.
    """

    fingerprint: str
    room: int

    @classmethod
    def of(cls, transcript: Transcript) -> Outline:
        """That of ``transcript``; takes as long as to write it."""
        content = _TRANSCRIPT.dump_json(transcript, exclude_defaults=True)
        room = len(content) + _DEFAULTS * len(transcript.segments) + _BESIDE
        return cls(hashlib.sha256(content).hexdigest(), room)


class Journal(Protocol):
    """The journal of one conversation.

    Attributes:
        claim: What the conversation is made of; None in a new journal.
        conversation: Its JSON, once it is made.
    """

    @property
    def claim(self) -> Claim | None: ...  # noqa: D102

    @property
    def conversation(self) -> bytes | None: ...  # noqa: D102

    @property
    def age(self) -> float:
        """Seconds since something was last written to it."""
        ...

    def answer(self, feature: str) -> bytes | None:
        """The JSON of the answer to ``feature``, if it was kept."""
        ...

    async def keep(self, feature: str, answer: bytes) -> None:
        """Keep the answer to ``feature``. If this fails, the only cost is that it is asked for again after a crash."""
        ...

    async def begin(self, claim: Claim, room: int) -> None:
        """Claim the conversation, and reserve ``room`` bytes for it.

        Raises:
            StorageUnavailableError: If there is no such room.
        """
        ...

    async def finish(self, conversation: bytes) -> None:
        """Keep the whole conversation; once this returns, it survives a crash.

        Raises:
            StorageUnavailableError: If it cannot be kept.
        """
        ...

    async def remove(self) -> None:
        """Remove it: the conversation is stored, or was abandoned."""
        ...

    async def close(self) -> None:
        """Close it, so that others may open it."""
        ...


class Journals(Protocol):
    """All journals, by the id of the conversation."""

    async def open(self, conversation_id: str) -> Journal | None:
        """The journal of that conversation, a new one if there is none; None if it is open elsewhere.

        Raises:
            StorageUnavailableError: If it cannot be read or written.
        """
        ...

    async def finished(self, conversation_id: str) -> bytes | None:
        """The JSON of a finished conversation that is not stored yet, even if the journal is open elsewhere."""
        ...

    async def abandoned(self, older: float) -> Sequence[str]:
        """The ids of journals that are not open and hold a finished conversation, or are older than so many seconds.

        Raises:
            StorageUnavailableError: If they cannot be read.
        """
        ...
