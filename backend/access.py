"""Access: which user an access token or a browser session acts as, its scopes, its rate limit and its budget."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, Self, get_args

from backend.utils.llm.budgets import Budget, BudgetPeriod, pico_usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from backend.utils.llm.rate_limits import Rate

ADMIN: Final = "admin"
"""The first user, who runs the service."""

Scope = Literal["call", "debug", "admin"]
"""``call``: call features, with the user's own keys and conversations. ``debug``: see what runs, and everybody's usage. ``admin``:
change what everybody runs on; includes the other two."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PERIODS: Final[tuple[BudgetPeriod, ...]] = get_args(BudgetPeriod)
MOST_USD: Final = 1_000_000
_DOLLARS: Final = re.compile(r"\d{1,7}(\.\d{1,12})?")


class Owner(NamedTuple):
    """The owner of stored data: a user and the user's tenant. ``tenant_id`` is blank where there are no tenants."""

    user_id: str
    tenant_id: str = ""


class Allowance(NamedTuple):
    """How much of the operator's money the calls of one access token may cost, per day, per month or in total."""

    usd: Decimal
    period: BudgetPeriod

    @classmethod
    def read(cls, usd: str, period: str) -> Self:
        """Parse a budget of ``usd`` dollars, written as a decimal number, per ``period``.

        Raises:
            ValueError: ``usd`` is no amount, or ``period`` no period.
        """
        amount = Decimal(usd) if _DOLLARS.fullmatch(usd) else Decimal(0)
        known = next((each for each in PERIODS if each == period), None)
        if known is None or not 0 < amount <= MOST_USD:
            raise ValueError(f"{usd}/{period} is no budget")
        return cls(amount, known)

    def as_dict(self) -> dict[str, str]:
        """The budget as a dict that `json.dumps` accepts: ``usd`` as a decimal number in a text, and ``period``."""
        return {"usd": f"{self.usd:f}", "period": self.period}


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of an access token, or of a browser's session.

    Attributes:
        user_id: The user as whom the holder acts.
        tenant_id: The organisation whose data alone the holder sees; blank without one.
        scopes: What the holder may do.
        token_id: The access token that has these rights; None for the login link printed at the server's start.
        rate: The rate limit of the holder's requests; None for no limit.
        budget: How much of the operator's money the holder's calls may cost; None if this token has no budget of its own.
        expires_at: When the grant expires; None for never.
    """

    user_id: str
    tenant_id: str = ""
    scopes: frozenset[Scope] = frozenset({"call"})
    token_id: str | None = None
    rate: Rate | None = None
    budget: Allowance | None = None
    expires_at: datetime | None = None

    @property
    def owner(self) -> Owner:
        """The user in whose name the holder acts, with the tenant: the key under which the holder's data are stored."""
        return Owner(self.user_id, self.tenant_id)

    def may(self, scopes: frozenset[Scope]) -> bool:
        """Whether the holder has at least one of ``scopes``. The scope ``admin`` includes all others."""
        return "admin" in self.scopes or not self.scopes.isdisjoint(scopes)

    def is_over(self, now: datetime) -> bool:
        """Whether the grant has expired at ``now``; never, if it has no ``expires_at``."""
        return self.expires_at is not None and self.expires_at <= now

    def budgets(self) -> tuple[Budget, ...]:
        """The budget of the access token, in the form in which the LLM client checks it beside the budgets of the table.

        Empty if the token has no budget, or if the grant comes from no stored token.
        """
        if self.budget is None or self.token_id is None:
            return ()
        usd, period = self.budget
        return (Budget(self.token_id, "token", "usd", pico_usd(usd), period, layer="access token"),)

    def as_dict(self) -> dict[str, Any]:
        """The grant as a dict for a JSON response; ``expires_at`` stays a `datetime` or None."""
        return {
            "user_id": self.user_id,
            "tenant_id": self.tenant_id,
            "scopes": [scope for scope in SCOPES if scope in self.scopes],
            "rate": None if self.rate is None else str(self.rate),
            "budget": None if self.budget is None else self.budget.as_dict(),
            "expires_at": self.expires_at,
        }


def default_grant(user_id: str) -> Grant:
    """The rights of a new token for which no scopes were chosen: ``call`` only, but every scope for the first user, ``admin``."""
    return Grant(user_id, scopes=frozenset(SCOPES) if user_id == ADMIN else frozenset({"call"}))


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is stored and shown of an issued access token. Neither the token nor its hash is included, so it may be printed.

    Attributes:
        name: What the token is for.
        grant: The rights that the token gives.
    """

    id: str
    name: str
    grant: Grant
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None = None

    @property
    def user_id(self) -> str:
        """The user in whose name the token acts."""
        return self.grant.user_id

    def as_dict(self) -> dict[str, Any]:
        """The facts of the token as a dict for a JSON response; times stay `datetime` or None."""
        return {
            "id": self.id,
            "name": self.name,
            **self.grant.as_dict(),
            "created_at": self.created_at,
            "last_used_at": self.last_used_at,
            "revoked_at": self.revoked_at,
        }


class GivenTokens(Protocol):
    """Issues, lists and revokes access tokens."""

    async def make(self, grant: Grant, name: str, *, by: str) -> tuple[AccessToken, str]:
        """Issue a token for what ``name`` says, with the rights ``grant``, on behalf of the person ``by``.

        Returns the facts of the token, and the token as a text, which cannot be read again.
        """
        ...

    async def all(self, tenant_id: str | None = None) -> Sequence[AccessToken]:
        """Every token that was ever issued, or those of one tenant, the newest first."""
        ...

    async def revoke(self, token_id: str, *, by: str, tenant_id: str | None = None) -> bool:
        """Revoke the token with the id ``token_id``, and end the sessions that were opened with it.

        Args:
            token_id: The id of the token.
            by: The person who revokes it, for the audit trail.
            tenant_id: The only tenant whose tokens may be revoked; None for any.

        Returns:
            False if there is no such token, or it was revoked before.
        """
        ...
