"""The stored overrides of the feature table over HTTP, for admins."""

from typing import Annotated, Final, Self

from fastapi import APIRouter, HTTPException, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from backend.overrides import LONGEST_REASON, OverrideManager, OverrideRequest
from backend.utils.llm.diagnostics.qos import OverrideInfo

from .dependencies import GrantDep, Services, ServicesDep
from .json_bodies import JsonRoute

router: Final = APIRouter(prefix="/v1/llm/overrides", tags=["llm"], route_class=JsonRoute)
Name = Annotated[str, Field(min_length=1, max_length=200)]


class NewOverride(BaseModel):
    """The body of a request that changes a feature's endpoints, or disables an endpoint, for a limited time.

    Attributes:
        feature: The feature to change; None to disable an endpoint.
        links: The endpoints and groups that are to serve ``feature``, in the order in which they are tried.
        disable: The endpoint to disable; None to change a feature.
        reason: The reason, which is shown to everybody who may see overrides.
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

    def to_override_request(self, author: str) -> OverrideRequest:
        """Convert to the `OverrideRequest` of ``author``, as the override manager takes it."""
        return OverrideRequest(
            self.feature or self.disable or "", self.links, author, self.reason, self.until
        )


class OverrideList(BaseModel):
    """All stored overrides that have neither ended nor expired."""

    overrides: tuple[OverrideInfo, ...]


class StoredOverrideResponse(BaseModel):
    """The response after an override was stored. All processes apply the override within two seconds.

    Attributes:
        override: The override.
        unserved: The features that no endpoint can serve any more because of the override.
    """

    override: OverrideInfo
    unserved: tuple[str, ...]


@router.get("")
async def list_overrides(_: GrantDep, services: ServicesDep) -> OverrideList:
    """List the overrides that have neither ended nor expired, and say whether each is in force."""
    return OverrideList(overrides=tuple(get_override_manager(services).describe_active_overrides()))


@router.post("", status_code=201)
async def store_override(body: NewOverride, admin: GrantDep, services: ServicesDep) -> StoredOverrideResponse:
    """Store an override. It replaces the current override of the same feature or endpoint."""
    overrides = get_override_manager(services)
    outcome = await overrides.store_override(body.to_override_request(admin.user_id))
    await overrides.apply_to_table()
    view = OverrideInfo(**outcome.override._asdict(), state="in_force")
    return StoredOverrideResponse(override=view, unserved=outcome.unserved)


@router.delete("/{override_id}", status_code=204)
async def revert_override(override_id: str, admin: GrantDep, services: ServicesDep) -> Response:
    """End an override before it expires."""
    overrides = get_override_manager(services)
    await overrides.revert_override(override_id, admin.user_id)
    await overrides.apply_to_table()
    return Response(status_code=204)


def get_override_manager(services: Services) -> OverrideManager:
    """Return the service's `OverrideManager`.

    Raises:
        HTTPException: The service has none, because its LLM clients are no `Patchbay` (404).
    """
    if services.overrides is None:
        raise HTTPException(404, "The table of this service takes no overrides.")
    return services.overrides
