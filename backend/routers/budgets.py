"""Budgets over HTTP: all counters (`/v1/budgets`), and the user's own counters (`/v1/users/me/budgets`)."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from backend.budgets import BudgetCounterName, BudgetManager

from .dependencies import GrantDep, OwnerDep, Services, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1", tags=["budgets"], route_class=JsonRoute)
Subject = Annotated[str, Field(min_length=1, max_length=500)]


class BudgetCounterRequest(BaseModel):
    """The body of a request about one counter of a budget.

    Attributes:
        subject: Whose spending the counter counts: a user (``acme::ann`` for the user ``ann`` of the tenant
            ``acme``), a tenant, a feature, or the owner of keys (``house`` or ``user``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject


class RaiseLimitRequest(BudgetCounterRequest):
    """The body of a request that raises the limit of a budget's counter.

    Attributes:
        amount: The amount to add: dollars as a decimal number in a string, such as ``"2.50"``, or tokens. A
            negative amount lowers the limit.
    """

    amount: Annotated[str, Field(min_length=1, max_length=40)]


@router.get("/budgets")
async def list_budgets(_: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """List all budget counters with their spending in the current period, the nearest to its limit first."""
    return {"budgets": [balance.as_dict() for balance in await _budgets(services).list_balances()]}


@router.post("/budgets/{name}/raise")
async def raise_limit(
    name: str, body: RaiseLimitRequest, admin: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """Raise the limit of a budget's counter. A daily or monthly limit is raised for the current period only."""
    asked = BudgetCounterName(name, body.subject)
    return (await _budgets(services).raise_limit(asked, body.amount, admin.user_id)).as_dict()


@router.post("/budgets/{name}/reset")
async def reset_spending(
    name: str, body: BudgetCounterRequest, admin: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """Set the spending of a budget's counter in the current period to zero."""
    return (
        await _budgets(services).reset_spending(BudgetCounterName(name, body.subject), admin.user_id)
    ).as_dict()


@router.get("/users/me/budgets")
async def list_own_budgets(owner: OwnerDep, services: ServicesDep) -> dict[str, Any]:
    """List the budgets that count the user's own spending, with their balances."""
    return {"budgets": [balance.as_dict() for balance in await _budgets(services).list_user_balances(owner)]}


def _budgets(services: Services) -> BudgetManager:
    if services.budgets is None:
        raise HTTPException(404, "This service has no budgets.")
    return services.budgets
