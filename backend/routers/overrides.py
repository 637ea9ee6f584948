"""Stored overrides over HTTP, for admins."""

from typing import Annotated, Final, Self

from fastapi import APIRouter, HTTPException, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from backend.overrides import LONGEST_REASON, OverrideRequest, Overrides
from backend.utils.llm.diagnostics.qos import OverrideInfo

from .dependencies import GrantDep, Services, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1/llm/overrides", tags=["llm"], route_class=JsonRoute)
Name = Annotated[str, Field(min_length=1, max_length=200)]


class NewOverride(BaseModel):
    """An override to store: of a feature, or of an endpoint to disable.

    Attributes:
        links: The endpoints and groups to serve ``feature``, in this order.
        reason: The reason, shown to everybody who may see overrides.
        until: When the override expires.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: Name | None = None
    links: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    disable: Name | None = None
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    until: AwareDatetime

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.feature is None) == (self.disable is None) or (self.feature is None) == bool(self.links):
            raise ValueError("write either feature and links, or disable")
        return self

    def by(self, author: str) -> OverrideRequest:
        """Make the request to store this override, decided by ``author``."""
        return OverrideRequest(
            self.feature or self.disable or "", self.links, author, self.reason, self.until
        )


class OverrideList(BaseModel):
    """Every override that holds."""

    overrides: tuple[OverrideInfo, ...]


class StoredOverride(BaseModel):
    """An override that was stored: in force in this process now, in all others within two seconds.

    Attributes:
        unserved: The features that no endpoint serves because of the override.
    """

    override: OverrideInfo
    unserved: tuple[str, ...]


@router.get("")
async def browse(_: GrantDep, services: ServicesDep) -> OverrideList:
    """Every override that holds, and whether it is in force."""
    return OverrideList(overrides=tuple(overrides_of(services).infos()))


@router.post("", status_code=201)
async def store(wanted: NewOverride, admin: GrantDep, services: ServicesDep) -> StoredOverride:
    """Store an override, in place of the present one of the same feature or endpoint."""
    overrides = overrides_of(services)
    outcome = await overrides.decide(wanted.by(admin.user_id))
    await overrides.put_in_force()
    view = OverrideInfo(**outcome.override._asdict(), state="in_force")
    return StoredOverride(override=view, unserved=outcome.unserved)


@router.delete("/{override_id}", status_code=204)
async def revert(override_id: str, admin: GrantDep, services: ServicesDep) -> Response:
    """End an override."""
    overrides = overrides_of(services)
    await overrides.revert(override_id, admin.user_id)
    await overrides.put_in_force()
    return Response(status_code=204)


def overrides_of(services: Services) -> Overrides:
    """The stored overrides of the service.

    Raises:
        HTTPException: The service takes no overrides.
    """
    if services.overrides is None:
        raise HTTPException(404, "The table of this service takes no overrides.")
    return services.overrides
