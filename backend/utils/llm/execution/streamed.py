"""The chunks of one streamed answer: those received, those held back, those returned."""

from __future__ import annotations

from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, cast

from langchain_core.messages.ai import add_ai_message_chunks

from ..answers import checked, finish_reason, has_content, label_metadata, refused
from ..failures import BadAnswer, Category

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    from ..providers import ModelRequest


class StreamedAnswer:
    """An answer that arrives in chunks.

    Args:
        request: The request that it answers. The key in its ticket is removed from the metadata.
        most_seconds: The timeout of the attempt from the first content on: no time for other endpoints is left then.

    Attributes:
        chunks: All chunks received.
        handed_on: The number of chunks returned to the caller: 0 before the first content.
        first_at: When the first content arrived, in seconds of the monotonic clock; None before.
    """

    def __init__(self, request: ModelRequest, most_seconds: float) -> None:
        self.chunks: list[AIMessageChunk] = []
        self.handed_on = 0
        self.first_at: float | None = None
        self._ticket = request.ticket
        self._model_id = request.endpoint.model_id
        self._options = request.ask.options
        self._most_seconds = most_seconds
        self._held: list[ChatGenerationChunk] = []

    def from_first_content(self, chunks: Generator[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
        """Pass on ``chunks`` from the first one with content; each has to arrive before its timeout."""
        self._ticket.expect_within(self._options.first_chunk_timeout)
        with closing(chunks):
            for chunk in chunks:
                yield from self._take(chunk)
                if self.handed_on:
                    self._ticket.expect_within(self._options.chunk_timeout)

    async def afrom_first_content(
        self, chunks: AsyncGenerator[ChatGenerationChunk]
    ) -> AsyncGenerator[ChatGenerationChunk]:
        """The ``chunks`` of the answer, asynchronously; as `from_first_content`."""
        self._ticket.expect_within(self._options.first_chunk_timeout)
        async with aclosing(chunks):
            async for chunk in chunks:
                for one in self._take(chunk):
                    yield one
                if self.handed_on:
                    self._ticket.expect_within(self._options.chunk_timeout)

    def _take(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        """Add ``chunk``, and return the chunks to pass on: none before the first content; with the first content, also those held back."""
        message = cast("AIMessageChunk", chunk.message)
        if message.response_metadata:
            label_metadata(message, partial(self._ticket.redaction.labels, known=self._model_id))
        self.chunks.append(message)
        self._held.append(chunk)
        if not self.handed_on and not has_content(message):
            return []
        if self.first_at is None:
            self.first_at = self._ticket.clock()
            self._ticket.extend(self._most_seconds)
        ready, self._held = self._held, []
        self.handed_on = len(self.chunks)
        return ready

    def joined(self) -> AIMessageChunk | None:
        """Merge all chunks received into one message; None if none was received."""
        return add_ai_message_chunks(self.chunks[0], *self.chunks[1:]) if self.chunks else None

    def partial(self) -> str | None:
        """The text of the chunks returned to the caller; None if none were."""
        return "".join(chunk.text for chunk in self.chunks[: self.handed_on]) if self.handed_on else None


def check_ended(message: AIMessageChunk | None) -> None:
    """Check the answer of a stream after its last chunk; ``message`` is None if there was no chunk.

    Raises:
        BadAnswer: The stream was cut off, or its answer is not acceptable.
    """
    if message is None or (finish_reason(message) is None and not refused(message)):
        raise BadAnswer(Category.INTERRUPTED)
    checked(message, None)
