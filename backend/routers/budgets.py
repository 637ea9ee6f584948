"""Budgets over HTTP: all counters (`/v1/budgets`), and the user's own counters (`/v1/users/me/budgets`)."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from backend.budgets import BudgetCounterName, BudgetManager

from .dependencies import GrantDep, OwnerDep, Services, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1", tags=["budgets"], route_class=JsonRoute)
Subject = Annotated[str, Field(min_length=1, max_length=500)]


class CounterSubject(BaseModel):
    """The body of a request that names whose counter of a budget is meant.

    Attributes:
        subject: The user (``acme::ann`` for the user ``ann`` of the tenant ``acme``), the tenant, the
            feature, or the owner of keys (``house`` or ``user``), depending on what the budget is counted
            by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject


class LimitRaise(CounterSubject):
    """The body of a request that raises the limit of a counter.

    Attributes:
        amount: The amount to add: dollars as a decimal number in a string, such as ``"2.50"``, or tokens. A
            negative amount lowers the limit.
    """

    amount: Annotated[str, Field(min_length=1, max_length=40)]


@router.get("/budgets")
async def list_budgets(_: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """List the balances of all counters for the current day, month or total, the most used up first."""
    return {"budgets": [one.as_dict() for one in await _budgets(services).list_balances()]}


@router.post("/budgets/{name}/raise")
async def raise_limit(
    name: str, wanted: LimitRaise, admin: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """Raise the limit of a budget's counter for the current day or month, or for its total."""
    asked = BudgetCounterName(name, wanted.subject)
    return (await _budgets(services).raise_limit(asked, wanted.amount, admin.user_id)).as_dict()


@router.post("/budgets/{name}/reset")
async def reset_spending(
    name: str, wanted: CounterSubject, admin: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """Set the spending of a budget's counter in the current day or month, or in total, to zero."""
    return (
        await _budgets(services).reset_spending(BudgetCounterName(name, wanted.subject), admin.user_id)
    ).as_dict()


@router.get("/users/me/budgets")
async def list_own_budgets(owner: OwnerDep, services: ServicesDep) -> dict[str, Any]:
    """List the balances of the user's own budget counters."""
    return {"budgets": [one.as_dict() for one in await _budgets(services).list_user_balances(owner)]}


def _budgets(services: Services) -> BudgetManager:
    if services.budgets is None:
        raise HTTPException(404, "This service has no budgets.")
    return services.budgets
