"""Shows the feature table in force (`/v1/llm/qos`), and explains the routing of calls (`/v1/llm/explain`)."""

import asyncio
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from backend.utils.llm.caller import current_caller
from backend.utils.llm.diagnostics.qos import QosInfo

from .dependencies import IdentityDep, ServicesDep, identify_caller
from .own_plan import redact_explanation


class CallNeedsQuery(BaseModel):
    """The query parameters of a request to explain a call: what the call needs of a model.

    For a missing parameter, what the feature table declares for the feature is used.
    """

    model_config = ConfigDict(extra="forbid")

    tools: bool | None = None
    structured: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    pdf: bool | None = None
    tokens: int = Field(0, ge=0, description="Length of the prompt.")
    conversation: str | None = Field(None, max_length=200, description="What the call belongs to.")


router: Final = APIRouter(prefix="/v1/llm", tags=["llm"], dependencies=[Depends(identify_caller)])


@router.get("/qos")
async def read_qos_info(services: ServicesDep) -> QosInfo:
    """Return the feature table in force, with the health and limits of its endpoints. It contains no secrets."""
    return await services.compute_qos_info()


@router.get("/explain/{feature}")
async def explain_route(
    feature: str, services: ServicesDep, identity: IdentityDep, query: Annotated[CallNeedsQuery, Query()]
) -> dict[str, Any]:
    """Explain which endpoint would serve a call of ``feature`` by this user now, and why.

    Nothing is sent to a provider.

    Users see the balances of their own budgets; admins see all balances. Effects of other users' calls, such
    as endpoints on cooldown, and the authors of overrides are shown only to users who may see the whole
    feature table.
    """
    given = {
        "tools": query.tools,
        "structured_output": query.structured,
        "images": query.images,
        "audio": query.audio,
        "video": query.video,
        "pdf": query.pdf,
        "tokens": query.tokens,
    }
    stated_needs: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    needs = services.facade.declared_needs(feature)._replace(**stated_needs)
    caller = current_caller()
    if query.conversation is not None:
        caller = caller.model_copy(update={"conversation_id": query.conversation})
    work = partial(services.facade.explain, feature, caller=caller, needs=needs)
    return redact_explanation(identity.grant, (await asyncio.to_thread(work)).as_dict())
