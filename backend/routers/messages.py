"""Anthropic's Messages API. The model is the name of a feature, of a group or of an agent."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from backend.wires.anthropic.messages import MessagesWire
from backend.wires.anthropic.messages_answer import PING
from backend.wires.anthropic.messages_request import parse_count_tokens_request
from backend.wires.estimates import estimate_prompt_tokens

from .bodies import body_limit
from .dependencies import ServicesDep, identify_caller
from .wire_bodies import NUMBER, OBJECTS, TEXT, describe_request_body
from .wire_routes import LONGEST_BODY, answer_request, make_wire_route_class, parse_json_body

WIRE: Final = MessagesWire()

router: Final = APIRouter(
    prefix="/v1/messages",
    tags=["completions"],
    route_class=make_wire_route_class(WIRE),
    dependencies=[Depends(identify_caller)],
)


@router.post("", openapi_extra=describe_request_body(model=TEXT, max_tokens=NUMBER, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def create_message(request: Request) -> Response:
    """Create a message, in the format of Anthropic's Messages API."""
    return await answer_request(request, WIRE, ping=PING)


@router.post("/count_tokens", openapi_extra=describe_request_body(model=TEXT, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def count_tokens(request: Request, services: ServicesDep) -> dict[str, Any]:
    """Estimate the number of tokens of a prompt, for any model. No provider is called."""
    counted = await parse_json_body(request, parse_count_tokens_request)
    services.responders.find_responder(counted.model)
    return {"input_tokens": estimate_prompt_tokens(counted)}
