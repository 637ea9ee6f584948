"""OpenAI's Responses, with features, groups and agents as models."""

from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from backend.wires.faults import Fault, FaultError
from backend.wires.openai.responses import ResponsesWire

from .bodies import body_limit
from .dependencies import identify
from .wire_bodies import OBJECTS, TEXT, body_with
from .wire_routes import LONGEST_BODY, answered, route_of

WIRE: Final = ResponsesWire()

router: Final = APIRouter(
    prefix="/v1/responses",
    tags=["completions"],
    route_class=route_of(WIRE),
    dependencies=[Depends(identify)],
)


@router.post("", openapi_extra=body_with(model=TEXT, input={"anyOf": [TEXT, OBJECTS]}))
@body_limit(longest_body=LONGEST_BODY)
async def responses(request: Request) -> Response:
    """Answer a conversation."""
    return await answered(request, WIRE)


@router.get("", include_in_schema=False)
async def not_stored(request: Request) -> Response:
    """Always an error: no responses are stored to list, and no WebSocket is opened; clients then use HTTP."""
    if request.headers.get("upgrade", "").lower() == "websocket":
        raise FaultError(
            Fault(426, "upgrade_required", "WebSockets are not served. Send the request with POST.")
        )
    raise FaultError(Fault(405, "method_not_allowed", "Nothing is stored here. Send a request with POST."))
