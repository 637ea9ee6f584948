"""Conversations over HTTP. Users see only their own."""

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response

from backend.conversations.creation import CreationRequest
from backend.conversations.store import (
    Conversation,
    ConversationPage,
    ConversationSummary,
    InvalidCursorError,
)
from backend.conversations.transcript import Transcript

from .bodies import body_limit
from .dependencies import IdentityDep, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1/conversations", tags=["conversations"], route_class=JsonRoute)

LONGEST_TRANSCRIPT: Final = 5 * 1024 * 1024
"""The most bytes of a transcript. A day of talk is about 1 MB; 50,000 one-sentence segments are about 5."""
LONGEST_KEY: Final = 255
IDEMPOTENCY_KEY: Final = "Idempotency-Key"

_KEY: Final = re.compile(rf'(?P<quote>"?)(?P<key>[!#-\[\]-~]{{1,{LONGEST_KEY}}})(?P=quote)')
"""A string of RFC 8941 without blanks and escapes, as the draft of the header wants it, or the same without its quotes."""


async def read_idempotency_key(
    request: Request,
    _: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description="With the same key and the same transcript, a user gets the same conversation, whatever happened to "
            f"the request before. 1 to {LONGEST_KEY} visible characters of ASCII, without quotes and backslashes.",
        ),
    ] = None,
) -> str | None:
    """Read the request's idempotency key, without quotes; None if the request has none. A FastAPI dependency.

    Raises:
        HTTPException: The header is malformed or repeated (400). If it were ignored, a repeated request
            would call the models, and cost money, again.
    """
    came = request.headers.getlist(IDEMPOTENCY_KEY)
    if not came:
        return None
    if len(came) == 1 and (found := _KEY.fullmatch(came[0].strip())):
        return found["key"]
    raise HTTPException(
        400,
        f"{IDEMPOTENCY_KEY}: send one, of 1 to {LONGEST_KEY} visible ASCII characters without quotes and backslashes in it.",
    )


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": ConversationSummary,
        "description": "Made and kept, and not yet stored: the database is busy. It is found where `Location` says.",
    },
    400: {"description": "`Idempotency-Key` is none."},
    409: {
        "description": "`under_way`: an earlier request with this key takes long. `Retry-After` says when to ask again."
    },
    422: {
        "description": "`invalid_request`, or `idempotency_key_reused`: the key came with another transcript before."
    },
    503: {
        "description": "`storage_unavailable` or `server_stopping`. With the same key, nothing is paid for again."
    },
}


@router.post("", status_code=201, response_model=ConversationSummary, responses=_RESPONSES)
@body_limit(longest_body=LONGEST_TRANSCRIPT)
async def create_conversation(
    transcript: Transcript,
    response: Response,
    identity: IdentityDep,
    services: ServicesDep,
    idempotency_key: Annotated[str | None, Depends(read_idempotency_key)],
) -> Conversation:
    """Process a transcript and store the resulting conversation. Steps that failed are listed in ``errors``."""
    order = CreationRequest(
        transcript, identity.owner, services.facade.get_llm, services.is_served_by_demo, idempotency_key
    )
    created = await services.creation.create(order)
    response.status_code = 201 if created.is_stored else 202
    response.headers["Location"] = f"{router.prefix}/{created.conversation.id}"
    return created.conversation


@router.get("/{conversation_id}", response_model=Conversation)
async def read_conversation(conversation_id: str, identity: IdentityDep, services: ServicesDep) -> Response:
    """Return a conversation with its transcript, which can be several megabytes long."""
    found = await get_conversation_or_404(services, identity, conversation_id)
    return Response(await asyncio.to_thread(found.model_dump_json), media_type="application/json")


@router.get("")
async def list_conversations(
    identity: IdentityDep,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> ConversationPage:
    """List the user's conversations page by page, the newest first.

    Pass ``next_cursor`` of a page as ``cursor`` to get the next page; it is null on the last page.
    """
    try:
        return await services.conversations.list_page(identity.owner, limit=limit, cursor=cursor)
    except InvalidCursorError as error:
        raise HTTPException(422, "cursor: pass a next_cursor as it was given out, or none.") from error


async def get_conversation_or_404(
    services: ServicesDep, identity: IdentityDep, conversation_id: str
) -> Conversation:
    """Return the user's conversation with the given id.

    Raises:
        HTTPException: The conversation does not exist or belongs to another user (404 in both cases).
    """
    conversation = await services.creation.find(identity.owner, conversation_id)
    if conversation is None:
        raise HTTPException(404, "There is no such conversation.")
    return conversation
