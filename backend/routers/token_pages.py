"""The console's page of access tokens: lists, issues and revokes them, like the routes at `/v1/tokens`."""

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
from .rendering import PRIVATE, PageRoute, render_page_or_json
from .tokens import IssuedToken, IssueTokenRequest, TokenView, issue_token, list_tokens, revoke_token

router: Final = APIRouter(route_class=PageRoute, default_response_class=Response, include_in_schema=False)
SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class TokensPageView:
    """The data of the page of access tokens.

    Attributes:
        at: The current time.
        tokens: The newest tokens.
        more: Whether there are older tokens that are not shown.
        made: The token that was just issued, with its plain text, which cannot be shown again; else None.
        scopes: The scopes that a new token may be given.
        tenant_id: The tenant whose tokens are shown; empty for the tokens of everybody.
    """

    at: datetime
    tokens: tuple[TokenView, ...]
    more: bool
    made: IssuedToken | None
    scopes: tuple[str, ...]
    tenant_id: str


@router.get("/tokens")
async def show_tokens_page(request: Request, grant: GrantDep, services: ServicesDep) -> Response:
    """Show the access tokens: all of them, or those of the user's tenant."""
    return await render_page_or_json(request, "tokens", await _view(grant, services), user=grant.user_id)


@router.post("/tokens")
async def issue_token_from_form(
    form: FormDep, request: Request, grant: GrantDep, services: ServicesDep
) -> Response:
    """Issue a token as a form describes it, and show the token in plain text. It cannot be shown again."""
    made = await issue_token(_wanted(form), grant, services)
    return await render_page_or_json(
        request, "tokens", await _view(grant, services, made), user=grant.user_id
    )


@router.post("/tokens/{token_id}/revoke")
async def revoke_token_from_form(
    token_id: str, _: FormDep, grant: GrantDep, services: ServicesDep
) -> Response:
    """Revoke a token, end every session that was opened with it, and redirect to the page of tokens."""
    await revoke_token(token_id, grant, services)
    return RedirectResponse("/tokens", status_code=303, headers=PRIVATE)


async def _view(grant: Grant, services: Services, made: IssuedToken | None = None) -> TokensPageView:
    found = (await list_tokens(grant, services)).tokens
    scopes = tuple(SCOPES)
    return TokensPageView(datetime.now(UTC), found[:SHOWN], len(found) > SHOWN, made, scopes, grant.tenant_id)


def _wanted(form: Mapping[str, str]) -> IssueTokenRequest:
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
        return IssueTokenRequest.model_validate(given)
    except ValidationError as error:
        raise InvalidBodyError(error.errors(include_input=False, include_url=False)) from None
    except (ValueError, OverflowError):
        raise InvalidBodyError([{"type": "days", "loc": ("days",), "msg": "must be a number"}]) from None
