"""Questions over a conversation, answered as server-sent events.

``delta`` events carry the text, then comes ``receipt``, then ``done``. A failure before the first piece of text is an
ordinary HTTP error; a later one is an ``error`` event, which ends the stream.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from backend.conversations.chat import MAX_QUESTION, Delta, Finished, answer
from backend.conversations.text import WHOLE
from backend.utils.llm.errors import LLMError
from backend.wires.sse import json_event

from .conversations import find
from .dependencies import IdentityDep, ServicesDep
from .disconnect import while_connected
from .errors import INTERNAL
from .event_stream import EventStream
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
class BegunAnswer:
    """An answer whose first piece of text has arrived, so that the HTTP status can be sent."""

    first: Piece
    rest: AsyncGenerator[Piece, None]

    async def pieces(self) -> AsyncIterator[Piece]:
        """All pieces of the answer, as they come."""
        yield self.first
        async for piece in self.rest:
            yield piece


async def begin(
    request: Request, question: Question, identity: IdentityDep, services: ServicesDep
) -> AsyncIterator[BegunAnswer]:
    """Ask the question, and wait for the first piece of the answer. If the client disconnects, the provider's stream is closed."""
    conversation = await find(services, identity, question.conversation_id)
    if conversation.transcript.is_empty:
        raise HTTPException(409, "Nothing was said in this conversation, so there is nothing to ask about.")
    async with aclosing(answer(conversation, question.question, services.facade.get_llm)) as pieces:
        async with while_connected(request.receive):
            first = await anext(pieces)
        yield BegunAnswer(first, pieces)


@router.post("", response_class=EventStream)
async def chat(begun: Annotated[BegunAnswer, Depends(begin)]) -> EventStream:
    """Answer a question over a conversation."""
    return EventStream(_events(begun))


async def _events(begun: BegunAnswer) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in begun.pieces():
            yield _event(piece)
    except LLMError as error:
        yield json_event(error.as_dict(), "error")
    except Exception:  # the status line is long gone: this is the only way to tell
        log.exception("http.stream_broke")
        yield json_event(INTERNAL, "error")
    else:
        yield json_event({}, "done")


def _event(piece: Piece) -> bytes:
    if isinstance(piece, Delta):
        return json_event({"text": piece.text}, "delta")
    return json_event(piece.receipt or {}, "receipt")
