"""Usage over HTTP: of all calls (`/v1/usage`), and of the user's own calls (`/v1/users/me/usage`).

Usage of all calls is shown to tokens with the scope ``debug``.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from backend.access import Grant
from backend.ledger.usage import (
    Dimension,
    MissingRollupError,
    UsageFilter,
    UsagePeriod,
    UsageStore,
    build_usage_report,
)

from .dependencies import ForbiddenError, GrantDep, OwnerDep, Services, ServicesDep

DAYS: Final = 30
"""The default period: this many days, today included."""
_EARLIEST: Final = date(1970, 1, 1)
_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_Name = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00]*$")]

router: Final = APIRouter(prefix="/v1", tags=["usage"])


def _in_words(day: object) -> object:
    """A day as text, because pydantic would take a number for seconds since 1970."""
    if isinstance(day, str) and not _ISO.fullmatch(day):
        raise ValueError("a day is written as 2026-11-29")
    return day


_Day = Annotated[Annotated[date, Field(ge=_EARLIEST)] | None, BeforeValidator(_in_words)]


class UsagePeriodQuery(BaseModel):
    """The query parameters that choose the days of a usage report.

    Attributes:
        since: The first day, in UTC.
        until: The last day, in UTC; by default today.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: _Day = None
    until: _Day = None

    @model_validator(mode="after")
    def _has_days(self) -> Self:
        if self.since and self.until and self.since > self.until:
            raise ValueError("since is after until")
        return self

    @property
    def period(self) -> UsagePeriod:
        """The period from ``since`` to ``until``. Without ``since``, the 30 days that end with ``until``."""
        until = self.until or max(datetime.now(UTC).date(), self.since or _EARLIEST)
        return UsagePeriod(self.since or max(_EARLIEST, until - timedelta(days=DAYS - 1)), until)


class UsageFilterQuery(BaseModel):
    """The query parameters that filter calls. Without any of them, all calls match.

    Attributes:
        feature: The feature that was called.
        model: The endpoint that was called (``provider:model``).
        user: The user who called.
        tenant: The tenant of the user.
        owner: Whose key paid: the operator's (``house``) or the user's own.
        outcome: How the call ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: _Name | None = None
    model: _Name | None = None
    user: _Name | None = None
    tenant: _Name | None = None
    owner: Literal["house", "user"] | None = None
    outcome: _Name | None = None

    @property
    def usage_filter(self) -> UsageFilter:
        """The parameters as the filter that `UsageStore` takes."""
        return UsageFilter(self.feature, self.model, self.user, self.tenant, self.owner, self.outcome)


class UsageQuery(UsagePeriodQuery, UsageFilterQuery):
    """The query parameters of a usage report: the period, the filter, and how to group the calls.

    Attributes:
        by: The property by which calls are grouped, such as the feature.
        limit: The most groups to return.
    """

    by: Dimension = "feature"
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000


class UsageRequestsQuery(UsageFilterQuery):
    """The query parameters of a list of calls: the filter, and where the page begins.

    Attributes:
        before: The ``next_before`` of the previous page, which is the id of its last call; None for the
            first page.
        limit: The most calls of a page.
    """

    before: _Name | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class OwnUsageQuery(UsagePeriodQuery):
    """The query parameters of a report of the user's own usage, which is always grouped by day."""

    by: Literal["day"] = "day"


@router.get("/usage")
async def read_usage(
    query: Annotated[UsageQuery, Query()], grant: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """Return the usage and cost of all calls. A token of a tenant sees only the tenant's calls."""
    store, period, only = _store(services), query.period, _visible(query.usage_filter, grant)
    try:
        used = await store.sum_by_dimension(query.by, period, only, limit=query.limit)
        return build_usage_report(query.by, period, used, await store.sum_total(period, only))
    except MissingRollupError as error:
        raise HTTPException(422, str(error)) from None


@router.get("/usage/requests")
async def list_requests(
    query: Annotated[UsageRequestsQuery, Query()], grant: GrantDep, services: ServicesDep
) -> dict[str, Any]:
    """List the latest calls, each with its attempts, the newest first.

    A token of a tenant sees only the tenant's calls.
    """
    only = _visible(query.usage_filter, grant)
    found = await _store(services).list_requests(only, limit=query.limit, before=query.before)
    more = found[-1].call if len(found) == query.limit else None
    return {"requests": [each.as_dict() for each in found], "next_before": more}


@router.get("/usage/requests/{call}")
async def read_request(call: str, grant: GrantDep, services: ServicesDep) -> dict[str, Any]:
    """Return one call with all attempts, by the id in its receipt."""
    found = await _store(services).find_request(call)
    if found is None or grant.tenant_id not in {"", found.attempts[0].tenant}:
        raise HTTPException(404, "No call has this id.")
    return found.as_dict()


@router.get("/users/me/usage")
async def read_own_usage(
    query: Annotated[OwnUsageQuery, Query()], owner: OwnerDep, services: ServicesDep
) -> dict[str, Any]:
    """Return the usage and cost of the user's own calls, by day."""
    store, period, only = (
        _store(services),
        query.period,
        UsageFilter(user=owner.user_id, tenant=owner.tenant_id),
    )
    return build_usage_report(
        query.by,
        period,
        await store.sum_by_dimension(query.by, period, only),
        await store.sum_total(period, only),
    )


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
