"""Shows the table in force (`/v1/llm/qos`), and explains how a call would be routed (`/v1/llm/explain`)."""

import asyncio
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from backend.utils.llm.caller import current_caller
from backend.utils.llm.diagnostics.qos import QosInfo

from .dependencies import IdentityDep, ServicesDep, identify
from .own_plan import visible_to


class CallNeeds(BaseModel):
    """The needs of a call. By default, those that the feature's row declares."""

    model_config = ConfigDict(extra="forbid")

    tools: bool | None = None
    structured: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    pdf: bool | None = None
    tokens: int = Field(0, ge=0, description="Length of the prompt.")
    conversation: str | None = Field(None, max_length=200, description="What the call belongs to.")


router: Final = APIRouter(prefix="/v1/llm", tags=["llm"], dependencies=[Depends(identify)])


@router.get("/qos")
async def qos(services: ServicesDep) -> QosInfo:
    """The whole table in force, without secrets."""
    return await services.qos_info()


@router.get("/explain/{feature}")
async def explain(
    feature: str, services: ServicesDep, identity: IdentityDep, wanted: Annotated[CallNeeds, Query()]
) -> dict[str, Any]:
    """Explain how a call of ``feature`` by this caller, made now, would be served. Nothing is sent.

    Callers see the balances of their own budgets; admins see all. Effects of other users' calls, such as resting
    endpoints, and the authors of overrides are shown only to those who may see the table.
    """
    given = {
        "tools": wanted.tools,
        "structured_output": wanted.structured,
        "images": wanted.images,
        "audio": wanted.audio,
        "video": wanted.video,
        "pdf": wanted.pdf,
        "tokens": wanted.tokens,
    }
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    needs = services.facade.declared_needs(feature)._replace(**said)
    caller = current_caller()
    if wanted.conversation is not None:
        caller = caller.model_copy(update={"conversation_id": wanted.conversation})
    work = partial(services.facade.explain, feature, caller=caller, needs=needs)
    return visible_to(identity.grant, (await asyncio.to_thread(work)).as_dict())
