"""A user's own keys over HTTP. No answer holds a key.

The token alone identifies the user, so that a client that sends its key with every request can enrol it.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from backend.keys.check import Verdict, check_key
from backend.keys.errors import KeyNotFoundError, UnknownProviderError
from backend.keys.problem import KeyProblem, Reason
from backend.keys.store import KeyVersion
from backend.keys.vault import Server
from backend.utils.llm.caller import BaseUrl, ModelName
from backend.utils.llm.errors import OwnEndpointError
from backend.utils.llm.model_config import OWN

from .dependencies import IdentityDep, OwnerDep, ServicesDep
from .json_bodies import JsonRoute

LONGEST_OVERLAP: Final = 30 * 24 * 60 * 60

router: Final = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=JsonRoute)


class Enrolment(BaseModel):
    """A key to enrol.

    Attributes:
        store: Whether to store the key, encrypted; else it has to come with every request.
        overlap_s: For how many seconds the previous key stays valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr
    store: bool = True
    overlap_s: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 0

    @property
    def overlap(self) -> timedelta:
        """``overlap_s`` as a timedelta."""
        return timedelta(seconds=self.overlap_s)


class OwnEnrolment(Enrolment):
    """A key for an endpoint of the user's own.

    Attributes:
        base_url: ``https://host[:port][/path]``.
        model: The endpoint's name of the model.
    """

    base_url: BaseUrl
    model: ModelName


class TroubleView(BaseModel):
    """Why a provider refuses a key: it is revoked, used up, or may not use a model. Without the provider's message.

    Attributes:
        since: When the key was first refused for this reason.
        last: When the key was last refused, to the minute.
    """

    reason: Reason
    endpoint: str
    since: datetime
    last: datetime

    @classmethod
    def of(cls, problem: KeyProblem) -> "TroubleView":
        """Select what the user may see of ``problem``."""
        return cls(**problem._asdict())


class KeyView(BaseModel):
    """The public facts of a key.

    Attributes:
        last_four: The last four characters of the key; blank if the key is short.
        fingerprint: The fingerprint of this enrolment; the same key enrolled again has another one.
        valid_until: When the key becomes invalid, if it was replaced.
        trouble: Why its provider refuses the key; null if it does not.
        base_url: The base URL of an endpoint of the user's own; else null.
        model: That endpoint's name of the model.
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
    trouble: TroubleView | None

    @classmethod
    def of(cls, key: KeyVersion) -> "KeyView":
        """Select what the user may see of ``key``; the key itself is left out."""
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
            trouble=key.problem and TroubleView.of(key.problem),
        )


class KeyList(BaseModel):
    """Every valid version of the key, the newest first."""

    keys: tuple[KeyView, ...]


class Choice(BaseModel):
    """A user's choice for all of their keys.

    Attributes:
        house_fallback: Whether the house may pay where the user's keys do not serve, for features that allow it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    house_fallback: bool


class KeyRing(KeyList, Choice):
    """All keys of a user, and the user's choice."""


class TrialView(BaseModel):
    """The result of checking a key."""

    provider: str
    verdict: Verdict
    message: str
    endpoint: str | None


@router.get("")
async def browse(owner: OwnerDep, services: ServicesDep) -> KeyRing:
    """All keys of the user, and the user's choice."""
    held = await services.keychain.of(owner)
    chosen = await services.keychain.chosen(owner)
    return KeyRing(keys=tuple(map(KeyView.of, held)), house_fallback=chosen)


@router.put("")
async def choose(choice: Choice, owner: OwnerDep, services: ServicesDep) -> KeyRing:
    """Set whether the house may pay where the user's keys do not serve."""
    await services.keychain.choose(owner, house_fallback=choice.house_fallback)
    return await browse(owner, services)


@router.get("/{provider}")
async def read(provider: str, owner: OwnerDep, services: ServicesDep) -> KeyList:
    """The user's key for one provider, and the previous key while it is valid."""
    held = await services.keychain.of(owner)
    mine = tuple(KeyView.of(key) for key in held if key.place.provider == provider)
    if not mine:
        raise KeyNotFoundError
    return KeyList(keys=mine)


@router.put(f"/{OWN}")
async def enrol_own(enrolment: OwnEnrolment, owner: OwnerDep, services: ServicesDep) -> KeyView:
    """Enrol an endpoint of the user's own, in place of the previous one. It serves the user in place of their keys."""
    if fault := services.facade.fault_of(enrolment.base_url):
        raise OwnEndpointError(f"An endpoint of your own cannot be used there: {fault}.")
    server = Server(enrolment.base_url, enrolment.model)
    kept = await services.keychain.enrol_own(
        owner, server, enrolment.key, keep=enrolment.store, overlap=enrolment.overlap
    )
    return KeyView.of(kept)


@router.put("/{provider}")
async def enrol(provider: str, enrolment: Enrolment, owner: OwnerDep, services: ServicesDep) -> KeyView:
    """Enrol a key of the user's, in place of the previous one."""
    rows = (await services.qos_info()).providers
    known = sorted(name for name, row in rows.items() if row.access != "embedded")
    if provider not in known:
        raise UnknownProviderError([*known, OWN])
    kept = await services.keychain.enrol(
        owner, provider, enrolment.key, keep=enrolment.store, overlap=enrolment.overlap
    )
    return KeyView.of(kept)


@router.delete("/{provider}", status_code=204)
async def remove(provider: str, owner: OwnerDep, services: ServicesDep) -> Response:
    """Delete the user's key, and the previous one. No request is served with them from now on."""
    await services.keychain.remove(owner, provider)
    return Response(status_code=204)


@router.post("/{provider}/test")
async def test(provider: str, owner: OwnerDep, identity: IdentityDep, services: ServicesDep) -> TrialView:
    """Check the user's key with one cheap call: the key of this request, else the stored one."""
    if provider not in identity.request_keys.keys:
        raise KeyNotFoundError
    services.rate_limit.admit(owner)
    check = await check_key(services.facade, identity.request_keys.only(provider).apply_to(identity.caller))
    return TrialView(
        provider=provider, verdict=check.verdict, message=check.sentence, endpoint=check.endpoint
    )
