"""Callers: the user, the tenant, the keys and the budgets of a call.

A `Caller` is immutable, and held for one request in one context variable, which tasks and threads inherit with a copy of the
context; `carrying` makes an executor do so. Without a caller, a call is made for the operator of the application (``house``).

A timer or a connection of an event loop holds the context in which it was made: a cancelled timer until it is due, a
connection while it is open. So objects that outlive a call are made `without_caller`, else they would hold the
caller's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import coroutine
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from typing_extensions import override

from .budgets import Budget
from .network_policy import plain
from .secrets import key_problem
from .types import KeyPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator
    from concurrent.futures import Future
    from contextvars import Context

    from .model_config import Provider

T = TypeVar("T")
BaseUrl = Annotated[str, AfterValidator(plain)]
ModelName = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]


class OwnEndpoint(BaseModel):
    """An OpenAI-compatible server that a caller brings, with their key for it.

    Attributes:
        base_url: ``https://host[:port][/path]``, on the public internet. ``http``, and private addresses, only where
            the table's ``private_networks`` permit them, which is checked when a call is planned and again after the
            DNS lookup.
        model: The model's name at this server.
        key: The key for this server, required. It is sent nowhere else, and the operator's key is never sent here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: BaseUrl
    model: ModelName
    key: SecretStr

    if TYPE_CHECKING:  # what it takes, for type checkers that do not know pydantic's conversions

        def __init__(self, *, base_url: str, model: str, key: SecretStr | str) -> None: ...

    @field_validator("key")
    @classmethod
    def _usable_key(cls, key: SecretStr) -> SecretStr:
        stripped = key.get_secret_value().strip()
        if not stripped or (fault := key_problem(stripped)):
            raise ValueError(f"the key {fault if stripped else 'is empty'}")
        return SecretStr(stripped)


class Caller(BaseModel):
    """The party on whose behalf a feature is called.

    Attributes:
        user_id: The id of the user in the application.
        tenant_id: The user's organisation.
        tier: The plan they are on; routing may depend on it.
        conversation_id: The conversation that the calls belong to, so that its calls can stay with one endpoint; None
            for none.
        keys: The user's own keys, provider to secret. Never printed, never stored.
            A key is printable ASCII without spaces: other text cannot be sent in a header, and an HTTP library
            that refuses such a key would show it in its error.
        own_endpoint: A server of the user's, which takes the place of ``keys`` and serves every feature except those
            that only the operator may serve.
        key_policy: Whose keys may pay: the caller's own (``byok``) or the operator's (``house``). Unset, it is
            ``byok_only`` for a caller with keys or an endpoint and ``house_only`` for a caller without;
            ``byok_then_house`` is only ever chosen explicitly, and is ``byok_only`` for a feature whose row does not
            say ``house_fallback``.
        budgets: Budgets against which the calls count, in addition to those of the table, such as an access token's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user_id: str | None = None
    tenant_id: str | None = None
    tier: str | None = None
    conversation_id: str | None = None
    keys: Mapping[str, SecretStr] = Field(default_factory=dict)
    own_endpoint: OwnEndpoint | None = None
    key_policy: KeyPolicy | None = None
    budgets: tuple[Budget, ...] = ()

    if TYPE_CHECKING:

        def __init__(  # noqa: PLR0913 - its fields
            self,
            *,
            user_id: str | None = None,
            tenant_id: str | None = None,
            tier: str | None = None,
            conversation_id: str | None = None,
            keys: Mapping[str, SecretStr] | Mapping[str, str] = ...,
            own_endpoint: OwnEndpoint | None = None,
            key_policy: KeyPolicy | None = None,
            budgets: tuple[Budget, ...] = (),
        ) -> None: ...

    @field_validator("keys")
    @classmethod
    def _usable_keys(cls, keys: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        stripped = {provider: key.get_secret_value().strip() for provider, key in keys.items()}
        for provider, key in stripped.items():
            if key and (fault := key_problem(key)):
                raise ValueError(f"the key for {provider} {fault}")
        return {provider: SecretStr(key) for provider, key in stripped.items() if key}

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.keys and self.own_endpoint is not None:
            raise ValueError("keys or an own_endpoint, not both: nobody could tell which of them serves")
        return self

    @property
    def user(self) -> str | None:
        """The user's name, unique across tenants (see `user_of`); None if no user is named."""
        return user_of(self.tenant_id, self.user_id) if self.user_id else None

    @property
    def policy(self) -> KeyPolicy:
        """The key policy in force: ``key_policy``, or its default if it is unset."""
        if self.key_policy is not None:
            return self.key_policy
        return "byok_only" if self.keys or self.own_endpoint is not None else "house_only"

    def key_for(self, provider: Provider) -> SecretStr | None:
        """The caller's own key for ``provider``; None if the caller has none there."""
        if provider.access != "own":
            return self.keys.get(provider.name)
        own = self.own_endpoint
        return own.key if own is not None and own.base_url == provider.base_url else None

    def without_keys(self) -> Caller:
        """A copy without keys, for code that needs no secret. The key policy stays."""
        return self.model_copy(update={"keys": {}, "own_endpoint": None, "key_policy": self.policy})


def user_of(tenant_id: str | None, user_id: str) -> str:
    """The name under which a user's counters are kept: ``acme::ann``, or ``ann`` without a tenant.

    No two users share a name: ``%`` and ``:`` in a tenant's name are percent-encoded, and a user's name that contains
    ``::`` gets an empty tenant if there is none.
    """
    if tenant_id:
        return f"{tenant_id.replace('%', '%25').replace(':', '%3A')}::{user_id}"
    return f"::{user_id}" if "::" in user_id else user_id


HOUSE = Caller(key_policy="house_only")
CURRENT: ContextVar[Caller] = ContextVar("patchbay_caller", default=HOUSE)


def current_caller() -> Caller:
    """The caller for whom calls in this context are made; `HOUSE`, the application itself, if none was set."""
    return CURRENT.get()


def checked_caller(caller: Caller) -> Caller:
    """Return ``caller`` unchanged, or raise if it is something else, such as a user's id passed by mistake.

    Raises:
        TypeError: ``caller`` is no `Caller`.
    """
    if not isinstance(caller, Caller):
        raise TypeError(f"on behalf of a Caller, not of {type(caller).__name__}")
    return caller


@contextmanager
def use_caller(caller: Caller) -> Iterator[Caller]:
    """Make every call in this context on behalf of ``caller``, until the block ends.

    Raises:
        TypeError: ``caller`` is no `Caller`.
    """
    checked_caller(caller)
    token = CURRENT.set(caller)
    try:
        yield caller
    finally:
        CURRENT.reset(token)


class _Carrying(Executor):
    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._executor.submit(copy_context().run, fn, *args, **kwargs)

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def carrying(executor: Executor) -> Executor:
    """Wrap ``executor`` so that calls in its threads are made for the caller who submitted the job.

    Each job runs in a copy of the submitter's context. Processes cannot: a job submitted to a process pool fails with a
    ``TypeError``. Threads of a pool end with a fork.
    """
    return _Carrying(executor)


def context_without_caller() -> Context:
    """A copy of this context without its caller, for objects that outlive the call and must not keep its keys alive."""
    context = copy_context()
    context.run(CURRENT.set, HOUSE)
    return context


@coroutine
def without_caller(work: Awaitable[T], context: Context | None = None) -> Generator[Any, Any, T]:
    """Await ``work`` in a `context_without_caller`, within this task, so that ``work`` is cancelled with the task.

    Args:
        work: The awaitable.
        context: A `context_without_caller` made earlier, for work done in several parts; by default a new one.
    """
    steps: Any = work.__await__()
    run = (context or context_without_caller()).run
    step, value = steps.send, None
    try:
        while True:
            waits_for = run(step, value)
            try:
                step, value = steps.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - it is for the work
                step, value = steps.throw, error
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        # An error would hold this frame, and this frame the error, or what was read of an answer.
        value = waits_for = None
