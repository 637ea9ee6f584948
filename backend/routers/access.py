"""Authorization: a table of all routes, each with the scopes that allow it.

A route without a row is refused to everybody. Tests check every route against its row, with each scope and without any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import HTTPConnection

    from backend.access import Grant, Scope


class RouteAccess(NamedTuple):
    """The rule that says which access tokens may use a route.

    Attributes:
        scopes: The token needs one of these scopes or ``admin``. Empty means ``admin`` only; None means that
            the route is open to everybody, even without a token.
        is_of_the_house: Whether the route shows or changes data of the whole service. Tokens that belong to
            a tenant are then refused.
    """

    scopes: frozenset[Scope] | None
    is_of_the_house: bool = False


OPEN: Final = RouteAccess(None)
CALL: Final = RouteAccess(frozenset({"call"}))
DEBUG: Final = RouteAccess(frozenset({"debug"}))
ANY: Final = RouteAccess(frozenset({"call", "debug"}))
ADMIN: Final = RouteAccess(frozenset())
HOUSE_ANY: Final = ANY._replace(is_of_the_house=True)
HOUSE_DEBUG: Final = DEBUG._replace(is_of_the_house=True)
HOUSE_ADMIN: Final = ADMIN._replace(is_of_the_house=True)

ROUTES: Final[Mapping[str, RouteAccess]] = {
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /login": OPEN,
    "POST /login": OPEN,
    "POST /logout": OPEN,
    "GET /static/{name}": OPEN,
    "GET /": ANY,
    "GET /features": HOUSE_DEBUG,
    "GET /explain": HOUSE_DEBUG,
    "GET /requests": HOUSE_DEBUG,
    "GET /requests/{call}": HOUSE_DEBUG,
    "GET /spend": HOUSE_DEBUG,
    "GET /config": HOUSE_DEBUG,
    "POST /config/overrides": HOUSE_ADMIN,
    "POST /config/overrides/{override_id}/revert": HOUSE_ADMIN,
    "GET /models": HOUSE_DEBUG,
    "GET /conversations": CALL,
    "GET /agents": CALL,
    "POST /agents/confirmations/{confirmation_id}": CALL,
    "GET /playground": CALL,
    "GET /tokens": ADMIN,
    "POST /tokens": ADMIN,
    "POST /tokens/{token_id}/revoke": ADMIN,
    "GET /openapi.json": ANY,
    "GET /docs": ANY,
    "GET /metrics": HOUSE_ANY,
    "POST /v1/chat": CALL,
    "POST /v1/chat/completions": CALL,
    "GET /v1/agents": CALL,
    "POST /v1/agents/{agent}/runs": CALL,
    "DELETE /v1/agents/{agent}/conversations/{conversation_id}": CALL,
    "GET /v1/runs": CALL,
    "GET /v1/runs/{run_id}": CALL,
    "DELETE /v1/runs/{run_id}": CALL,
    "POST /v1/runs/{run_id}/resume": CALL,
    "GET /v1/confirmations": CALL,
    "GET /v1/confirmations/{confirmation_id}": CALL,
    "POST /v1/confirmations/{confirmation_id}": CALL,
    "POST /v1/complete": CALL,
    "POST /v1/messages": CALL,
    "POST /v1/messages/count_tokens": CALL,
    "POST /v1/responses": CALL,
    "GET /v1/responses": CALL,
    "GET /v1/models": CALL,
    "GET /v1/models/{name:path}": CALL,
    "GET /v1/conversations": CALL,
    "POST /v1/conversations": CALL,
    "GET /v1/conversations/{conversation_id}": CALL,
    "GET /v1/keys": CALL,
    "PUT /v1/keys": CALL,
    "PUT /v1/keys/own": CALL,
    "GET /v1/keys/{provider}": CALL,
    "PUT /v1/keys/{provider}": CALL,
    "DELETE /v1/keys/{provider}": CALL,
    "POST /v1/keys/{provider}/test": CALL,
    "GET /v1/users/me/usage": ANY,
    "GET /v1/users/me/budgets": ANY,
    "GET /v1/llm/qos": HOUSE_DEBUG,
    "GET /v1/llm/explain/{feature}": ANY,
    "GET /v1/usage": DEBUG,
    "GET /v1/usage/requests": DEBUG,
    "GET /v1/usage/requests/{call}": DEBUG,
    "GET /v1/budgets": HOUSE_DEBUG,
    "POST /v1/budgets/{name}/raise": HOUSE_ADMIN,
    "POST /v1/budgets/{name}/reset": HOUSE_ADMIN,
    "GET /v1/llm/overrides": HOUSE_DEBUG,
    "POST /v1/llm/overrides": HOUSE_ADMIN,
    "DELETE /v1/llm/overrides/{override_id}": HOUSE_ADMIN,
    "GET /v1/tokens": ADMIN,
    "POST /v1/tokens": ADMIN,
    "DELETE /v1/tokens/{token_id}": ADMIN,
}
"""By method and path template. A WebSocket's method is ``WEBSOCKET``."""


def can_use_route(access: RouteAccess, grant: Grant) -> bool:
    """Whether a token with the rights ``grant`` may use a route that has the access rule ``access``."""
    if access.scopes is None:
        return True
    return grant.has_any_scope(access.scopes) and not (access.is_of_the_house and grant.tenant_id)


def find_route_access(connection: HTTPConnection) -> RouteAccess | None:
    """Find the access rule in `ROUTES` of the route that serves ``connection``; None if there is no rule."""
    method = connection.scope.get("method", "WEBSOCKET")
    path = getattr(connection.scope.get("route"), "path", "")
    rows: Mapping[str, RouteAccess] = connection.app.state.access
    return rows.get(f"{method} {path}")
