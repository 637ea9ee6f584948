"""The chunks of one streamed answer: which were received, held back, and returned to the caller."""

from __future__ import annotations

from contextlib import aclosing, closing
from functools import partial
from typing import TYPE_CHECKING, cast

from langchain_core.messages.ai import add_ai_message_chunks

from ..answers import finish_reason, has_content, is_refusal, redact_metadata, validate_answer
from ..failures import BadAnswer, FailureCategory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    from ..providers import ModelRequest


class StreamedAnswer:
    """Collects the chunks of a streamed answer, and holds them back until the first content arrives.

    Args:
        request: The request that was sent. Its key is removed from the answer's metadata.
        most_seconds: The timeout of the attempt once the first content has arrived.

    Attributes:
        chunks: All chunks received.
        handed_on: The number of chunks returned to the caller; 0 before the first content.
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

    def chunks_from_first_content(
        self, chunks: Generator[ChatGenerationChunk]
    ) -> Iterator[ChatGenerationChunk]:
        """Yield ``chunks``, but hold them back until the first chunk with content.

        It also limits the wait for the first content and for each later chunk, according to the call's options.
        """
        self._ticket.limit_next_wait(self._options.first_chunk_timeout)
        with closing(chunks):
            for chunk in chunks:
                yield from self._take(chunk)
                if self.handed_on:
                    self._ticket.limit_next_wait(self._options.chunk_timeout)

    async def achunks_from_first_content(
        self, chunks: AsyncGenerator[ChatGenerationChunk]
    ) -> AsyncGenerator[ChatGenerationChunk]:
        """Asynchronous version of `chunks_from_first_content`."""
        self._ticket.limit_next_wait(self._options.first_chunk_timeout)
        async with aclosing(chunks):
            async for chunk in chunks:
                for item in self._take(chunk):
                    yield item
                if self.handed_on:
                    self._ticket.limit_next_wait(self._options.chunk_timeout)

    def _take(self, chunk: ChatGenerationChunk) -> list[ChatGenerationChunk]:
        """Add ``chunk``, and return the chunks to pass on: none before the first content; with the first content, also those held back."""
        message = cast("AIMessageChunk", chunk.message)
        if message.response_metadata:
            redact_metadata(message, partial(self._ticket.redaction.redact_labels, known=self._model_id))
        self.chunks.append(message)
        self._held.append(chunk)
        if not self.handed_on and not has_content(message):
            return []
        if self.first_at is None:
            self.first_at = self._ticket.clock()
            self._ticket.set_timeout(self._most_seconds)
        ready, self._held = self._held, []
        self.handed_on = len(self.chunks)
        return ready

    def merge_chunks(self) -> AIMessageChunk | None:
        """Merge all chunks received so far into one message; None if there are none."""
        return add_ai_message_chunks(self.chunks[0], *self.chunks[1:]) if self.chunks else None

    def partial_text(self) -> str | None:
        """Return the text that the caller has received so far; None if the caller has received nothing."""
        return "".join(chunk.text for chunk in self.chunks[: self.handed_on]) if self.handed_on else None


def check_stream_ended(message: AIMessageChunk | None) -> None:
    """Check that a stream is complete and its answer acceptable.

    Args:
        message: All chunks of the stream, merged; None if there was no chunk.

    Raises:
        BadAnswer: The stream broke off before its end, or the answer is not acceptable.
    """
    if message is None or (finish_reason(message) is None and not is_refusal(message)):
        raise BadAnswer(FailureCategory.INTERRUPTED)
    validate_answer(message, None)
