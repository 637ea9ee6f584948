"""The models that a request may name, in OpenAI's form."""

from typing import Any, Final

from fastapi import APIRouter, Depends

from backend.wires.faults import UnknownModelError
from backend.wires.openai.chat import ChatWire
from backend.wires.openai.models import model_list, model_object

from .dependencies import ServicesDep, identify
from .wire_routes import route_of

router: Final = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    route_class=route_of(ChatWire()),
    dependencies=[Depends(identify)],
)


@router.get("")
async def models(services: ServicesDep) -> dict[str, Any]:
    """All features, groups and agents."""
    return model_list(services.responders.models())


@router.get("/{name:path}")
async def model(name: str, services: ServicesDep) -> dict[str, Any]:
    """One of them."""
    found = next((one for one in services.responders.models() if one.name == name), None)
    if found is None:
        raise UnknownModelError(name)
    return model_object(found)
