"""Plain completions by a group of endpoints: text and tool calls, in a protocol of this service's own."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from fastapi import APIRouter, Request, Response

from backend.utils.llm.caller import Caller, use_caller
from backend.wires.complete import NativeCompletionWire
from backend.wires.faults import RequestFault, RequestFaultError

from .bodies import body_limit
from .dependencies import Identity, IdentityDep
from .wire_bodies import OBJECTS, TEXT, describe_request_body
from .wire_routes import LONGEST_BODY, answer_parsed_request, make_wire_route_class, parse_wire_request

WIRE: Final = NativeCompletionWire()

router: Final = APIRouter(
    prefix="/v1/complete", tags=["completions"], route_class=make_wire_route_class(WIRE)
)


@router.post("", openapi_extra=describe_request_body(model_group=TEXT, messages=OBJECTS))
@body_limit(longest_body=LONGEST_BODY)
async def create_native_completion(request: Request, identity: IdentityDep) -> Response:
    """Create a completion, in this service's own format, with the group of endpoints in ``model_group``.

    ``tenant_id`` names the tenant on whose behalf the call is made; by default the token's tenant. Only an
    admin of the operator may name another tenant.
    """
    exchange = await parse_wire_request(request, WIRE)
    with _on_behalf_of(exchange.tenant_id, identity):
        return await answer_parsed_request(exchange, request, WIRE)


def _on_behalf_of(tenant_id: str | None, identity: Identity) -> AbstractContextManager[Caller | None]:
    """The caller for the tenant: the token's tenant counts, because anybody could write any other into a body. Only an admin may name another.

    Raises:
        RequestFaultError: The body names another one.
    """
    caller = identity.caller
    if tenant_id is None or tenant_id == caller.tenant_id:
        return nullcontext()
    if "admin" not in identity.grant.scopes or identity.grant.tenant_id:
        raise RequestFaultError(
            RequestFault(
                403, "tenant_not_allowed", "`tenant_id` is not the tenant of this token.", "tenant_id"
            )
        )
    return use_caller(caller.model_copy(update={"tenant_id": tenant_id}))
