"""The page of access tokens: lists, issues and revokes them, as over `/v1/tokens`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from backend.access import SCOPES, Grant

from .dependencies import GrantDep, Services, ServicesDep
from .forms import FormDep
from .json_model import InvalidBodyError
from .rendering import PRIVATE, Page, rendered
from .tokens import NewToken, TokenRequest, TokenView, browse
from .tokens import make as make_token
from .tokens import revoke as revoke_token

router: Final = APIRouter(route_class=Page, default_response_class=Response, include_in_schema=False)
SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class TokensView:
    """The view of access tokens.

    Attributes:
        tokens: The newest tokens; ``more`` if there are others.
        made: The token that was just issued. Shown only this once.
        scopes: The scopes that a token may be given.
        tenant_id: The reader's tenant; blank if they see all tokens.
    """

    at: datetime
    tokens: tuple[TokenView, ...]
    more: bool
    made: NewToken | None
    scopes: tuple[str, ...]
    tenant_id: str


@router.get("/tokens")
async def tokens(request: Request, grant: GrantDep, services: ServicesDep) -> Response:
    """Every token that was issued."""
    return await rendered(request, "tokens", await _view(grant, services), user=grant.user_id)


@router.post("/tokens")
async def make(form: FormDep, request: Request, grant: GrantDep, services: ServicesDep) -> Response:
    """Issue a token, and show it this once."""
    made = await make_token(_wanted(form), grant, services)
    return await rendered(request, "tokens", await _view(grant, services, made), user=grant.user_id)


@router.post("/tokens/{token_id}/revoke")
async def revoke(token_id: str, _: FormDep, grant: GrantDep, services: ServicesDep) -> Response:
    """Revoke a token, with every session that it opened."""
    await revoke_token(token_id, grant, services)
    return RedirectResponse("/tokens", status_code=303, headers=PRIVATE)


async def _view(grant: Grant, services: Services, made: NewToken | None = None) -> TokensView:
    found = (await browse(grant, services)).tokens
    scopes = tuple(SCOPES)
    return TokensView(datetime.now(UTC), found[:SHOWN], len(found) > SHOWN, made, scopes, grant.tenant_id)


def _wanted(form: Mapping[str, str]) -> TokenRequest:
    """The token that the form's fields ask for; blank fields are left out.

    Raises:
        InvalidBodyError: A field is invalid.
    """
    given: dict[str, Any] = {
        name: form[name] for name in ("name", "user_id", "tenant_id", "rate") if form.get(name)
    }
    given["scopes"] = tuple(scope for scope in SCOPES if form.get(scope))
    if form.get("usd"):
        given["budget"] = {"usd": form["usd"], "period": form.get("period", "month")}
    try:
        if form.get("days"):
            given["expires_at"] = datetime.now(UTC) + timedelta(days=int(form["days"]))
        return TokenRequest.model_validate(given)
    except ValidationError as error:
        raise InvalidBodyError(error.errors(include_input=False, include_url=False)) from None
    except (ValueError, OverflowError):
        raise InvalidBodyError([{"type": "days", "loc": ("days",), "msg": "must be a number"}]) from None
