"""Users' own provider keys over HTTP. No response contains a key.

The access token alone identifies the user, so that a client that sends its key with every request can
enrol it.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from backend.keys.check import Verdict, check_key
from backend.keys.errors import KeyNotFoundError, UnknownProviderError
from backend.keys.problem import KeyProblem, Reason
from backend.keys.store import KeyVersion
from backend.keys.vault import OwnEndpointConfig
from backend.utils.llm.caller import BaseUrl, ModelName
from backend.utils.llm.errors import OwnEndpointError
from backend.utils.llm.model_config import OWN

from .dependencies import IdentityDep, OwnerDep, ServicesDep
from .json_bodies import JsonRoute

LONGEST_OVERLAP: Final = 30 * 24 * 60 * 60

router: Final = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=JsonRoute)


class KeyEnrolment(BaseModel):
    """The body of a request that enrols a user's own key for a provider.

    Attributes:
        key: The key itself.
        store: Whether to store the key, encrypted. If false, the client has to send the key with every
            request.
        overlap_s: For how many seconds the previous key stays valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr
    store: bool = True
    overlap_s: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 0

    @property
    def overlap_period(self) -> timedelta:
        """For how long the previous key stays valid: ``overlap_s`` as a timedelta."""
        return timedelta(seconds=self.overlap_s)


class OwnEndpointEnrolment(KeyEnrolment):
    """The body of a request that enrols a key for an endpoint that the user runs or rents.

    Attributes:
        base_url: The base URL of the endpoint: ``https://host[:port][/path]``.
        model: The name of the model, as the endpoint knows it.
    """

    base_url: BaseUrl
    model: ModelName


class KeyProblemView(BaseModel):
    """Why a provider refuses a key: it is revoked, has no credit left, or may not use a model.

    Attributes:
        reason: The kind of refusal. The provider's own message is not shown.
        endpoint: The endpoint that was called.
        since: When the key was first refused for this reason.
        last: When the key was last refused for this reason, to the minute.
    """

    reason: Reason
    endpoint: str
    since: datetime
    last: datetime

    @classmethod
    def from_problem(cls, problem: KeyProblem) -> "KeyProblemView":
        """Make the view of ``problem``, with only what the user may see."""
        return cls(**problem._asdict())


class KeyView(BaseModel):
    """What the user may see of an enrolled key, without the key itself.

    Attributes:
        provider: The provider that the key is for.
        base_url: The base URL, if the key is for an endpoint of the user's own; else null.
        model: The name of the model at that endpoint; else null.
        stored: Whether the key is stored, or has to come with every request.
        last_four: The last four characters of the key; empty if the key is short.
        fingerprint: Identifies this enrolment. The same key, enrolled again, gets another fingerprint.
        valid_until: Until when the key is valid, if a newer key replaced it; else null.
        trouble: Why the provider refuses the key; null if it does not.
    """

    provider: str
    base_url: str | None
    model: str | None
    stored: bool
    last_four: str
    fingerprint: str
    created_at: datetime
    last_used_at: datetime | None
    valid_until: datetime | None
    trouble: KeyProblemView | None

    @classmethod
    def from_key(cls, key: KeyVersion) -> "KeyView":
        """Make the view of ``key``, without the key itself."""
        return cls(
            provider=key.place.provider,
            base_url=key.place.server and key.place.server.base_url,
            model=key.place.server and key.place.server.model,
            stored=key.is_stored,
            last_four=key.tail,
            fingerprint=key.fingerprint,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            valid_until=key.valid_until,
            trouble=key.problem and KeyProblemView.from_problem(key.problem),
        )


class KeyList(BaseModel):
    """A user's valid keys, the newest first. After a replacement, the previous key is listed while it is valid."""

    keys: tuple[KeyView, ...]


class HouseFallbackChoice(BaseModel):
    """Whether the operator may pay for a user's calls if the user's own keys cannot serve them.

    Attributes:
        house_fallback: Whether the user allows this. The feature's row of the table must allow it, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    house_fallback: bool


class KeysAndFallbackChoice(KeyList, HouseFallbackChoice):
    """All valid keys of a user, and whether the operator may pay for calls that these keys cannot serve."""


class KeyCheckResult(BaseModel):
    """The result of checking a key with a call to its provider.

    Attributes:
        provider: The provider that the key is for.
        verdict: ``valid``, or why the key does not work.
        message: The verdict as a sentence for the user.
        endpoint: The endpoint that was called; null if none was.
    """

    provider: str
    verdict: Verdict
    message: str
    endpoint: str | None


@router.get("")
async def list_keys(owner: OwnerDep, services: ServicesDep) -> KeysAndFallbackChoice:
    """List the user's own keys, and say whether the operator may pay for calls that these keys cannot serve."""
    held = await services.keychain.list_versions(owner)
    chosen = await services.keychain.allows_house_fallback(owner)
    return KeysAndFallbackChoice(keys=tuple(map(KeyView.from_key, held)), house_fallback=chosen)


@router.put("")
async def set_house_fallback(
    choice: HouseFallbackChoice, owner: OwnerDep, services: ServicesDep
) -> KeysAndFallbackChoice:
    """Set whether the operator may pay for the user's calls if the user's own keys cannot serve them."""
    await services.keychain.set_house_fallback(owner, house_fallback=choice.house_fallback)
    return await list_keys(owner, services)


@router.get("/{provider}")
async def read_provider_keys(provider: str, owner: OwnerDep, services: ServicesDep) -> KeyList:
    """List the user's key for a provider, and the previous key while it is valid."""
    held = await services.keychain.list_versions(owner)
    mine = tuple(KeyView.from_key(key) for key in held if key.place.provider == provider)
    if not mine:
        raise KeyNotFoundError
    return KeyList(keys=mine)


@router.put(f"/{OWN}")
async def enrol_own_endpoint(
    enrolment: OwnEndpointEnrolment, owner: OwnerDep, services: ServicesDep
) -> KeyView:
    """Enrol an endpoint of the user's own, with its key, in place of a previous one.

    The endpoint serves the user's calls instead of the providers that the user has keys for.
    """
    if fault := services.facade.fault_of(enrolment.base_url):
        raise OwnEndpointError(f"An endpoint of your own cannot be used there: {fault}.")
    server = OwnEndpointConfig(enrolment.base_url, enrolment.model)
    kept = await services.keychain.enrol_own_endpoint(
        owner, server, enrolment.key, store_key=enrolment.store, overlap=enrolment.overlap_period
    )
    return KeyView.from_key(kept)


@router.put("/{provider}")
async def enrol_key(
    provider: str, enrolment: KeyEnrolment, owner: OwnerDep, services: ServicesDep
) -> KeyView:
    """Enrol the user's own key for a provider. A previous key is replaced."""
    rows = (await services.compute_qos_info()).providers
    known = sorted(name for name, row in rows.items() if row.access != "embedded")
    if provider not in known:
        raise UnknownProviderError([*known, OWN])
    kept = await services.keychain.enrol_key(
        owner, provider, enrolment.key, store_key=enrolment.store, overlap=enrolment.overlap_period
    )
    return KeyView.from_key(kept)


@router.delete("/{provider}", status_code=204)
async def delete_key(provider: str, owner: OwnerDep, services: ServicesDep) -> Response:
    """Delete the user's key for a provider, and the previous key if it is still valid.

    No request is served with them from now on.
    """
    await services.keychain.remove_key(owner, provider)
    return Response(status_code=204)


@router.post("/{provider}/test")
async def check_user_key(
    provider: str, owner: OwnerDep, identity: IdentityDep, services: ServicesDep
) -> KeyCheckResult:
    """Check the user's key for a provider with one cheap call.

    Uses the key that the request supplies, else the stored key.
    """
    if provider not in identity.request_keys.keys:
        raise KeyNotFoundError
    services.rate_limit.count_check(owner)
    check = await check_key(
        services.facade, identity.request_keys.restrict_to_provider(provider).apply_to(identity.caller)
    )
    return KeyCheckResult(
        provider=provider, verdict=check.verdict, message=check.message, endpoint=check.endpoint
    )
