"""Questions about a conversation, answered as server-sent events.

``delta`` events carry the text, then comes ``receipt``, then ``done``. A failure before the first piece
of text is an ordinary HTTP error; a later failure is an ``error`` event, which ends the stream.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from backend.conversations.chat import MAX_QUESTION, AnswerChunk, AnswerFinished, stream_answer
from backend.conversations.text import WHOLE
from backend.utils.llm.errors import LLMError
from backend.wires.sse import encode_json_event

from .conversations import get_conversation_or_404
from .dependencies import IdentityDep, ServicesDep
from .disconnect import cancel_on_disconnect
from .errors import INTERNAL
from .event_stream import EventStreamResponse
from .json_bodies import JsonRoute

log = logging.getLogger(__name__)

router: Final = APIRouter(prefix="/v1/chat", tags=["chat"], route_class=JsonRoute)

Piece = AnswerChunk | AnswerFinished


class ChatQuestion(BaseModel):
    """The body of a request that asks a question about a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversation_id: Annotated[str, WHOLE]
    question: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION), WHOLE
    ]


@dataclass(frozen=True, slots=True)
class ChatAnswerStream:
    """An answer that is being streamed, created only once its first piece has arrived.

    So a failure before the first piece can still be answered with an HTTP error status.
    """

    first: Piece
    rest: AsyncGenerator[Piece, None]

    async def iter_pieces(self) -> AsyncIterator[Piece]:
        """Yield all pieces of the answer as they arrive, the first piece included."""
        yield self.first
        async for piece in self.rest:
            yield piece


async def start_chat_answer(
    request: Request, question: ChatQuestion, identity: IdentityDep, services: ServicesDep
) -> AsyncIterator[ChatAnswerStream]:
    """Ask the model the question, and yield the answer once its first piece has arrived. A FastAPI dependency.

    If the client disconnects, the call to the provider is cancelled.
    """
    conversation = await get_conversation_or_404(services, identity, question.conversation_id)
    if conversation.transcript.is_empty:
        raise HTTPException(409, "Nothing was said in this conversation, so there is nothing to ask about.")
    async with aclosing(stream_answer(conversation, question.question, services.facade.get_llm)) as pieces:
        async with cancel_on_disconnect(request.receive):
            first = await anext(pieces)
        yield ChatAnswerStream(first, pieces)


@router.post("", response_class=EventStreamResponse)
async def stream_chat_answer(
    stream: Annotated[ChatAnswerStream, Depends(start_chat_answer)],
) -> EventStreamResponse:
    """Answer a question about a conversation, and stream the answer."""
    return EventStreamResponse(_events(stream))


async def _events(begun: ChatAnswerStream) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in begun.iter_pieces():
            yield _event(piece)
    except LLMError as error:
        yield encode_json_event(error.as_dict(), "error")
    except Exception:  # the status line is long gone: this is the only way to tell
        log.exception("http.stream_broke")
        yield encode_json_event(INTERNAL, "error")
    else:
        yield encode_json_event({}, "done")


def _event(piece: Piece) -> bytes:
    if isinstance(piece, AnswerChunk):
        return encode_json_event({"text": piece.text}, "delta")
    return encode_json_event(piece.receipt or {}, "receipt")
