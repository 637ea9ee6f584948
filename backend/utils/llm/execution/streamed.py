"""The chunks of one answer: which have come, which are held back, which were handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from langchain_core.messages.ai import add_ai_message_chunks

from ..answers import checked, finish_reason, has_content, labelled, refused
from ..failures import BadAnswer, Category

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    from ..answers import Labels
    from ..options import Options


class StreamedAnswer:
    """An answer that comes in chunks.

    Args:
        label: Takes the key out of what the provider calls things by.

    Attributes:
        chunks: All that have come.
        handed_on: How many of them were handed on: none before the first content.
    """

    def __init__(self, label: Labels) -> None:
        self.chunks: list[AIMessageChunk] = []
        self.handed_on = 0
        self._label = label
        self._held: list[ChatGenerationChunk] = []

    def take(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        """What is handed on now that ``chunk`` has come."""
        message = cast("AIMessageChunk", chunk.message)
        labelled(message, self._label)
        self.chunks.append(message)
        self._held.append(chunk)
        if not self.handed_on and not has_content(message):
            return []
        ready, self._held = self._held, []
        self.handed_on = len(self.chunks)
        return ready

    def next_within(self, options: Options) -> float | None:
        """Seconds within which the next chunk has to come; None if they are counted already: only content counts."""
        if self.handed_on:
            return options.chunk_timeout
        return None if self.chunks else options.first_chunk_timeout

    def joined(self) -> AIMessageChunk | None:
        """All that has come as one message; None if nothing has."""
        return add_ai_message_chunks(self.chunks[0], *self.chunks[1:]) if self.chunks else None

    def partial(self) -> str | None:
        """The text that was handed on; None if nothing was."""
        return "".join(chunk.text for chunk in self.chunks[: self.handed_on]) if self.handed_on else None


def check_ended(message: AIMessageChunk | None) -> None:
    """Test a stream that has ended.

    Raises:
        BadAnswer: It was broken off, or may not be handed on.
    """
    if message is None or (finish_reason(message) is None and not refused(message)):
        raise BadAnswer(Category.INTERRUPTED)
    checked(message, None)
