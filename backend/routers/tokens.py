"""Access tokens over HTTP (`/v1/tokens`), for admins.

An admin of the operator manages all tokens, an admin of a tenant the tenant's.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from backend.access import MOST_USD, AccessToken, AccessTokenBudget, Grant, Scope, TokenManager
from backend.utils.llm.budgets import BudgetPeriod
from backend.utils.llm.rate_limits import RateField

from .dependencies import ForbiddenError, GrantDep, Services, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1/tokens", tags=["tokens"], route_class=JsonRoute)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("not_printable", "holds what cannot be printed, or is not seen")
    return text


_PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
_SEEN: Final = AfterValidator(_printable)
"""For names: what turns the direction of writing, or has no width, would show another name than is meant."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PRINTABLE), _SEEN]
Tenant = Annotated[str, StringConstraints(max_length=100, pattern=_PRINTABLE), _SEEN]


class AccessTokenBudgetInput(BaseModel):
    """The budget of a token to issue: how much of the operator's money the token's calls may cost.

    Attributes:
        usd: The amount in US dollars, as a decimal number in a string.
        period: The period that the amount is for: a day, a month, or the token's whole life.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Annotated[Decimal, Field(gt=0, le=MOST_USD, max_digits=19, decimal_places=12)]
    period: BudgetPeriod


class IssueTokenRequest(BaseModel):
    """The body of a request to issue an access token.

    Attributes:
        name: What the token is for.
        user_id: The user as whom the token acts.
        tenant_id: The only tenant whose data the token may see; None for the tenant of the issuer.
        scopes: What the token may do.
        rate: The rate limit of the token's requests, such as ``60/minute``; None for no limit.
        budget: How much of the operator's money the token's calls may cost; None for no budget of its own.
        expires_at: When the token expires; None for never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    user_id: Name
    tenant_id: Tenant | None = None
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)] = ("call",)
    rate: RateField | None = None
    budget: AccessTokenBudgetInput | None = None
    expires_at: AwareDatetime | None = None

    def to_grant(self, issuer: Grant) -> Grant:
        """Return the rights of the new token, if an admin with the rights ``issuer`` issues it.

        Raises:
            ForbiddenError: The issuer has a tenant, and the token is for another tenant.
        """
        tenant_id = issuer.tenant_id if self.tenant_id is None else self.tenant_id
        if issuer.tenant_id not in {"", tenant_id}:
            raise ForbiddenError("A token of a tenant makes tokens of that tenant alone.")
        budget = None if self.budget is None else AccessTokenBudget(self.budget.usd, self.budget.period)
        return Grant(
            self.user_id, tenant_id, frozenset(self.scopes), None, self.rate, budget, self.expires_at
        )


class TokenView(BaseModel):
    """What may be shown of an access token, without the token itself."""

    id: str
    name: str
    user_id: str
    tenant_id: str
    scopes: tuple[Scope, ...]
    rate: str | None
    budget: dict[str, str] | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def from_token(cls, token: AccessToken, **extra_fields: Any) -> "TokenView":
        """Make the view of ``token``. Subclasses pass their own fields as ``extra_fields``."""
        return cls(**token.as_dict(), **extra_fields)


class IssuedToken(TokenView):
    """The response after a token was issued.

    Attributes:
        token: The token in plain text, which the client sends with each request. Only this response contains
            it.
    """

    token: str


class TokenList(BaseModel):
    """All tokens that were ever issued, the newest first, expired and revoked ones included."""

    tokens: tuple[TokenView, ...]


@router.get("")
async def list_tokens(admin: GrantDep, services: ServicesDep) -> TokenList:
    """List all tokens that were ever issued. An admin of a tenant sees only the tenant's tokens."""
    found = await _given(services).list_tokens(admin.tenant_id or None)
    return TokenList(tokens=tuple(map(TokenView.from_token, found)))


@router.post("", status_code=201)
async def issue_token(body: IssueTokenRequest, admin: GrantDep, services: ServicesDep) -> IssuedToken:
    """Issue a token. Only this response contains the token in plain text."""
    made, plain = await _given(services).issue_token(body.to_grant(admin), body.name, actor=admin.user_id)
    return IssuedToken(**made.as_dict(), token=plain)


@router.delete("/{token_id}", status_code=204)
async def revoke_token(token_id: str, admin: GrantDep, services: ServicesDep) -> Response:
    """Revoke a token, and end every session that was opened with it. The token is refused from now on."""
    if not await _given(services).revoke_token(
        token_id, actor=admin.user_id, tenant_id=admin.tenant_id or None
    ):
        raise HTTPException(404, "There is no such token to end.")
    return Response(status_code=204)


def _given(services: Services) -> TokenManager:
    if services.given_tokens is None:
        raise HTTPException(404, "This service gives out no tokens.")
    return services.given_tokens
