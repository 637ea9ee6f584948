"""OpenAI's Responses API. The model is the name of a feature, of a group or of an agent."""

from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from backend.wires.faults import RequestFault, RequestFaultError
from backend.wires.openai.responses import ResponsesWire

from .bodies import body_limit
from .dependencies import identify_caller
from .wire_bodies import OBJECTS, TEXT, describe_request_body
from .wire_routes import LONGEST_BODY, answer_request, make_wire_route_class

WIRE: Final = ResponsesWire()

router: Final = APIRouter(
    prefix="/v1/responses",
    tags=["completions"],
    route_class=make_wire_route_class(WIRE),
    dependencies=[Depends(identify_caller)],
)


@router.post("", openapi_extra=describe_request_body(model=TEXT, input={"anyOf": [TEXT, OBJECTS]}))
@body_limit(longest_body=LONGEST_BODY)
async def create_response(request: Request) -> Response:
    """Create a response, in the format of OpenAI's Responses API."""
    return await answer_request(request, WIRE)


@router.get("", include_in_schema=False)
async def reject_get_request(request: Request) -> Response:
    """Refuse a ``GET`` with an error, because responses are not stored and WebSockets are not supported.

    Clients that try a WebSocket first then use ``POST``.
    """
    if request.headers.get("upgrade", "").lower() == "websocket":
        raise RequestFaultError(
            RequestFault(426, "upgrade_required", "WebSockets are not served. Send the request with POST.")
        )
    raise RequestFaultError(
        RequestFault(405, "method_not_allowed", "Nothing is stored here. Send a request with POST.")
    )
