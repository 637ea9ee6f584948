"""Parses a streamed response: splits the bytes into events, and joins their content into LangChain chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk

from ..failures import BadAnswer, FailureCategory
from ..transport import LONG_BODY, AnswerTooLargeError
from .answer import AnswerSizeLimiter, ParsedAnswer, join_block_pieces, merge_usage
from .ask import REASONING_KEY
from .events import BLANK, EVENTS, ServerSentEventParser
from .loose_json import parse_json_object, parse_json_objects
from .surrogates import UNKNOWN, split_trailing_surrogate
from .tool_calls import ToolCallAssembler, join_pieces_by_call, to_tool_call_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage
    from langchain_core.messages.ai import UsageMetadata

    from ..errors import LLMError
    from ..transport import ServerTrust, Ticket
    from .chat_api import AnswerReader

EAGER = 250
"""The number of a stream's events that become one chunk each. Later events may be joined, because a chunk costs LangChain
and its callbacks a hundred times what an event costs to read."""
_BRACKETS = (b"{", b"[")
_SECONDS_FOR_USAGE = 2.0
"""Providers tell it at once. Some gateways never do, nor that the stream is over."""


# Events ---------------------------------------------------------------------------------------------------------------


class StreamParser:
    """Parses the body of one response, server-sent events or a JSON document, into LangChain chunks.

    Servers that cannot stream send a JSON document although a stream was requested.

    Args:
        reader: The parser of the API's answers.
        ticket: The ticket of the attempt, whose ``trust`` limits the size of the answer.
        content_type: The response's content type. It is only a hint: some servers declare JSON and send
            events.
    """

    def __init__(self, reader: AnswerReader, ticket: Ticket, content_type: str = "") -> None:
        self._reader = reader
        self._ticket = ticket
        self._events = ServerSentEventParser()
        self._answer = ChunkBuilder(ticket.trust)
        self._is_document = content_type.startswith("application/json")
        self._is_new = True
        self._document = bytearray()

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete. The connection may still be open."""
        return self._events.is_over or self._reader.is_over

    @property
    def has_finish_reason(self) -> bool:
        """Whether the finish reason has arrived. If the connection breaks after that, no content is lost."""
        return self._answer.has_finish_reason

    def shorten_wait_for_usage(self) -> None:
        """Shorten the read timeout to a few seconds if only the token usage can still follow.

        Some gateways never send the usage, and leave the connection open.
        """
        if self._answer.is_done:
            self._ticket.limit_next_wait(_SECONDS_FOR_USAGE)

    def should_parse_in_thread(self, part: bytes) -> bool:
        """Whether ``part`` may complete an event so large that it should be parsed in a thread, off the event loop."""
        return (b"\n" in part or b"\r" in part) and len(self._events) > LONG_BODY

    @property
    def should_flush_in_thread(self) -> bool:
        """Whether so much unparsed data is buffered that `flush` should be called in a thread, off the event loop."""
        return len(self._events) + len(self._document) > LONG_BODY

    def drop_partial_event(self) -> None:
        """Discard the incomplete event that a broken connection left, so that `flush` does not try to parse it."""
        self._events = ServerSentEventParser()

    def feed(self, part: bytes, *, has_more: bool) -> Iterator[ChatGenerationChunk]:
        """Parse ``part``, the next bytes of the body, and yield chunks of the events that it completes.

        Args:
            part: The next bytes.
            has_more: Whether further bytes have already arrived. If so, an event may be kept back, to be joined
                with the next event into one chunk.
        """
        if self._is_new and (begun := part.lstrip(BLANK)):
            self._is_new = False
            self._is_document = begun[:1] in _BRACKETS or (self._is_document and not begun.startswith(EVENTS))
        if self._is_document:
            self._document += part
            return
        yield from self._event_chunks(self._events.feed(part))
        if self.is_over or not self._answer.can_delay_chunk(has_more=has_more):
            yield from self._waiting()

    def flush(self) -> Iterator[ChatGenerationChunk]:
        """Yield the chunks of the data that is still buffered. Call this at the end of the body."""
        yield from self._event_chunks(self._events.flush())
        try:
            if self._is_document:
                self._read_documents()
            last = self._answer.flush()
        except AnswerTooLargeError as error:
            raise record_oversized_answer(self._ticket, error) from None
        if last is not None:
            yield last

    def _read_documents(self) -> None:
        first, *others = parse_json_objects(bytes(self._document), self._ticket.trust)
        pieces = (
            map(self._reader.parse_event, (first, *others)) if others else (self._reader.parse_answer(first),)
        )
        for piece in pieces:
            if piece is not None:
                self._answer.add_event(piece)

    def _event_chunks(self, documents: Iterator[bytes]) -> Iterator[ChatGenerationChunk]:
        try:
            for document in documents:
                event = parse_json_object(document, self._ticket.trust)
                if self._events.name:
                    event.setdefault("type", self._events.name)
                piece = self._reader.parse_event(event)
                if piece is not None:
                    if piece.thoughts:
                        self._ticket.restart_wait()
                    self._answer.add_event(piece)
                    if self._answer.must_emit_chunk:
                        yield from self._waiting()
        except Exception as error:
            yield from self._waiting()
            if isinstance(error, AnswerTooLargeError):
                raise record_oversized_answer(self._ticket, error) from None
            raise

    def _waiting(self) -> Iterator[ChatGenerationChunk]:
        chunk = self._answer.take_chunk()
        if chunk is not None:
            yield chunk


def parse_streamed_message(stream: StreamParser, body: bytes) -> AIMessage:
    """Parse ``body``, a complete stream of events, into one message, for servers that stream without being asked.

    Args:
        stream: A new parser that has read nothing yet.
        body: All bytes of the response.

    Raises:
        BadAnswer: The stream has no finish reason.
    """
    chunks = [chunk.message for chunk in (*stream.feed(body, has_more=True), *stream.flush())]
    if not chunks or not stream.has_finish_reason:
        raise BadAnswer(FailureCategory.INTERRUPTED)
    message = add_ai_message_chunks(*cast("list[AIMessageChunk]", chunks))
    return cast("AIMessage", message_chunk_to_message(message))


def record_oversized_answer(ticket: Ticket, error: AnswerTooLargeError) -> LLMError:
    """Record on the ticket that the answer was too large, and return the error for the caller to raise.

    The type of the error depends on the `ServerTrust` of the server.
    """
    return ticket.refuse_answer(f"sent more than {error}")


# Chunks ---------------------------------------------------------------------------------------------------------------


class ChunkBuilder:
    """Builds LangChain's chunks from the parsed events of one stream; several events may become one chunk.

    Attributes:
        has_finish_reason: Whether the finish reason has arrived, and no content without one since.
        is_done: Whether the last event with content or a finish reason had only the finish reason. Some servers
            send a finish reason with every piece of text, so that one with content does not prove the end.
    """

    def __init__(self, trust: ServerTrust) -> None:
        self._trust = trust
        self._weight = AnswerSizeLimiter(trust)
        self._calls = ToolCallAssembler(trust)
        self._usage: UsageMetadata | None = None
        self._metadata: dict[str, Any] = {}
        self._pending: ParsedAnswer | None = None
        self._half = ""
        self._thoughts: list[str] = []
        self._reasoning: list[dict[str, Any]] = []
        self._has_thoughts = self._has_begun = self._only_thinks = False
        self.has_finish_reason = self.is_done = False
        self._joined = self._given = 0
        self._reason: str | None = None
        self._tells_stop = True

    @property
    def must_emit_chunk(self) -> bool:
        """Whether the events added so far must become a chunk now, even if further events have already arrived."""
        if self._pending is None or self._only_thinks:
            return False
        if self._given < EAGER or self._pending.calls:
            return True
        return self._trust.bounds_chunks and self._joined > self._given // EAGER

    def can_delay_chunk(self, *, has_more: bool) -> bool:
        """Whether the chunk may be delayed until the next event is added.

        Args:
            has_more: Whether bytes of the next event have already arrived.
        """
        return has_more or self._trust.bounds_chunks or self._only_thinks

    def add_event(self, piece: ParsedAnswer) -> None:
        """Add the parsed content of one event to the next chunk.

        Raises:
            AnswerTooLargeError: The answer is too long.
        """
        if piece.calls:
            piece.calls = self._calls.feed(piece.calls)
        self._weight.add_answer(piece)
        if self._half or not piece.text.isascii():
            piece.text, self._half = split_trailing_surrogate(self._half + piece.text)
        if piece.thoughts:
            self._thoughts.append(piece.thoughts)
            self._has_thoughts = True
        self._reasoning += piece.reasoning
        says = bool(piece.text or piece.calls or piece.media)
        self._has_begun = self._has_begun or says or piece.reason is not None
        # Until then thoughts are not handed on: they are one chunk, with the first word of the answer.
        self._only_thinks = self._has_thoughts and not self._has_begun
        if says or piece.reason is not None:
            self.has_finish_reason, self.is_done = piece.reason is not None, not says
        self._joined += 1
        self._pending = _joined(self._pending, piece)

    def take_chunk(self) -> ChatGenerationChunk | None:
        """Make a chunk of all events added since the last chunk; None if no event was added."""
        piece, self._pending = self._pending, None
        if piece is None:
            return None
        self._joined, self._given = 0, self._given + 1
        piece.thoughts, piece.reasoning, self._thoughts = "".join(self._thoughts), (), []
        return _chunk_of(self._with_news_only(piece))

    def _with_news_only(self, piece: ParsedAnswer) -> ParsedAnswer:
        """``piece`` with finish reason, stop sequence and metadata only once, and with the increase of usage."""
        if piece.usage is not None:
            reported_usage, self._usage = self._usage, merge_usage(self._usage, piece.usage)
            piece.usage = None if reported_usage == self._usage else _difference(self._usage, reported_usage)
        if piece.metadata:
            self._metadata |= piece.metadata
        if piece.stop_sequence is not None:
            piece.stop_sequence, self._tells_stop = piece.stop_sequence if self._tells_stop else None, False
        is_end = self._reason is None and piece.reason is not None
        self._reason = self._reason or piece.reason
        piece.reason, piece.metadata = (piece.reason, self._metadata) if is_end else (None, {})
        if self._has_thoughts:
            piece.metadata.pop("model_provider", None)
        return piece

    def flush(self) -> ChatGenerationChunk | None:
        """Make the last chunk, including content that was held back; None if nothing is left.

        Raises:
            AnswerTooLargeError: The arguments of tool calls have too many characters that are not valid JSON.
        """
        reason = self._reason or (self._pending.reason if self._pending is not None else None)
        held = self._calls.flush_arguments(was_truncated=reason == "length")
        last = ParsedAnswer(UNKNOWN if self._half else "", calls=self._calls.make_missing_ids())
        if self._pending is not None and self._pending.calls:
            last.calls, held = [*last.calls, *held], []
        if held or last.text or last.calls or self._reasoning or (self._reason is None and self._metadata):
            self._pending = _joined(self._pending, last)
        made = self.take_chunk()
        if made is not None and self._reasoning:
            # Once and whole: LangChain would join the objects' names as well.
            made.message.additional_kwargs[REASONING_KEY] = join_block_pieces(self._reasoning)
        if made is not None and held:
            # Put in afterwards: LangChain would read each piece as if it was the whole.
            made.message.tool_call_chunks += map(to_tool_call_chunk, held)  # type: ignore[attr-defined]
        return made


def _joined(first: ParsedAnswer | None, second: ParsedAnswer) -> ParsedAnswer:
    if first is None:
        return second
    first.append_piece(second)
    return first


def _chunk_of(piece: ParsedAnswer) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content=piece.message_content(),
        additional_kwargs=piece.additional_kwargs(),
        response_metadata=piece.response_metadata(),
        usage_metadata=piece.usage,
        tool_call_chunks=[to_tool_call_chunk(call) for call in join_pieces_by_call(piece.calls)]
        if piece.calls
        else [],
    )
    return ChatGenerationChunk(message=message)


def _difference(now: Any, before: Any) -> Any:
    """The value to add to ``before`` to get ``now``, because LangChain adds chunks up."""
    if isinstance(now, dict):
        before = before or {}
        return {name: _difference(now.get(name), before.get(name)) for name in {**before, **now}}
    return (now or 0) - (before or 0)
