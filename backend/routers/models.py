"""The models that a request may name, in OpenAI's form, or in Anthropic's for its clients."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request

from backend.wires.anthropic.messages import MessagesWire
from backend.wires.anthropic.models import model_info, model_page, read_page
from backend.wires.faults import UnknownModelError
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.models import model_list, model_object
from backend.wires.wire import Wire

from .dependencies import ServicesDep, identify
from .wire_routes import route_of

ANTHROPICS: Final = "anthropic-version"
"""The header that every client of Anthropic's API sends."""

_WIRE_OF_OPENAI: Final = ChatWire()
_WIRE_OF_ANTHROPIC: Final = MessagesWire()


def wire_for(request: Request) -> Wire:
    """The wire that the client speaks, by its headers."""
    return _WIRE_OF_ANTHROPIC if ANTHROPICS in request.headers else _WIRE_OF_OPENAI


router: Final = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    route_class=route_of(wire_for),
    dependencies=[Depends(identify)],
)


@router.get("")
async def models(
    request: Request,
    services: ServicesDep,
    limit: str | None = None,
    after_id: str | None = None,
    before_id: str | None = None,
) -> dict[str, Any]:
    """All features, groups and agents as models; for clients of Anthropic's, a page of them."""
    found = services.responders.models()
    return (
        model_page(found, read_page(limit, after_id, before_id))
        if ANTHROPICS in request.headers
        else model_list(found)
    )


@router.get("/{name:path}")
async def model(name: str, request: Request, services: ServicesDep) -> dict[str, Any]:
    """One model: a feature, a group or an agent."""
    found = next((one for one in services.responders.models() if one.name == name), None)
    if found is None:
        raise UnknownModelError(name)
    return model_info(found) if ANTHROPICS in request.headers else model_object(found)
