"""FastAPI dependencies of endpoints: the services, and the identity of the caller.

`identify` authenticates every caller, over HTTP and WebSocket alike. It returns an `Identity`, and keeps its caller in context
until the response has been sent, streams included. It must be asynchronous: FastAPI runs a synchronous dependency in a thread,
and context variables set there are lost.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol, cast

from fastapi import Depends, HTTPException
from pydantic import SecretStr, ValidationError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from backend.access import SCOPES, GivenTokens, Grant, Owner
from backend.agents.runner import Runner
from backend.background import Background
from backend.budgets import Budgets
from backend.conversations.creation import ConversationCreator
from backend.conversations.store import ConversationStore
from backend.keys.keychain import Keychain
from backend.keys.rate_limit import CheckRateLimit
from backend.keys.request_keys import RequestKeys
from backend.ledger.usage import UsageStore
from backend.local_model import State
from backend.metrics import Metrics
from backend.overrides import Overrides
from backend.recent import RecentAttempts
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.diagnostics.models import ModelInfo
from backend.utils.llm.diagnostics.qos import QosInfo
from backend.utils.llm.errors import LLMError
from backend.utils.llm.routing.route import Needs
from backend.wires.features import Models
from backend.wires.responders import Responders, ResponderSource

from .access import row_of
from .headers import KEY_HEADER
from .logins import Sessions, cookie_value
from .origins import is_foreign
from .rates import RequestRates
from .readiness import Readiness

log = logging.getLogger(__name__)

_PROVIDER: Final = re.compile(r"[a-z0-9_-]+")


class Tokens(Protocol):
    """Finds out what an access token may do. Used to authenticate requests and browser logins."""

    async def find(self, plain: str) -> Grant | None:
        """The rights of the token whose text is ``plain``; None if there is no such token, or it has expired or been revoked."""
        ...


@dataclass(frozen=True, slots=True)
class LaunchToken:
    """Accepts one more token for the first user, beside the stored ones. It is valid until the process ends.

    Whoever starts the service knows this token and can use it at once, for example to send the sample conversation.
    """

    plain: str = field(repr=False)
    user_id: str
    others: Tokens

    async def find(self, plain: str) -> Grant | None:
        """The rights of the token ``plain``: every scope if it is the launch token, else those of the stored token.

        None if it is neither. See `Tokens.find`.
        """
        if secrets.compare_digest(plain.encode(errors="surrogatepass"), self.plain.encode()):
            return Grant(self.user_id, scopes=frozenset(SCOPES))
        return await self.others.find(plain)


class Explanation(Protocol):
    """Where a call would be routed and why, as `Facade.explain` returns it."""

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a dict for the JSON response."""
        ...


class Facade(Models, Protocol):
    """What the HTTP routes need of the LLM clients. `Patchbay` implements it."""

    @property
    def demo_active(self) -> bool:
        """Whether the demo model serves calls for which there is no key."""
        ...

    def get_qos_info(self) -> QosInfo:
        """The table in force, with its endpoints' health and limits as this process knows them."""
        ...

    def declared_needs(self, feature: str) -> Needs:
        """What every call of ``feature`` needs of a model, such as tools, according to the feature's row of the table."""
        ...

    def explain(
        self,
        feature: str,
        *,
        caller: Caller | None = None,
        needs: Needs | None = None,
        balances: bool = True,
    ) -> Explanation:
        """Explain where a call of ``feature`` would be routed now, and why. Nothing is sent.

        Args:
            feature: The feature that would be called.
            caller: Who would call; by default the caller in context.
            needs: What the call needs of a model; by default what the feature's row declares.
            balances: Whether to include the balances of the caller's budgets, for which it may have to wait.
        """
        ...

    def get_models(self) -> tuple[ModelInfo, ...]:
        """Every model that the table names, with its capabilities, prices and retirement."""
        ...

    def fault_of(self, base_url: str) -> str | None:
        """The reason why users may not enrol an endpoint of their own at ``base_url``; None if they may."""
        ...


class Database(Protocol):
    """Checks whether the database can be used, for the readiness check."""

    async def fault(self) -> str | None:
        """Why the database cannot be read or written, as a code; None if it can. Answers within about a second."""
        ...


class SpoolFigures(Protocol):
    """The counters of the spool, the folder on disk where records of attempts wait to be written into the database."""

    @property
    def lost(self) -> int:
        """How many records were dropped because the spool was full."""
        ...

    @property
    def fault(self) -> str | None:
        """Why records cannot be written now; None if they can."""
        ...


class SpoolView(Protocol):
    """What pages and metrics read of the spool, the folder on disk where records of attempts wait for the database."""

    @property
    def figures(self) -> SpoolFigures:
        """The counters as they are now."""
        ...


class LocalModelView(Protocol):
    """What pages and health checks read of the built-in local model."""

    @property
    def label(self) -> str:
        """The name of the model, as it is shown to people."""
        ...

    @property
    def state(self) -> State:
        """The state of the model's process: ``stopped``, ``starting``, ``ready``, ``unresponsive`` or ``failed``."""
        ...

    @property
    def reason(self) -> str | None:
        """What to do if the model has failed; else None."""
        ...


def _one_by_one() -> asyncio.Semaphore:
    """A lock for long bodies: parsing takes memory, and two threads are no faster than one."""
    return asyncio.Semaphore(1)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that endpoints use. Created once, by the composition root.

    Attributes:
        tokens: Looks up access tokens, of programs' requests and of browsers' logins.
        overrides: Reads and changes the stored overrides; None if ``facade`` is no `Patchbay`.
        usage: The usage in the ledger; None without a ledger.
        budgets: Reads and changes the budgets; None if ``facade`` is no `Patchbay`.
        responder_sources: The sources of models beside features and groups.
        agents: Runs agents; None if the service has none.
        recent: The statistics of the last 15 minutes.
        spool: The spool to which attempts are written; None without one.
        given_tokens: Issues and revokes access tokens; None if that is not possible here.
        has_own_weights: Whether the local model is the operator's file instead of the demo model.
    """

    conversations: ConversationStore
    creation: ConversationCreator
    tokens: Tokens
    sessions: Sessions
    facade: Facade
    keychain: Keychain
    database: Database
    local_model: LocalModelView | None = None
    background: Background = field(default_factory=Background)
    metrics: Metrics = field(default_factory=Metrics)
    overrides: Overrides | None = None
    usage: UsageStore | None = None
    budgets: Budgets | None = None
    responder_sources: tuple[ResponderSource, ...] = ()
    agents: Runner | None = None
    recent: RecentAttempts = field(default_factory=RecentAttempts)
    spool: SpoolView | None = None
    given_tokens: GivenTokens | None = None
    has_own_weights: bool = False
    rate_limit: CheckRateLimit = field(default_factory=CheckRateLimit)
    rates: RequestRates = field(default_factory=RequestRates)
    readiness: Readiness = field(default_factory=Readiness)
    long_bodies: asyncio.Semaphore = field(default_factory=_one_by_one)

    @property
    def responders(self) -> Responders:
        """Finds what answers to a model name: a feature, a group, or a model of `responder_sources`."""
        return Responders(self.facade, self.responder_sources)

    async def qos_info(self) -> QosInfo:
        """The table in force with the health of its endpoints, computed in a thread.

        Every feature is routed for it, which takes some 30 ms per thousand features.
        """
        return await asyncio.to_thread(self.facade.get_qos_info)

    def is_demo(self, feature: str) -> bool:
        """Whether the built-in demo model would serve ``feature`` for the caller in context."""
        if self.has_own_weights or not self.facade.demo_active:
            return False
        try:
            return bool(self.facade.explain(feature, balances=False).as_dict().get("demo"))
        except LLMError:
            return False  # the call itself tells


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes the request: what the token or session may do, and the `Caller` with the user's keys for LLM calls."""

    grant: Grant
    caller: Caller
    request_keys: RequestKeys

    @property
    def user_id(self) -> str:
        """The user as whom the caller acts."""
        return self.grant.user_id

    @property
    def owner(self) -> Owner:
        """The same user with the tenant, as the owner of stored data."""
        return self.grant.owner


class UnauthenticatedError(HTTPException):
    """The request has no access token or session, or an invalid one: status 401."""

    def __init__(self) -> None:
        super().__init__(
            401,
            "A valid access token is needed: `Authorization: Bearer <token>`.",
            {"WWW-Authenticate": 'Bearer realm="patchbay"'},
        )


def get_services(connection: HTTPConnection) -> Services:
    """The `Services` of the application that serves ``connection``."""
    return cast("Services", connection.app.state.services)


async def services_of(connection: HTTPConnection) -> Services:
    """`get_services` as a FastAPI dependency. It is asynchronous, because FastAPI runs synchronous dependencies in a thread."""
    return get_services(connection)


class ForbiddenError(HTTPException):
    """The access token is valid, but does not allow this route: status 403."""

    def __init__(self, why: str) -> None:
        super().__init__(403, why)


async def authenticate(connection: HTTPConnection) -> Grant:
    """Find the rights of the request's token or session, and count the request for its rate limit, once per request.

    Raises:
        UnauthenticatedError: There is no valid token.
        TooManyRequestsError: The token exceeds its rate limit.
    """
    if (known := getattr(connection.state, "grant", None)) is not None:
        return cast("Grant", known)
    services = get_services(connection)
    grant = await _grant(connection, services)
    if grant is None:
        raise UnauthenticatedError
    connection.state.grant = grant
    services.rates.admit(grant)
    return grant


async def admit(connection: HTTPConnection) -> None:
    """Check that the caller may use the route, by `access.ROUTES`. A dependency of all routes, before the body is read.

    Raises:
        UnauthenticatedError: There is no valid token, where one is needed.
        TooManyRequestsError: The token exceeds its rate limit.
        ForbiddenError: The token may not use the route.
    """
    row = row_of(connection)
    if row is not None and row.scopes is None:
        return
    grant = await authenticate(connection)
    if row is None or row.scopes is None:
        log.error("access.no_row path=%s", connection.scope["path"])
        raise ForbiddenError("No token may do this.")
    if not grant.may(row.scopes):
        needed = " or ".join(f"`{scope}`" for scope in SCOPES if scope in row.scopes | {"admin"})
        raise ForbiddenError(f"Your access token may not do this. It takes one with the scope {needed}.")
    if row.is_of_the_house and grant.tenant_id:
        raise ForbiddenError("This is not of your tenant alone, so no token of a tenant may do it.")


async def own(connection: HTTPConnection) -> Owner:
    """The user who makes the request, as the owner whose stored data it may read and change."""
    return (await authenticate(connection)).owner


async def identify(connection: HTTPConnection) -> AsyncIterator[Identity]:
    """Authenticate the request, and set its `Caller`, with all keys, in the context variable until the response is sent.

    Raises:
        UnauthenticatedError: There is no valid token.
        HTTPException: A header with a key does not name a provider.
        NotEnrolledError: A supplied key is not enrolled by the user.
    """
    services, grant = get_services(connection), await authenticate(connection)
    asking = _caller(grant, _keys(connection.headers))
    request_keys = await services.keychain.for_request(grant.owner, asking.keys)
    caller = request_keys.apply_to(asking)
    try:
        with use_caller(caller):
            yield Identity(grant, caller, request_keys)
    finally:
        await services.keychain.release(request_keys)


GrantDep = Annotated[Grant, Depends(authenticate)]
OwnerDep = Annotated[Owner, Depends(own)]
ServicesDep = Annotated[Services, Depends(services_of)]
IdentityDep = Annotated[Identity, Depends(identify)]


async def _grant(connection: HTTPConnection, services: Services) -> Grant | None:
    """The grant of the token in a header, or else of the session in the cookie."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme:
        return await services.tokens.find(token.strip()) if scheme.lower() == "bearer" else None
    if token := connection.headers.get("x-api-key", "").strip():  # as Anthropic's clients send it
        return await services.tokens.find(token)
    return None if is_foreign(connection) else await session_of(connection, services)


async def session_of(connection: HTTPConnection, services: Services) -> Grant | None:
    """The rights of the browser's session, found by its cookie; None if there is no valid one."""
    plain = cookie_value(connection)
    return await services.sessions.find(plain) if plain else None


def _caller(grant: Grant, keys: Mapping[str, SecretStr]) -> Caller:
    try:
        return Caller(
            user_id=grant.user_id,
            tenant_id=grant.tenant_id or None,
            keys=keys,
            budgets=grant.budgets(),
        )
    except ValidationError as error:
        raise HTTPException(400, f"{KEY_HEADER}*: {error.errors()[0]['msg']}.") from None


def _keys(headers: Headers) -> dict[str, SecretStr]:
    """The user's own keys. Blank ones are dropped by `Caller`.

    A header that names no provider, or a provider twice, is refused: if it were ignored, the house would pay.
    """
    supplied: dict[str, SecretStr] = {}
    for name, value in headers.items():
        provider = name.removeprefix(KEY_HEADER)
        if provider == name:
            continue
        if not _PROVIDER.fullmatch(provider):
            raise HTTPException(400, f"{name}: a provider is named by a-z, 0-9, _ and -.")
        if provider in supplied:
            raise HTTPException(400, f"{name}: it came more than once.")
        supplied[provider] = SecretStr(value)
    return supplied
