"""The models that a request may name, in OpenAI's form, or in Anthropic's for its clients."""

from typing import Any, Final

from fastapi import APIRouter, Depends, Request

from backend.wires.anthropic.models import model_info, model_page
from backend.wires.faults import UnknownModelError
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.models import model_list, model_object

from .dependencies import ServicesDep, identify
from .wire_routes import route_of

ANTHROPICS: Final = "anthropic-version"
"""The header that every client of Anthropic's API sends."""

router: Final = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    route_class=route_of(ChatWire()),
    dependencies=[Depends(identify)],
)


@router.get("")
async def models(request: Request, services: ServicesDep) -> dict[str, Any]:
    """All features, groups and agents as models."""
    found = services.responders.models()
    return model_page(found) if ANTHROPICS in request.headers else model_list(found)


@router.get("/{name:path}")
async def model(name: str, request: Request, services: ServicesDep) -> dict[str, Any]:
    """One model: a feature, a group or an agent."""
    found = next((one for one in services.responders.models() if one.name == name), None)
    if found is None:
        raise UnknownModelError(name)
    return model_info(found) if ANTHROPICS in request.headers else model_object(found)
