"""What runs on what, and why."""

from typing import Any, Final

from fastapi import APIRouter, Depends

from backend.utils.llm.clients import QosInfo

from .dependencies import ServicesDep, identify

router: Final = APIRouter(prefix="/v1/llm", tags=["llm"], dependencies=[Depends(identify)])


@router.get("/qos")
async def qos(services: ServicesDep) -> QosInfo:
    """The whole table in force, without secrets."""
    return services.facade.get_qos_info()


@router.get("/explain/{feature}")
async def explain(feature: str, services: ServicesDep) -> dict[str, Any]:
    """How a call of ``feature`` by this caller, made now, would be served. Nothing is sent."""
    return services.facade.explain(feature).as_dict()
