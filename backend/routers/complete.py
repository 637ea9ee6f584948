"""Plain completions by a group of endpoints: text and tool calls, in a protocol of our own instead of a vendor's."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from fastapi import APIRouter, Request, Response

from backend.utils.llm.caller import Caller, use_caller
from backend.wires.complete import PlainWire
from backend.wires.faults import Fault, FaultError

from .bodies import body_limit
from .dependencies import Identity, IdentityDep
from .wire_bodies import OBJECTS, TEXT, body_with
from .wire_routes import LONGEST_BODY, answer_to, read, route_of

WIRE: Final = PlainWire()

router: Final = APIRouter(prefix="/v1/complete", tags=["completions"], route_class=route_of(WIRE))


@router.post("", openapi_extra=body_with(model_group=TEXT, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def complete(request: Request, identity: IdentityDep) -> Response:
    """Answer messages by a group, on behalf of a tenant."""
    exchange = await read(request, WIRE)
    with _on_behalf_of(exchange.tenant_id, identity):
        return await answer_to(exchange, request, WIRE)


def _on_behalf_of(tenant_id: str | None, identity: Identity) -> AbstractContextManager[Caller | None]:
    """The caller for the tenant: the token's tenant counts, because anybody could write any other into a body. Only an admin may name another.

    Raises:
        FaultError: The body names another one.
    """
    caller = identity.caller
    if tenant_id is None or tenant_id == caller.tenant_id:
        return nullcontext()
    if "admin" not in identity.grant.scopes or identity.grant.tenant_id:
        raise FaultError(
            Fault(403, "tenant_not_allowed", "`tenant_id` is not the tenant of this token.", "tenant_id")
        )
    return use_caller(caller.model_copy(update={"tenant_id": tenant_id}))
