"""Questions over a conversation, answered as server-sent events.

``delta`` events carry the text, then comes ``receipt``, then ``done``. What fails before the first piece of text is an
ordinary HTTP error; what fails after it is an ``error`` event, and ends the stream.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, StringConstraints

from backend.conversations.chat import MAX_QUESTION, Delta, Finished, answer
from backend.conversations.text import WHOLE
from backend.utils.llm.errors import LLMError

from .conversations import find
from .dependencies import IdentityDep, ServicesDep
from .disconnect import while_connected
from .errors import INTERNAL
from .json_bodies import JsonRoute

log = logging.getLogger(__name__)

router: Final = APIRouter(prefix="/v1/chat", tags=["chat"], route_class=JsonRoute)

Piece = Delta | Finished


class Question(BaseModel):
    """A question about a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversation_id: Annotated[str, WHOLE]
    question: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION), WHOLE
    ]


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer whose first piece is there."""

    first: Piece
    rest: AsyncGenerator[Piece, None]

    async def pieces(self) -> AsyncIterator[Piece]:
        """The first piece, then the others as they come."""
        yield self.first
        async for piece in self.rest:
            yield piece


async def begin(
    request: Request, question: Question, identity: IdentityDep, services: ServicesDep
) -> AsyncIterator[Begun]:
    """Ask, and wait for the first piece. When the client is gone, before it or after, the provider's stream is closed."""
    conversation = await find(services, identity, question.conversation_id)
    if conversation.transcript.is_empty:
        raise HTTPException(409, "Nothing was said in this conversation, so there is nothing to ask about.")
    async with aclosing(answer(conversation, question.question, services.facade.get_llm)) as pieces:
        async with while_connected(request):
            first = await anext(pieces)
        yield Begun(first, pieces)


@router.post("", response_class=EventSourceResponse)
async def chat(begun: Annotated[Begun, Depends(begin)]) -> AsyncIterator[ServerSentEvent]:
    """Answer a question over a conversation."""
    try:
        async for piece in begun.pieces():
            yield _event(piece)
    except LLMError as error:
        yield ServerSentEvent(event="error", data=error.as_dict())
    except Exception:  # the status line is long gone: this is the only way to tell
        log.exception("http.stream_broke")
        yield ServerSentEvent(event="error", data=INTERNAL)
    else:
        yield ServerSentEvent(event="done", data={})


def _event(piece: Piece) -> ServerSentEvent:
    if isinstance(piece, Delta):
        return ServerSentEvent(event="delta", data={"text": piece.text})
    return ServerSentEvent(event="receipt", data=piece.receipt or {})
