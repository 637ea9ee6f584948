"""OpenAI's Chat Completions API. The model is the name of a feature, of a group or of an agent."""

from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from backend.wires.openai.chat import ChatWire

from .bodies import body_limit
from .dependencies import identify_caller
from .wire_bodies import OBJECTS, TEXT, describe_request_body
from .wire_routes import LONGEST_BODY, answer_request, make_wire_route_class

WIRE: Final = ChatWire()

router: Final = APIRouter(
    prefix="/v1/chat",
    tags=["completions"],
    route_class=make_wire_route_class(WIRE),
    dependencies=[Depends(identify_caller)],
)


@router.post("/completions", openapi_extra=describe_request_body(model=TEXT, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def create_chat_completion(request: Request) -> Response:
    """Create a chat completion, in the format of OpenAI's Chat Completions API."""
    return await answer_request(request, WIRE)
