"""Whether the process lives, and whether it can serve. Open to everybody, so it tells nothing else."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from .dependencies import ServicesDep
from .errors import BUSY
from .stopping import STOPPING

router: Final = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, services: ServicesDep, response: Response) -> dict[str, Any]:
    """The database can be read and written, and no stop is near. What else the server has stands beside, as it serves without."""
    if request.app.state.stop.is_leaving:
        response.status_code = 503
        return {"error": {**STOPPING, "reason": "stopping"}}
    if (fault := await services.database.fault()) is not None:
        response.status_code = 503
        return {"error": BUSY | {"reason": fault}}
    model = services.local_model
    failing = ", ".join(services.background.failing)
    return {
        "status": "ready",
        "local_model": model.state if model else "absent",
        "background": f"failing: {failing}" if failing else "ok",
    }
