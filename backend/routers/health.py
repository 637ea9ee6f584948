"""Liveness and readiness. Open to everybody, so they tell nothing else."""

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
    """The process is running."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, services: ServicesDep, response: Response) -> dict[str, Any]:
    """The database can be read and written, some feature can be served by somebody's key, now or after a rest, and no stop is near.

    Missing parts of the table's configuration are listed, too; the server can serve without them.
    """
    if request.app.state.stop.is_leaving:
        response.status_code = 503
        return {"error": {**STOPPING, "reason": "stopping"}}
    fault, lacks = await asyncio.gather(
        services.database.fault(), services.readiness.lacks(services.qos_info)
    )
    if fault is not None:
        response.status_code = 503
        return {"error": BUSY | {"reason": fault}}
    if lacks.is_useless:
        response.status_code = 503
        return {"error": {**NO_FEATURE, "reason": "no_feature"}}
    model = services.local_model
    failing = ", ".join(services.background.failing)
    return {
        "status": "degraded" if lacks.is_degraded or failing else "ready",
        **lacks.as_dict(),
        "local_model": model.state if model else "absent",
        "background": f"failing: {failing}" if failing else "ok",
    }
