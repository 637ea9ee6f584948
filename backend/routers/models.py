"""Lists the models that a request may name, in OpenAI's format or, for Anthropic's clients, in Anthropic's."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request

from backend.wires.anthropic.messages import MessagesWire
from backend.wires.anthropic.models import parse_model_page_query, to_anthropic_model, to_anthropic_model_page
from backend.wires.faults import UnknownModelError
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.models import to_openai_model, to_openai_model_list
from backend.wires.wire import Wire

from .dependencies import ServicesDep, identify_caller
from .wire_routes import make_wire_route_class

ANTHROPICS: Final = "anthropic-version"
"""The header that every client of Anthropic's API sends."""

_WIRE_OF_OPENAI: Final = ChatWire()
_WIRE_OF_ANTHROPIC: Final = MessagesWire()


def choose_wire_protocol(request: Request) -> Wire:
    """Choose the API format of the response: Anthropic's if the request has its header, else OpenAI's."""
    return _WIRE_OF_ANTHROPIC if ANTHROPICS in request.headers else _WIRE_OF_OPENAI


router: Final = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    route_class=make_wire_route_class(choose_wire_protocol),
    dependencies=[Depends(identify_caller)],
)


@router.get("")
async def list_models(
    request: Request,
    services: ServicesDep,
    limit: str | None = None,
    after_id: str | None = None,
    before_id: str | None = None,
) -> dict[str, Any]:
    """List all features, groups and agents as models. Clients of Anthropic's API get a page of the list."""
    found = services.responders.list_models()
    return (
        to_anthropic_model_page(found, parse_model_page_query(limit, after_id, before_id))
        if ANTHROPICS in request.headers
        else to_openai_model_list(found)
    )


@router.get("/{name:path}")
async def read_model(name: str, request: Request, services: ServicesDep) -> dict[str, Any]:
    """Return one model: a feature, a group or an agent."""
    found = next((model for model in services.responders.list_models() if model.name == name), None)
    if found is None:
        raise UnknownModelError(name)
    return to_anthropic_model(found) if ANTHROPICS in request.headers else to_openai_model(found)
