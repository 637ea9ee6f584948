"""Reads a streamed answer: parses events from the body's bytes, and joins them into LangChain's chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk

from ..failures import BadAnswer, Category
from ..transport import LONG_BODY, ExcessError
from .answer import Answer, Weight, latest_usage, whole_blocks
from .ask import REASONING_KEY
from .events import BLANK, EVENTS, EventParser
from .loose_json import read_document, read_documents
from .surrogates import UNKNOWN, split_off
from .tool_calls import CallStream, chunk_of_call, one_for_each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import AIMessage
    from langchain_core.messages.ai import UsageMetadata

    from ..errors import LLMError
    from ..transport import Ticket, Trust
    from .chat_api import AnswerReader

EAGER = 250
"""The number of a stream's events that become one chunk each. Later events may be joined, because a chunk costs LangChain
and its callbacks a hundred times what an event costs to read."""
_BRACKETS = (b"{", b"[")
_SECONDS_FOR_USAGE = 2.0
"""Providers tell it at once. Some gateways never do, nor that the stream is over."""


# Events ---------------------------------------------------------------------------------------------------------------


class StreamReader:
    """Turns the body of one response into chunks; also a whole JSON document, from a server that does not stream.

    Args:
        content_type: The content type that the server declares. Some servers declare JSON and stream nevertheless.
    """

    def __init__(self, reader: AnswerReader, ticket: Ticket, content_type: str = "") -> None:
        self._reader = reader
        self._ticket = ticket
        self._events = EventParser()
        self._answer = AnswerStream(ticket.trust)
        self._is_document = content_type.startswith("application/json")
        self._is_new = True
        self._document = bytearray()

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete, even if the connection is still open."""
        return self._events.is_over or self._reader.is_over

    @property
    def has_ended(self) -> bool:
        """Whether the finish reason has arrived, so that a connection that then breaks loses no content."""
        return self._answer.has_ended

    def expect_end(self) -> None:
        """Shorten the wait for the next bytes, once nothing but token usage can follow the answer's content.

        Some gateways send no usage and leave the connection open.
        """
        if self._answer.is_done:
            self._ticket.expect_within(_SECONDS_FOR_USAGE)

    def is_long(self, part: bytes) -> bool:
        """Whether ``part`` may complete so large an event that it is to be parsed in a thread, off the event loop."""
        return (b"\n" in part or b"\r" in part) and len(self._events) > LONG_BODY

    @property
    def is_long_to_flush(self) -> bool:
        """Whether so much is held back that `flush` is to be called in a thread, off the event loop."""
        return len(self._events) + len(self._document) > LONG_BODY

    def drop_partial_event(self) -> None:
        """Drop the incomplete event at the end of a broken connection, so that `flush` does not parse it."""
        self._events = EventParser()

    def read(self, part: bytes, *, has_more: bool) -> Iterator[ChatGenerationChunk]:
        """The chunks of all events that ``part``, the next bytes of the body, completes.

        With ``has_more``, further bytes have already arrived, so that the last events may be kept to be joined with the
        next ones.
        """
        if self._is_new and (begun := part.lstrip(BLANK)):
            self._is_new = False
            self._is_document = begun[:1] in _BRACKETS or (self._is_document and not begun.startswith(EVENTS))
        if self._is_document:
            self._document += part
            return
        yield from self._said(self._events.read(part))
        if self.is_over or not self._answer.may_wait(has_more=has_more):
            yield from self._waiting()

    def flush(self) -> Iterator[ChatGenerationChunk]:
        """The chunks of everything held back until the end of the body; nothing if all was passed on."""
        yield from self._said(self._events.flush())
        try:
            if self._is_document:
                self._read_documents()
            last = self._answer.flush()
        except ExcessError as error:
            raise as_refusal(self._ticket, error) from None
        if last is not None:
            yield last

    def _read_documents(self) -> None:
        first, *others = read_documents(bytes(self._document), self._ticket.trust)
        pieces = map(self._reader.event, (first, *others)) if others else (self._reader.answer(first),)
        for piece in pieces:
            if piece is not None:
                self._answer.add(piece)

    def _said(self, documents: Iterator[bytes]) -> Iterator[ChatGenerationChunk]:
        try:
            for document in documents:
                event = read_document(document, self._ticket.trust)
                if self._events.name:
                    event.setdefault("type", self._events.name)
                piece = self._reader.event(event)
                if piece is not None:
                    if piece.thoughts:
                        self._ticket.expect_more()
                    self._answer.add(piece)
                    if self._answer.is_due:
                        yield from self._waiting()
        except Exception as error:
            yield from self._waiting()
            if isinstance(error, ExcessError):
                raise as_refusal(self._ticket, error) from None
            raise

    def _waiting(self) -> Iterator[ChatGenerationChunk]:
        chunk = self._answer.chunk()
        if chunk is not None:
            yield chunk


def whole_message(stream: StreamReader, body: bytes) -> AIMessage:
    """Read a complete streamed ``body`` into one message, for servers that stream even when not asked to.

    ``stream`` is a new reader, which has read nothing yet.

    Raises:
        BadAnswer: The stream has no end.
    """
    chunks = [chunk.message for chunk in (*stream.read(body, has_more=True), *stream.flush())]
    if not chunks or not stream.has_ended:
        raise BadAnswer(Category.INTERRUPTED)
    message = add_ai_message_chunks(*cast("list[AIMessageChunk]", chunks))
    return cast("AIMessage", message_chunk_to_message(message))


def as_refusal(ticket: Ticket, error: ExcessError) -> LLMError:
    """Record that an answer exceeds a bound, and return the error to raise, whose type depends on the server's `Trust`."""
    return ticket.refuse_answer(f"sent more than {error}")


# Chunks ---------------------------------------------------------------------------------------------------------------


class AnswerStream:
    """Joins the parsed events of one stream into LangChain's chunks.

    Attributes:
        has_ended: Whether the last event with content had a finish reason, so that only usage may follow.
        is_done: Whether the finish reason came without content. Some servers send one with every piece of text.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._weight = Weight(trust)
        self._calls = CallStream(trust)
        self._usage: UsageMetadata | None = None
        self._metadata: dict[str, Any] = {}
        self._pending: Answer | None = None
        self._half = ""
        self._thoughts: list[str] = []
        self._reasoning: list[dict[str, Any]] = []
        self._has_thoughts = self._has_begun = self._only_thinks = False
        self.has_ended = self.is_done = False
        self._joined = self._given = 0
        self._reason: str | None = None
        self._tells_stop = True

    @property
    def is_due(self) -> bool:
        """Whether the added events must become a chunk at once, even if more events have arrived."""
        if self._pending is None or self._only_thinks:
            return False
        if self._given < EAGER or self._pending.calls:
            return True
        return self._trust.bounds_chunks and self._joined > self._given // EAGER

    def may_wait(self, *, has_more: bool) -> bool:
        """Whether to wait for the next event before making a chunk; ``has_more``: bytes of it have arrived already."""
        return has_more or self._trust.bounds_chunks or self._only_thinks

    def add(self, piece: Answer) -> None:
        """Add the parsed contents of one event, to be part of the next `chunk`.

        Raises:
            ExcessError: The answer is too long.
        """
        if piece.calls:
            piece.calls = self._calls.add(piece.calls)
        self._weight.add(piece)
        if self._half or not piece.text.isascii():
            piece.text, self._half = split_off(self._half + piece.text)
        if piece.thoughts:
            self._thoughts.append(piece.thoughts)
            self._has_thoughts = True
        self._reasoning += piece.reasoning
        says = bool(piece.text or piece.calls or piece.media)
        self._has_begun = self._has_begun or says or piece.reason is not None
        # Until then thoughts are not handed on: they are one chunk, with the first word of the answer.
        self._only_thinks = self._has_thoughts and not self._has_begun
        if says or piece.reason is not None:
            self.has_ended, self.is_done = piece.reason is not None, not says
        self._joined += 1
        self._pending = _joined(self._pending, piece)

    def chunk(self) -> ChatGenerationChunk | None:
        """A chunk of all events added since the last chunk; None if none were."""
        piece, self._pending = self._pending, None
        if piece is None:
            return None
        self._joined, self._given = 0, self._given + 1
        piece.thoughts, piece.reasoning, self._thoughts = "".join(self._thoughts), (), []
        return _chunk_of(self._with_news_only(piece))

    def _with_news_only(self, piece: Answer) -> Answer:
        """``piece`` with finish reason, stop sequence and metadata only once, and with the increase of usage."""
        if piece.usage is not None:
            told, self._usage = self._usage, latest_usage(self._usage, piece.usage)
            piece.usage = None if told == self._usage else _difference(self._usage, told)
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
        """The last chunk, with the content held back until the end of the stream; None if nothing was.

        Raises:
            ExcessError: Too many characters of tool calls' arguments are no JSON.
        """
        reason = self._reason or (self._pending.reason if self._pending is not None else None)
        held = self._calls.held_back(was_cut=reason == "length")
        last = Answer(UNKNOWN if self._half else "", calls=self._calls.without_id())
        if self._pending is not None and self._pending.calls:
            last.calls, held = [*last.calls, *held], []
        if held or last.text or last.calls or self._reasoning or (self._reason is None and self._metadata):
            self._pending = _joined(self._pending, last)
        made = self.chunk()
        if made is not None and self._reasoning:
            # Once and whole: LangChain would join the objects' names as well.
            made.message.additional_kwargs[REASONING_KEY] = whole_blocks(self._reasoning)
        if made is not None and held:
            # Put in afterwards: LangChain would read each piece as if it was the whole.
            made.message.tool_call_chunks += map(chunk_of_call, held)  # type: ignore[attr-defined]
        return made


def _joined(first: Answer | None, second: Answer) -> Answer:
    if first is None:
        return second
    first.join(second)
    return first


def _chunk_of(piece: Answer) -> ChatGenerationChunk:
    message = AIMessageChunk(
        content=piece.content(),
        additional_kwargs=piece.additional_kwargs(),
        response_metadata=piece.response_metadata(),
        usage_metadata=piece.usage,
        tool_call_chunks=[chunk_of_call(call) for call in one_for_each(piece.calls)] if piece.calls else [],
    )
    return ChatGenerationChunk(message=message)


def _difference(now: Any, before: Any) -> Any:
    """The value to add to ``before`` to get ``now``, because LangChain adds chunks up."""
    if isinstance(now, dict):
        before = before or {}
        return {name: _difference(now.get(name), before.get(name)) for name in {**before, **now}}
    return (now or 0) - (before or 0)
