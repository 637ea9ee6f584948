"""Conversations over HTTP. Users see only their own."""

from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Response

from backend.conversations.processing import Entry, process
from backend.conversations.store import Conversation, InvalidCursorError, Page, Summary
from backend.conversations.transcript import Transcript

from .bodies import edge
from .dependencies import IdentityDep, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1/conversations", tags=["conversations"], route_class=JsonRoute)

LONGEST_TRANSCRIPT: Final = 5 * 1024 * 1024
"""Bytes. A day of talk is about 1 MB; 50,000 segments of a sentence each, with their times, are about 5."""


@router.post("", status_code=201, response_model=Summary)
@edge(longest_body=LONGEST_TRANSCRIPT)
async def create(
    transcript: Transcript, response: Response, identity: IdentityDep, services: ServicesDep
) -> Conversation:
    """Process a transcript and keep what came out. Failed steps are named in ``errors``."""
    entry = Entry(services.new_id(), identity.user_id, services.now())
    conversation = await process(transcript, entry, services.facade.get_llm, is_demo=services.is_demo)
    await services.conversations.add(conversation)
    response.headers["Location"] = f"{router.prefix}/{conversation.id}"
    return conversation


@router.get("/{conversation_id}")
async def read(conversation_id: str, identity: IdentityDep, services: ServicesDep) -> Conversation:
    """One conversation with its transcript."""
    return await find(services, identity, conversation_id)


@router.get("")
async def browse(
    identity: IdentityDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Page:
    """A page, newest first. The next one is asked for with ``next_cursor``, until there is none."""
    try:
        return await services.conversations.page(identity.user_id, limit=limit, cursor=cursor)
    except InvalidCursorError as error:
        raise HTTPException(422, "cursor: pass a next_cursor as it was given out, or none.") from error


async def find(services: ServicesDep, identity: IdentityDep, conversation_id: str) -> Conversation:
    """The user's conversation of that id.

    Raises:
        HTTPException: 404, the same for one that does not exist and for one of another user.
    """
    conversation = await services.conversations.get(identity.user_id, conversation_id)
    if conversation is None:
        raise HTTPException(404, "There is no such conversation.")
    return conversation
