"""Access rights of tokens and browser sessions: the user, the scopes, the rate limit and the budget."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, Self, get_args

from backend.utils.llm.budgets import Budget, BudgetPeriod, to_pico_usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.utils.llm.rate_limits import RateLimit

ADMIN: Final = "admin"
"""The first user, who runs the service."""

Scope = Literal["call", "debug", "admin"]
"""``call``: call features, with the user's own keys and conversations. ``debug``: see what runs, and everybody's usage. ``admin``:
change what everybody runs on; includes the other two."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PERIODS: Final[tuple[BudgetPeriod, ...]] = get_args(BudgetPeriod)
MOST_USD: Final = 1_000_000
_DOLLARS: Final = re.compile(r"\d{1,7}(\.\d{1,12})?")


class DataOwner(NamedTuple):
    """The owner of stored data: a user, and the user's tenant, which is empty for a user without tenant."""

    user_id: str
    tenant_id: str = ""


class AccessTokenBudget(NamedTuple):
    """How much of the operator's money the calls of an access token may cost.

    Attributes:
        usd: The amount in US dollars.
        period: The period that the amount is for: a day, a month, or the token's whole life.
    """

    usd: Decimal
    period: BudgetPeriod

    @classmethod
    def parse(cls, usd: str, period: str) -> Self:
        """Parse a budget from a decimal number of US dollars and the name of a period.

        Raises:
            ValueError: ``usd`` is not a positive amount up to `MOST_USD`, or ``period`` is not one of `PERIODS`.
        """
        amount = Decimal(usd) if _DOLLARS.fullmatch(usd) else Decimal(0)
        known = next((each for each in PERIODS if each == period), None)
        if known is None or not 0 < amount <= MOST_USD:
            raise ValueError(f"{usd}/{period} is no budget")
        return cls(amount, known)

    def as_dict(self) -> dict[str, str]:
        """The budget as a dict for JSON, with ``usd`` as a decimal number in a string."""
        return {"usd": f"{self.usd:f}", "period": self.period}


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of an access token or of a browser session.

    Attributes:
        user_id: The user as whom the holder acts.
        tenant_id: The only tenant whose data the holder may see; empty for a holder without a tenant.
        scopes: What the holder may do.
        token_id: The id of the stored access token that gives these rights; None if they come from no stored
            token.
        rate: The rate limit of the holder's requests; None for no limit.
        budget: How much of the operator's money the holder's calls may cost; None if the token has no budget
            of its own.
        expires_at: When the rights expire; None for never.
    """

    user_id: str
    tenant_id: str = ""
    scopes: frozenset[Scope] = frozenset({"call"})
    token_id: str | None = None
    rate: RateLimit | None = None
    budget: AccessTokenBudget | None = None
    expires_at: datetime | None = None

    @property
    def owner(self) -> DataOwner:
        """The user in whose name the holder acts, with the tenant, as the owner of stored data."""
        return DataOwner(self.user_id, self.tenant_id)

    def has_any_scope(self, scopes: frozenset[Scope]) -> bool:
        """Whether the holder has at least one of ``scopes``. The scope ``admin`` includes all others."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(scopes)

    def has_expired(self, now: datetime) -> bool:
        """Whether the rights have expired at ``now``. False if they never expire."""
        return self.expires_at is not None and self.expires_at <= now

    def access_token_budgets(self) -> tuple[Budget, ...]:
        """The token's budget as a `Budget`, which the token's LLM calls must keep besides the table's budgets.

        Empty if the token has no budget, or if the rights come from no stored token.
        """
        if self.budget is None or self.token_id is None:
            return ()
        usd, period = self.budget
        return (Budget(self.token_id, "token", "usd", to_pico_usd(usd), period, layer="access token"),)

    def as_dict(self) -> dict[str, Any]:
        """The rights as a dict for a JSON response. ``expires_at`` stays a `datetime` or None."""
        return {
            "user_id": self.user_id,
            "tenant_id": self.tenant_id,
            "scopes": [scope for scope in SCOPES if scope in self.scopes],
            "rate": None if self.rate is None else str(self.rate),
            "budget": None if self.budget is None else self.budget.as_dict(),
            "expires_at": self.expires_at,
        }


def make_default_grant(user_id: str) -> Grant:
    """Make a token's default rights: every scope for the user ``admin``, only ``call`` for other users."""
    return Grant(user_id, scopes=frozenset(SCOPES) if user_id == ADMIN else frozenset({"call"}))


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is stored about an issued access token, without the token and its hash, so it may be shown.

    Attributes:
        id: The id of the token, by which it can be revoked.
        name: What the token is for.
        grant: The rights that the token gives.
        created_at: When the token was issued.
        last_used_at: When the token was last used; None if never.
        revoked_at: When the token was revoked; None if it was not.
    """

    id: str
    name: str
    grant: Grant
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None = None

    @property
    def user_id(self) -> str:
        """The user as whom the token acts."""
        return self.grant.user_id

    def as_dict(self) -> dict[str, Any]:
        """The stored data as a dict for a JSON response. Times stay `datetime` or None."""
        return {
            "id": self.id,
            "name": self.name,
            **self.grant.as_dict(),
            "created_at": self.created_at,
            "last_used_at": self.last_used_at,
            "revoked_at": self.revoked_at,
        }


class TokenManager(Protocol):
    """Issues, lists and revokes access tokens."""

    async def issue_token(self, grant: Grant, name: str, *, actor: str) -> tuple[AccessToken, str]:
        """Issue a token.

        Args:
            grant: The rights that the token gives.
            name: What the token is for.
            actor: The person who issues the token, for the audit trail.

        Returns:
            What is stored about the token, and the token in plain text, which cannot be read again.
        """
        ...

    async def list_tokens(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """List all tokens that were ever issued, of one tenant or of all, the newest first.

        Revoked and expired tokens are included.
        """
        ...

    async def revoke_token(self, token_id: str, *, actor: str, tenant_id: str | None = None) -> bool:
        """Revoke a token, and end the sessions that were opened with it.

        Args:
            token_id: The id of the token.
            actor: The person who revokes the token, for the audit trail.
            tenant_id: The only tenant whose tokens may be revoked; None for any.

        Returns:
            False if there is no such token, or it was revoked before.
        """
        ...
