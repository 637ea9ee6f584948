"""Journals in memory, which can be told to fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.conversations.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.conversations.journal import JournalHeader


def nothing(_step: str) -> None:
    """Nothing happens."""


@dataclass
class Kept:
    """What one journal holds."""

    claim: JournalHeader | None = None
    answers: dict[str, bytes] = field(default_factory=dict)
    conversation: bytes | None = None
    age: float = 0.0


class InMemoryJournals:
    """`JournalStore`. Before and after each step they tell ``happens``, which may raise."""

    def __init__(self, happens: Callable[[str], None] = nothing) -> None:
        self.happens = happens
        self.kept: dict[str, Kept] = {}
        self.held: set[str] = set()
        self.is_full = False

    async def open(self, conversation_id: str) -> InMemoryJournal | None:
        if conversation_id in self.held:
            return None
        self.held.add(conversation_id)
        return InMemoryJournal(self, conversation_id)

    async def read_finished_conversation(self, conversation_id: str) -> bytes | None:
        return self.kept.get(conversation_id, Kept()).conversation

    async def list_abandoned_ids(self, older_than_s: float) -> Sequence[str]:
        return [
            name
            for name, kept in self.kept.items()
            if name not in self.held and (kept.conversation is not None or kept.age > older_than_s)
        ]


class InMemoryJournal:
    def __init__(self, journals: InMemoryJournals, conversation_id: str) -> None:
        self._journals = journals
        self._id = conversation_id
        self._is_removed = False

    @property
    def _kept(self) -> Kept:
        return self._journals.kept.setdefault(self._id, Kept())

    @property
    def header(self) -> JournalHeader | None:
        return self._kept.claim

    @property
    def finished_conversation(self) -> bytes | None:
        return self._kept.conversation

    @property
    def seconds_since_write(self) -> float:
        return self._kept.age

    def read_answer(self, feature: str) -> bytes | None:
        return self._kept.answers.get(feature)

    async def reserve_space(self, header: JournalHeader, size_bytes: int) -> None:
        assert size_bytes > 0
        self._write("begin")
        self._kept.claim = self._kept.claim or header
        self._journals.happens("begun")

    async def write_answer(self, feature: str, answer: bytes) -> None:
        self._journals.happens(f"keep {feature}")
        if not self._journals.is_full:
            self._kept.answers[feature] = answer
        self._journals.happens(f"kept {feature}")

    async def write_conversation(self, conversation: bytes) -> None:
        self._write("finish")
        self._kept.conversation = conversation
        self._journals.happens("finished")

    async def remove(self) -> None:
        self._journals.happens("remove")
        self._is_removed = True

    async def close(self) -> None:
        if self._is_removed or self._kept.claim is None:
            self._journals.kept.pop(self._id, None)
        self._journals.held.discard(self._id)

    def _write(self, step: str) -> None:
        self._journals.happens(step)
        if self._journals.is_full:
            raise StorageUnavailableError
