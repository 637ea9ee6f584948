"""Access tokens over HTTP (`/v1/tokens`), for admins: those of the operator manage all tokens, a tenant's only the tenant's."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from backend.access import MOST_USD, AccessToken, Allowance, GivenTokens, Grant, Scope
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


class Spending(BaseModel):
    """A token's budget of the house's money: US dollars as a decimal number in a text, per day, per month or in total."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Annotated[Decimal, Field(gt=0, le=MOST_USD, max_digits=19, decimal_places=12)]
    period: BudgetPeriod


class TokenRequest(BaseModel):
    """A token to issue.

    Attributes:
        name: What the token is for.
        user_id: The user as whom the token acts.
        tenant_id: The only tenant whose data the token sees; by default the tenant of the issuer.
        scopes: What the token may do.
        rate: The token's rate limit, such as ``60/minute``.
        budget: What the token's calls may cost the house.
        expires_at: When the token expires.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    user_id: Name
    tenant_id: Tenant | None = None
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)] = ("call",)
    rate: RateField | None = None
    budget: Spending | None = None
    expires_at: AwareDatetime | None = None

    def for_maker(self, maker: Grant) -> Grant:
        """The rights of the token if ``maker``, an admin, issues it.

        Raises:
            ForbiddenError: The token is for another tenant than the maker's.
        """
        tenant_id = maker.tenant_id if self.tenant_id is None else self.tenant_id
        if maker.tenant_id not in {"", tenant_id}:
            raise ForbiddenError("A token of a tenant makes tokens of that tenant alone.")
        budget = None if self.budget is None else Allowance(self.budget.usd, self.budget.period)
        return Grant(
            self.user_id, tenant_id, frozenset(self.scopes), None, self.rate, budget, self.expires_at
        )


class TokenView(BaseModel):
    """The public facts of a token, without the token itself."""

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
    def of(cls, token: AccessToken, **more: Any) -> "TokenView":
        """Select what may be shown of ``token``."""
        return cls(**token.as_dict(), **more)


class NewToken(TokenView):
    """A token that was just issued.

    Attributes:
        token: The token in plain text, for the client to send with each request. Shown only in this response.
    """

    token: str


class TokenList(BaseModel):
    """Every token that was ever issued, the newest first."""

    tokens: tuple[TokenView, ...]


@router.get("")
async def browse(admin: GrantDep, services: ServicesDep) -> TokenList:
    """Every token that was ever issued; for a tenant's admin, those of the tenant."""
    found = await _given(services).all(admin.tenant_id or None)
    return TokenList(tokens=tuple(map(TokenView.of, found)))


@router.post("", status_code=201)
async def make(wanted: TokenRequest, admin: GrantDep, services: ServicesDep) -> NewToken:
    """Issue a token. Only this response has its plain text."""
    made, plain = await _given(services).make(wanted.for_maker(admin), wanted.name, by=admin.user_id)
    return NewToken(**made.as_dict(), token=plain)


@router.delete("/{token_id}", status_code=204)
async def revoke(token_id: str, admin: GrantDep, services: ServicesDep) -> Response:
    """Revoke a token, with every session that it opened. It is refused from now on."""
    if not await _given(services).revoke(token_id, by=admin.user_id, tenant_id=admin.tenant_id or None):
        raise HTTPException(404, "There is no such token to end.")
    return Response(status_code=204)


def _given(services: Services) -> GivenTokens:
    if services.given_tokens is None:
        raise HTTPException(404, "This service gives out no tokens.")
    return services.given_tokens
