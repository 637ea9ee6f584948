"""What was paid for while a conversation was made, kept until the conversation is stored.

A journal belongs to one conversation, and is open in one place at a time, whichever process that is in. What it holds survives
the end of the process, however that ends.
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
"""Bytes that a conversation takes beside its transcript, at most: its receipts are the longest part."""
_DEFAULTS: Final = 32
"""Bytes that a segment takes more with its defaults."""


class Claim(BaseModel):
    """What a conversation is made of, and since when.

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
        """The JSON that was kept of this step."""
        ...

    async def keep(self, feature: str, answer: bytes) -> None:
        """Keep what a step came to. That this fails costs no more than that it is asked for again after a crash."""
        ...

    async def begin(self, claim: Claim, room: int) -> None:
        """Claim the conversation, and set ``room`` bytes aside for what is to be kept of it.

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
        """Forget it: the conversation is stored, or nobody will ask for it."""
        ...

    async def close(self) -> None:
        """Let others have it."""
        ...


class Journals(Protocol):
    """All journals, by the id of the conversation."""

    async def open(self, conversation_id: str) -> Journal | None:
        """The journal of that conversation, a new one if there is none; None if it is open elsewhere.

        Raises:
            StorageUnavailableError: If it cannot be read or written.
        """
        ...

    async def made(self, conversation_id: str) -> bytes | None:
        """The JSON of a conversation that is made and not stored yet, whoever has the journal open."""
        ...

    async def left(self, older: float) -> Sequence[str]:
        """The ids of those that nobody has open and that hold a conversation, or are so many seconds old.

        Raises:
            StorageUnavailableError: If they cannot be read.
        """
        ...
