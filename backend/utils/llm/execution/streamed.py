"""The chunks of one streamed answer: those received, those held back, those returned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from langchain_core.messages.ai import add_ai_message_chunks

from ..answers import checked, finish_reason, has_content, labelled, refused
from ..failures import BadAnswer, Category

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    from ..transport import Ticket


class StreamedAnswer:
    """An answer that arrives in chunks.

    Args:
        ticket: The ticket of its attempt, which removes the key from the metadata.
        model_id: The model that was asked for, by its name in the request.

    Attributes:
        chunks: All chunks received.
        handed_on: The number of chunks returned to the caller: 0 before the first content.
    """

    def __init__(self, ticket: Ticket, model_id: str) -> None:
        self.chunks: list[AIMessageChunk] = []
        self.handed_on = 0
        self._ticket = ticket
        self._model_id = model_id
        self._held: list[ChatGenerationChunk] = []

    def take(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        """Add ``chunk``, and return the chunks to pass on: none before the first content; with the first content, also those held back."""
        message = cast("AIMessageChunk", chunk.message)
        if message.response_metadata:
            labelled(message, partial(self._ticket.redaction.labels, known=self._model_id))
        self.chunks.append(message)
        self._held.append(chunk)
        if not self.handed_on and not has_content(message):
            return []
        ready, self._held = self._held, []
        self.handed_on = len(self.chunks)
        return ready

    def joined(self) -> AIMessageChunk | None:
        """All chunks received, merged into one message; None without any."""
        return add_ai_message_chunks(self.chunks[0], *self.chunks[1:]) if self.chunks else None

    def partial(self) -> str | None:
        """The text of the chunks returned to the caller; None if none were."""
        return "".join(chunk.text for chunk in self.chunks[: self.handed_on]) if self.handed_on else None


def check_ended(message: AIMessageChunk | None) -> None:
    """Test the answer of a stream that has ended.

    Raises:
        BadAnswer: The stream was cut off, or its answer is not acceptable.
    """
    if message is None or (finish_reason(message) is None and not refused(message)):
        raise BadAnswer(Category.INTERRUPTED)
    checked(message, None)
