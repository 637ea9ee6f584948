"""Budgets over HTTP: all for admins (`/v1/budgets`), the user's own for everybody (`/v1/users/me/budgets`)."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from backend.budgets import Budgets, CounterName

from .dependencies import GrantDep, OwnerDep, Services, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1", tags=["budgets"], route_class=JsonRoute)
Subject = Annotated[str, Field(min_length=1, max_length=500)]


class Whose(BaseModel):
    """The subject of a counter: a user (``acme::ann`` of a tenant), tenant, feature or owner of keys, by the kind of budget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject


class Raise(Whose):
    """The amount by which to raise a limit: dollars as a decimal number in a text, such as ``"2.50"``, or tokens."""

    amount: Annotated[str, Field(min_length=1, max_length=40)]


@router.get("/budgets")
async def browse(_: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """The balance of every counter for the current day, month or total, the fullest first."""
    return {"budgets": [one.as_dict() for one in await _budgets(services).all()]}


@router.post("/budgets/{name}/raise")
async def raise_by(name: str, wanted: Raise, admin: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """Raise a counter's limit for its current day or month, or its total."""
    asked = CounterName(name, wanted.subject)
    return (await _budgets(services).raise_by(asked, wanted.amount, admin.user_id)).as_dict()


@router.post("/budgets/{name}/reset")
async def reset(name: str, wanted: Whose, admin: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """Set a counter's spending in its current day or month, or in total, to zero."""
    return (await _budgets(services).reset(CounterName(name, wanted.subject), admin.user_id)).as_dict()


@router.get("/users/me/budgets")
async def mine(owner: OwnerDep, services: ServicesDep) -> dict[str, Any]:
    """The balances of the user's own counters."""
    return {"budgets": [one.as_dict() for one in await _budgets(services).of_user(owner)]}


def _budgets(services: Services) -> Budgets:
    if services.budgets is None:
        raise HTTPException(404, "This service has no budgets.")
    return services.budgets
