"""The liveness and readiness checks. They need no token, so they show nothing but the state of the service."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from .dependencies import ServicesDep
from .errors import BUSY
from .stopping import STOPPING

NO_FEATURE: Final = {
    "code": "no_feature",
    "message": "No feature of the table can be served. `python -m backend check` says why.",
}

router: Final = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Report that the process is running. Nothing else is checked."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, services: ServicesDep, response: Response) -> dict[str, Any]:
    """Report whether the service can serve requests; status 503 if it cannot.

    It can if the database can be read and written, at least one feature can be served with somebody's key,
    and the server is not about to stop. Endpoints on cooldown count as able to serve. Missing configuration
    is listed, but does not make the service unready.
    """
    if request.app.state.stop.is_leaving:
        response.status_code = 503
        return {"error": {**STOPPING, "reason": "stopping"}}
    fault, lacks = await asyncio.gather(
        services.database.find_fault(), services.readiness.get_report(services.compute_qos_info)
    )
    if fault is not None:
        response.status_code = 503
        return {"error": BUSY | {"reason": fault}}
    if lacks.is_out_of_service:
        response.status_code = 503
        return {"error": {**NO_FEATURE, "reason": "no_feature"}}
    model = services.local_model
    failing = ", ".join(services.background.failing_tasks)
    return {
        "status": "degraded" if lacks.is_degraded or failing else "ready",
        **lacks.as_dict(),
        "local_model": model.state if model else "absent",
        "background": f"failing: {failing}" if failing else "ok",
    }
