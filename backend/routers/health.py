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
    """The database answers. What the local model is doing stands beside: the server serves without it."""
    await services.tokens.has_any()
    model = services.local_model
    return {"status": "ready", "local_model": model.state if model else "absent"}
