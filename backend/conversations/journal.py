"""Keeps the paid results of a conversation that is being created, until the conversation is stored.

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


class JournalHeader(BaseModel):
    """The first entry of a journal, with the hash of the transcript for which the journal was created.

    The hash shows whether a later request repeats the first one, or reuses its idempotency key with another
    transcript.

    Attributes:
        fingerprint: The hash of the transcript, as in `TranscriptHashAndSize`.
        created_at: The time of the first request.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    created_at: AwareTime


class TranscriptHashAndSize(NamedTuple):
    """The hash of a transcript, and the disk space that its journal needs.

    Attributes:
        fingerprint: The SHA-256 of the transcript. Equal transcripts have the same hash, however their JSON
            is formatted.
        room: The size in bytes to reserve for the conversation and the results of all steps.
    """

    fingerprint: str
    room: int

    @classmethod
    def from_transcript(cls, transcript: Transcript) -> TranscriptHashAndSize:
        """Compute the hash and the needed disk space of ``transcript``. Serializes the whole transcript."""
        content = _TRANSCRIPT.dump_json(transcript, exclude_defaults=True)
        room = len(content) + _DEFAULTS * len(transcript.segments) + _BESIDE
        return cls(hashlib.sha256(content).hexdigest(), room)


class Journal(Protocol):
    """Durable storage for one conversation that is being created.

    It keeps the results of paid model calls, and then the finished conversation until it is in the store.

    Attributes:
        header: The first entry, with the hash of the transcript; None in a new journal.
        finished_conversation: The finished conversation as JSON; None before.
    """

    @property
    def header(self) -> JournalHeader | None: ...  # noqa: D102

    @property
    def finished_conversation(self) -> bytes | None: ...  # noqa: D102

    @property
    def seconds_since_write(self) -> float:
        """Seconds since the last write to the journal."""
        ...

    def read_answer(self, feature: str) -> bytes | None:
        """Return the stored result of the model call of ``feature``, as JSON; None if there is none."""
        ...

    async def write_answer(self, feature: str, answer: bytes) -> None:
        """Write the result of the model call of ``feature``, as JSON, to the journal.

        A failure to write is not raised: its only effect is that the model is asked again after a crash.
        """
        ...

    async def reserve_space(self, header: JournalHeader, size_bytes: int) -> None:
        """Reserve ``size_bytes`` on disk, and write ``header``. Called before the first paid model call.

        Raises:
            StorageUnavailableError: There is not enough disk space.
        """
        ...

    async def write_conversation(self, conversation: bytes) -> None:
        """Write the finished conversation, as JSON, to the journal. It is durable when this returns.

        Raises:
            StorageUnavailableError: The conversation cannot be written.
        """
        ...

    async def remove(self) -> None:
        """Delete the journal, after its conversation was stored or abandoned."""
        ...

    async def close(self) -> None:
        """Close the journal, so that another request or process can open it."""
        ...


class JournalStore(Protocol):
    """Opens and lists journals. The id of a journal is the id of its conversation."""

    async def open(self, conversation_id: str) -> Journal | None:
        """Open the journal of a conversation, and create it if it does not exist.

        Returns:
            The journal; None if another request or process has it open.

        Raises:
            StorageUnavailableError: The journal cannot be read or written.
        """
        ...

    async def read_finished_conversation(self, conversation_id: str) -> bytes | None:
        """Return the finished conversation in a journal, as JSON; None if there is none.

        It can be read even while another request or process has the journal open.
        """
        ...

    async def list_abandoned_ids(self, older_than_s: float) -> Sequence[str]:
        """List the ids of journals that nobody has open and that are finished or older than ``older_than_s`` seconds.

        Raises:
            StorageUnavailableError: The journals cannot be read.
        """
        ...
