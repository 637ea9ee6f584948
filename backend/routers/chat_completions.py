"""OpenAI's Chat Completions, with features, groups and agents as models."""

from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from backend.wires.openai.chat import ChatWire

from .bodies import body_limit
from .dependencies import identify
from .wire_bodies import OBJECTS, TEXT, body_with
from .wire_routes import LONGEST_BODY, answered, route_of

WIRE: Final = ChatWire()

router: Final = APIRouter(
    prefix="/v1/chat",
    tags=["completions"],
    route_class=route_of(WIRE),
    dependencies=[Depends(identify)],
)


@router.post("/completions", openapi_extra=body_with(model=TEXT, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    return await answered(request, WIRE)
