"""FastAPI dependencies of the routes: the application's services, and who makes the request.

`identify_caller` authenticates every caller, over HTTP and WebSocket alike. It keeps the caller in a
context variable until the response has been sent, streams included. It must be asynchronous: FastAPI
runs a synchronous dependency in a thread, and context variables set there are lost.
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

from backend.access import SCOPES, DataOwner, Grant, TokenManager
from backend.agents.runner import AgentRunner
from backend.background import BackgroundTaskRunner
from backend.budgets import BudgetManager
from backend.conversations.creation import ConversationCreator
from backend.conversations.store import ConversationStore
from backend.keys.keychain import Keychain
from backend.keys.rate_limit import KeyCheckRateLimiter
from backend.keys.request_keys import RequestKeys
from backend.ledger.usage import UsageStore
from backend.local_model import State
from backend.metrics import AttemptMetrics
from backend.overrides import OverrideManager
from backend.recent import RecentAttemptStats
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.diagnostics.models import ModelInfo
from backend.utils.llm.diagnostics.qos import QosInfo
from backend.utils.llm.errors import LLMError
from backend.utils.llm.routing.route import Needs
from backend.wires.features import ChatModelRegistry
from backend.wires.responders import ResponderRegistry, ResponderSource

from .access import find_route_access
from .headers import KEY_HEADER
from .logins import BrowserSessions, read_session_cookie
from .origins import is_cross_origin_write
from .rates import TokenRateLimiter
from .readiness import ReadinessChecker

log = logging.getLogger(__name__)

_PROVIDER: Final = re.compile(r"[a-z0-9_-]+")


class TokenLookup(Protocol):
    """Looks up the rights that an access token gives, when a program sends a request or a browser logs in."""

    async def find_grant(self, plain_token: str) -> Grant | None:
        """Return the rights that the token gives; None if it is unknown, expired or revoked."""
        ...


@dataclass(frozen=True, slots=True)
class LaunchTokenLookup:
    """A `TokenLookup` that also accepts the launch token, which is valid until the process ends.

    The command that starts the service makes the launch token, for example to send the sample conversation.

    Attributes:
        plain: The launch token in plain text.
        user_id: The first user, in whose name the launch token acts.
        others: Looks up all other tokens.
    """

    plain: str = field(repr=False)
    user_id: str
    others: TokenLookup

    async def find_grant(self, plain_token: str) -> Grant | None:
        """Return every scope if ``plain_token`` is the launch token, else the rights of the stored token.

        None if the token is unknown. See `TokenLookup.find_grant`.
        """
        if secrets.compare_digest(plain_token.encode(errors="surrogatepass"), self.plain.encode()):
            return Grant(self.user_id, scopes=frozenset(SCOPES))
        return await self.others.find_grant(plain_token)


class RoutingExplanation(Protocol):
    """Explains which endpoint would serve a call, and why. Returned by `LLMFacade.explain`."""

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a dict for the JSON response."""
        ...


class LLMFacade(ChatModelRegistry, Protocol):
    """The methods of the LLM clients that the HTTP routes call. `Patchbay` implements them."""

    @property
    def demo_active(self) -> bool:
        """Whether the built-in demo model serves calls for which nobody has a provider's key."""
        ...

    def get_qos_info(self) -> QosInfo:
        """Return the feature table in force, with its endpoints' health and limits as this process knows them."""
        ...

    def declared_needs(self, feature: str) -> Needs:
        """What the feature table says that every call of ``feature`` needs of a model, such as tool calling."""
        ...

    def explain(
        self,
        feature: str,
        *,
        caller: Caller | None = None,
        needs: Needs | None = None,
        balances: bool = True,
    ) -> RoutingExplanation:
        """Explain which endpoint would serve a call of ``feature`` now, and why. Nothing is sent to a provider.

        Args:
            feature: The feature that would be called.
            caller: Who would call; by default the caller in context.
            needs: What the call needs of a model; by default what the feature table declares for the feature.
            balances: Whether to include the balances of the caller's budgets. Reading them may block.
        """
        ...

    def get_models(self) -> tuple[ModelInfo, ...]:
        """Return every model that the feature table names, with its capabilities, prices and retirement date."""
        ...

    def fault_of(self, base_url: str) -> str | None:
        """Return why a user may not enrol an endpoint at ``base_url``; None if the user may."""
        ...


class DatabaseCheck(Protocol):
    """Checks whether the database works, for the readiness check."""

    async def find_fault(self) -> str | None:
        """Return an error code that says why the database cannot be read or written; None if it can.

        Takes about a second at most.
        """
        ...


class SpoolStatsView(Protocol):
    """Counters of the spool: the folder on disk where records of attempts wait to be written into the database."""

    @property
    def lost(self) -> int:
        """How many records were dropped because the spool was full."""
        ...

    @property
    def fault(self) -> str | None:
        """Why records cannot be written to disk now; None if the spool works."""
        ...


class SpoolView(Protocol):
    """The spool, a folder on disk where records of attempts wait to be written into the database."""

    @property
    def stats(self) -> SpoolStatsView:
        """The current counters of the spool in this process."""
        ...


class LocalModelView(Protocol):
    """What pages and health checks show of the built-in local model."""

    @property
    def label(self) -> str:
        """The name of the model, as pages show it."""
        ...

    @property
    def state(self) -> State:
        """The state of the model's process: ``stopped``, ``starting``, ``ready``, ``unresponsive`` or ``failed``."""
        ...

    @property
    def reason(self) -> str | None:
        """What the operator can do if the model has failed or does not answer; None in every other state."""
        ...


def _one_by_one() -> asyncio.Semaphore:
    """A lock for long bodies: parsing takes memory, and two threads are no faster than one."""
    return asyncio.Semaphore(1)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the routes use, created once by `create_app` and kept in the application's state.

    Attributes:
        conversations: Stores and lists conversations.
        creation: Processes transcripts into conversations.
        tokens: Looks up access tokens, for requests of programs and for logins of browsers.
        sessions: Starts, looks up and ends browser sessions.
        facade: The LLM clients.
        keychain: Stores and finds users' own keys.
        database: Checks whether the database works.
        local_model: The built-in local model; None without one.
        background: Runs the background tasks.
        metrics: The Prometheus counters of attempts.
        overrides: Reads and changes the stored overrides; None if ``facade`` is no `Patchbay`.
        usage: Reads the usage in the ledger; None without a ledger.
        budgets: Reads and changes the budgets; None if ``facade`` is no `Patchbay`.
        responder_sources: Further sources of models that a request may name, besides features and groups.
        agents: Runs agents; None if the service has none.
        recent: The statistics of the attempts of the last 15 minutes.
        spool: The folder on disk to which records of attempts are written first; None without one.
        given_tokens: Issues, lists and revokes access tokens; None if that is not possible here.
        has_own_weights: Whether the local model is the operator's own file, not the built-in demo model.
        rate_limit: Limits how often users may have their keys checked.
        rates: Enforces the rate limits of access tokens.
        readiness: Computes the report for the readiness check.
        long_bodies: The semaphore that lets only one long request body be parsed at a time.
    """

    conversations: ConversationStore
    creation: ConversationCreator
    tokens: TokenLookup
    sessions: BrowserSessions
    facade: LLMFacade
    keychain: Keychain
    database: DatabaseCheck
    local_model: LocalModelView | None = None
    background: BackgroundTaskRunner = field(default_factory=BackgroundTaskRunner)
    metrics: AttemptMetrics = field(default_factory=AttemptMetrics)
    overrides: OverrideManager | None = None
    usage: UsageStore | None = None
    budgets: BudgetManager | None = None
    responder_sources: tuple[ResponderSource, ...] = ()
    agents: AgentRunner | None = None
    recent: RecentAttemptStats = field(default_factory=RecentAttemptStats)
    spool: SpoolView | None = None
    given_tokens: TokenManager | None = None
    has_own_weights: bool = False
    rate_limit: KeyCheckRateLimiter = field(default_factory=KeyCheckRateLimiter)
    rates: TokenRateLimiter = field(default_factory=TokenRateLimiter)
    readiness: ReadinessChecker = field(default_factory=ReadinessChecker)
    long_bodies: asyncio.Semaphore = field(default_factory=_one_by_one)

    @property
    def responders(self) -> ResponderRegistry:
        """Finds what answers to a model name: a feature, a group, or a model of ``responder_sources``."""
        return ResponderRegistry(self.facade, self.responder_sources)

    async def compute_qos_info(self) -> QosInfo:
        """Return the feature table in force, with the current health of its endpoints.

        Runs in a thread, because routing all features takes about 30 ms per thousand.
        """
        return await asyncio.to_thread(self.facade.get_qos_info)

    def is_served_by_demo(self, feature: str) -> bool:
        """Whether the built-in demo model would serve a call of ``feature`` by the caller in context."""
        if self.has_own_weights or not self.facade.demo_active:
            return False
        try:
            return bool(self.facade.explain(feature, balances=False).as_dict().get("demo"))
        except LLMError:
            return False  # the call itself tells


@dataclass(frozen=True, slots=True)
class Identity:
    """The user who makes a request, with the rights and keys that the request may use.

    Attributes:
        grant: The rights of the request's access token or browser session.
        caller: The `Caller` for LLM calls, with the user's own keys.
        request_keys: The user's own keys that this request may use.
    """

    grant: Grant
    caller: Caller
    request_keys: RequestKeys

    @property
    def user_id(self) -> str:
        """The user in whose name the request is made."""
        return self.grant.user_id

    @property
    def owner(self) -> DataOwner:
        """The user together with the tenant, as the owner of stored data."""
        return self.grant.owner


class UnauthenticatedError(HTTPException):
    """The request has no valid access token or session: status 401."""

    def __init__(self) -> None:
        super().__init__(
            401,
            "A valid access token is needed: `Authorization: Bearer <token>`.",
            {"WWW-Authenticate": 'Bearer realm="patchbay"'},
        )


def get_services(connection: HTTPConnection) -> Services:
    """Return the `Services` of the application that serves ``connection``."""
    return cast("Services", connection.app.state.services)


async def get_services_async(connection: HTTPConnection) -> Services:
    """Return the `Services` of the application, as a FastAPI dependency.

    It is asynchronous, because FastAPI would run the synchronous `get_services` in a thread each time.
    """
    return get_services(connection)


class ForbiddenError(HTTPException):
    """The access token is valid, but does not allow this route: status 403."""

    def __init__(self, why: str) -> None:
        super().__init__(403, why)


async def authenticate(connection: HTTPConnection) -> Grant:
    """Find the rights of the request's access token or session. A FastAPI dependency.

    Further calls for the same request reuse the result, and do not count against the rate limit.

    Raises:
        UnauthenticatedError: The request has no valid token or session.
        TooManyRequestsError: The token exceeds its rate limit.
    """
    if (known := getattr(connection.state, "grant", None)) is not None:
        return cast("Grant", known)
    services = get_services(connection)
    grant = await _grant(connection, services)
    if grant is None:
        raise UnauthenticatedError
    connection.state.grant = grant
    services.rates.count_request(grant)
    return grant


async def authorize(connection: HTTPConnection) -> None:
    """Raise an error unless the request's token may use the route, by the rules in `access.ROUTES`.

    A FastAPI dependency of all routes, which runs before the request body is read.

    Raises:
        UnauthenticatedError: The route needs a token, and the request has no valid one.
        TooManyRequestsError: The token exceeds its rate limit.
        ForbiddenError: The token may not use the route, or `access.ROUTES` has no rule for the route.
    """
    row = find_route_access(connection)
    if row is not None and row.scopes is None:
        return
    grant = await authenticate(connection)
    if row is None or row.scopes is None:
        log.error("access.no_row path=%s", connection.scope["path"])
        raise ForbiddenError("No token may do this.")
    if not grant.has_any_scope(row.scopes):
        needed = " or ".join(f"`{scope}`" for scope in SCOPES if scope in row.scopes | {"admin"})
        raise ForbiddenError(f"Your access token may not do this. It takes one with the scope {needed}.")
    if row.is_of_the_house and grant.tenant_id:
        raise ForbiddenError("This is not of your tenant alone, so no token of a tenant may do it.")


async def get_data_owner(connection: HTTPConnection) -> DataOwner:
    """Return the user and tenant of the request, as the owner of stored data. A FastAPI dependency.

    Raises:
        UnauthenticatedError: The request has no valid token or session.
        TooManyRequestsError: The token exceeds its rate limit.
    """
    return (await authenticate(connection)).owner


async def identify_caller(connection: HTTPConnection) -> AsyncIterator[Identity]:
    """Authenticate the request, and make its user the caller of all LLM calls until the response is sent.

    A FastAPI dependency. It sets the `Caller`, with the user's own keys, in a context variable.

    Raises:
        UnauthenticatedError: There is no valid token.
        HTTPException: A key header does not name a provider, or two key headers name the same provider.
        KeyNotEnrolledError: The user has not enrolled a key that the request supplies.
    """
    services, grant = get_services(connection), await authenticate(connection)
    asking = _caller(grant, _keys(connection.headers))
    request_keys = await services.keychain.collect_request_keys(grant.owner, asking.keys)
    caller = request_keys.apply_to(asking)
    try:
        with use_caller(caller):
            yield Identity(grant, caller, request_keys)
    finally:
        await services.keychain.release_request_keys(request_keys)


GrantDep = Annotated[Grant, Depends(authenticate)]
OwnerDep = Annotated[DataOwner, Depends(get_data_owner)]
ServicesDep = Annotated[Services, Depends(get_services_async)]
IdentityDep = Annotated[Identity, Depends(identify_caller)]


async def _grant(connection: HTTPConnection, services: Services) -> Grant | None:
    """The grant of the token in a header, or else of the session in the cookie."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme:
        return await services.tokens.find_grant(token.strip()) if scheme.lower() == "bearer" else None
    if token := connection.headers.get("x-api-key", "").strip():  # as Anthropic's clients send it
        return await services.tokens.find_grant(token)
    return None if is_cross_origin_write(connection) else await find_session_grant(connection, services)


async def find_session_grant(connection: HTTPConnection, services: Services) -> Grant | None:
    """Find the rights of the browser session in the request's cookie; None if there is no valid session."""
    plain = read_session_cookie(connection)
    return await services.sessions.find_grant(plain) if plain else None


def _caller(grant: Grant, keys: Mapping[str, SecretStr]) -> Caller:
    try:
        return Caller(
            user_id=grant.user_id,
            tenant_id=grant.tenant_id or None,
            keys=keys,
            budgets=grant.access_token_budgets(),
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
