"""Whether the process lives, and whether it can serve. Open to everybody, so it tells nothing else."""

from typing import Final

from fastapi import APIRouter

from .dependencies import ServicesDep

router: Final = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(services: ServicesDep) -> dict[str, str]:
    """The database answers. What else the server has stands beside, as it serves without."""
    await services.tokens.has_any()
    model = services.local_model
    failing = ", ".join(services.background.failing)
    return {
        "status": "ready",
        "local_model": model.state if model else "absent",
        "background": f"failing: {failing}" if failing else "ok",
    }
