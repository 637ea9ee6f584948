"""Anthropic's Messages API, with features, groups and agents as models."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from backend.wires.anthropic.messages import MessagesWire
from backend.wires.anthropic.messages_answer import PING
from backend.wires.anthropic.messages_request import read_count
from backend.wires.estimates import prompt_tokens

from .bodies import body_limit
from .dependencies import ServicesDep, identify
from .wire_bodies import NUMBER, OBJECTS, TEXT, body_with
from .wire_routes import LONGEST_BODY, answered, read_body, route_of

WIRE: Final = MessagesWire()

router: Final = APIRouter(
    prefix="/v1/messages",
    tags=["completions"],
    route_class=route_of(WIRE),
    dependencies=[Depends(identify)],
)


@router.post("", openapi_extra=body_with(model=TEXT, max_tokens=NUMBER, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def messages(request: Request) -> Response:
    """Answer a conversation."""
    return await answered(request, WIRE, ping=PING)


@router.post("/count_tokens", openapi_extra=body_with(model=TEXT, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def count_tokens(request: Request, services: ServicesDep) -> dict[str, Any]:
    """Estimate the tokens of a prompt, for any model. No provider is called."""
    counted = await read_body(request, read_count)
    services.responders.responder(counted.model)
    return {"input_tokens": prompt_tokens(counted)}
