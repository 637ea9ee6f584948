"""Usage over HTTP: everybody's for admins (`/v1/usage`), the user's own for everybody (`/v1/users/me/usage`)."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from backend.access import Grant
from backend.ledger.usage import Dimension, Period, UnkeptError, UsageFilter, UsageStore, report

from .dependencies import ForbiddenError, GrantDep, OwnerDep, Services, ServicesDep

DAYS: Final = 30
"""The default period: this many days, today included."""
_EARLIEST: Final = date(1970, 1, 1)
_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_Name = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00]*$")]

router: Final = APIRouter(prefix="/v1", tags=["usage"])


def _in_words(told: object) -> object:
    """A day as text, because pydantic would take a number for seconds since 1970."""
    if isinstance(told, str) and not _ISO.fullmatch(told):
        raise ValueError("a day is written as 2026-11-29")
    return told


_Day = Annotated[Annotated[date, Field(ge=_EARLIEST)] | None, BeforeValidator(_in_words)]


class PeriodQuery(BaseModel):
    """The period: whole days in UTC, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: _Day = None
    until: _Day = None

    @model_validator(mode="after")
    def _has_days(self) -> Self:
        if self.since and self.until and self.since > self.until:
            raise ValueError("since is after until")
        return self

    @property
    def period(self) -> Period:
        """The period, by default the last 30 days up to ``until`` or today."""
        until = self.until or max(datetime.now(UTC).date(), self.since or _EARLIEST)
        return Period(self.since or max(_EARLIEST, until - timedelta(days=DAYS - 1)), until)


class FilterQuery(BaseModel):
    """A filter of calls; by default all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: _Name | None = None
    model: _Name | None = None
    user: _Name | None = None
    tenant: _Name | None = None
    owner: Literal["house", "user"] | None = None
    outcome: _Name | None = None

    @property
    def only(self) -> UsageFilter:
        """The same filter in the form that the ledger's store takes."""
        return UsageFilter(self.feature, self.model, self.user, self.tenant, self.owner, self.outcome)


class UsageQuery(PeriodQuery, FilterQuery):
    """The dimension, the period and the filter of usage."""

    by: Dimension = "feature"
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000


class RequestsQuery(FilterQuery):
    """The filter and the position of a page of requests."""

    before: _Name | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class OwnUsageQuery(PeriodQuery):
    """The period of the user's own usage."""

    by: Literal["day"] = "day"


@router.get("/usage")
async def everybodys(
    asked: Annotated[UsageQuery, Query()], grant: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """The usage and cost of all calls; for a tenant's token, those of the tenant."""
    store, period, only = _store(services), asked.period, _visible(asked.only, grant)
    try:
        used = await store.used(asked.by, period, only, limit=asked.limit)
        return report(asked.by, period, used, await store.total(period, only))
    except UnkeptError as error:
        raise HTTPException(422, str(error)) from None


@router.get("/usage/requests")
async def requests(
    place: Annotated[RequestsQuery, Query()], grant: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """The last calls, the newest first, with every attempt; for a tenant's token, those of the tenant."""
    only = _visible(place.only, grant)
    found = await _store(services).requests(only, limit=place.limit, before=place.before)
    more = found[-1].call if len(found) == place.limit else None
    return {"requests": [each.as_dict() for each in found], "next_before": more}


@router.get("/usage/requests/{call}")
async def request(call: str, grant: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """One call, by the id in its receipt."""
    found = await _store(services).request(call)
    if found is None or grant.tenant_id not in {"", found.attempts[0].tenant}:
        raise HTTPException(404, "No call has this id.")
    return found.as_dict()


@router.get("/users/me/usage")
async def mine(
    asked: Annotated[OwnUsageQuery, Query()], owner: OwnerDep, services: ServicesDep
) -> dict[str, Any]:
    """The usage and cost of the user's own calls, by day."""
    store, period, only = (
        _store(services),
        asked.period,
        UsageFilter(user=owner.user_id, tenant=owner.tenant_id),
    )
    return report(asked.by, period, await store.used(asked.by, period, only), await store.total(period, only))


def _visible(only: UsageFilter, grant: Grant) -> UsageFilter:
    """``only``, restricted to the tenant of ``grant``."""
    if not grant.tenant_id:
        return only
    if only.tenant not in {None, grant.tenant_id}:
        raise ForbiddenError("A token of a tenant sees what that tenant used, and no more.")
    return only._replace(tenant=grant.tenant_id)


def _store(services: Services) -> UsageStore:
    if services.usage is None:
        raise HTTPException(404, "This service keeps no ledger.")
    return services.usage
