"""Callers: the user, the tenant, the keys and the budgets of a call.

A `Caller` is immutable, and held for one request in one context variable, which tasks and threads
inherit with a copy of the context; `carrying` makes an executor do so. Without a caller, a call is made
for the operator of the application (``house``).

A timer or a connection of an event loop holds the context in which it was made: a cancelled timer until
it is due, a connection while it is open. So objects that outlive a call are made in a context from
`copy_context_without_caller`, else they would hold the caller's keys.
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
from .network_policy import normalize_url
from .secrets import find_key_problem
from .types import KeyPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator
    from concurrent.futures import Future
    from contextvars import Context

    from .model_config import Provider

T = TypeVar("T")
BaseUrl = Annotated[str, AfterValidator(normalize_url)]
ModelName = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]


class OwnEndpoint(BaseModel):
    """An OpenAI-compatible server that a caller brings, with their key for it.

    Attributes:
        base_url: ``https://host[:port][/path]`` on the public internet. The table's ``private_networks`` may
            permit ``http`` and private addresses. Checked when a call is planned, and after the DNS lookup.
        model: The model's name at this server.
        key: The key for this server. It is sent nowhere else, and the operator's keys are never sent here.
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
        if not stripped or (fault := find_key_problem(stripped)):
            raise ValueError(f"the key {fault if stripped else 'is empty'}")
        return SecretStr(stripped)


class Caller(BaseModel):
    """The user, and their tenant, on whose behalf a feature is called, with the keys that may pay.

    Attributes:
        user_id: The id of the user in the application.
        tenant_id: The user's organisation.
        tier: The user's plan; routing and budgets may depend on it.
        conversation_id: The conversation that the calls belong to, so that they can stay with one endpoint.
        keys: The user's own API keys, by provider. Never printed or stored. Printable ASCII without spaces:
            an HTTP library that refuses another text would show it in its error.
        own_endpoint: The user's own server, used for every chat feature unless ``key_policy`` is ``house_only``. Excludes ``keys``.
        key_policy: Whose keys may pay: the caller's own (``byok``) or the operator's (``house``). By default
            ``byok_only`` for a caller with keys or an endpoint, else ``house_only``. ``byok_then_house`` is
            never a default, and means ``byok_only`` for features without ``house_fallback``.
        budgets: Budgets against which the calls count, in addition to those of the table, such as an access
            token's.
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
            if key and (fault := find_key_problem(key)):
                raise ValueError(f"the key for {provider} {fault}")
        return {provider: SecretStr(key) for provider, key in stripped.items() if key}

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.keys and self.own_endpoint is not None:
            raise ValueError("keys or an own_endpoint, not both: nobody could tell which of them serves")
        return self

    @property
    def user(self) -> str | None:
        """The user's id, made unique across tenants by `qualify_user_id`; None if ``user_id`` is not set."""
        return qualify_user_id(self.tenant_id, self.user_id) if self.user_id else None

    @property
    def effective_key_policy(self) -> KeyPolicy:
        """The ``key_policy``, or its default: ``byok_only`` with own keys or endpoint, else ``house_only``."""
        if self.key_policy is not None:
            return self.key_policy
        return "byok_only" if self.keys or self.own_endpoint is not None else "house_only"

    def key_for(self, provider: Provider) -> SecretStr | None:
        """The caller's own key for ``provider``; None if the caller brought no key for it."""
        if provider.access != "own":
            return self.keys.get(provider.name)
        own = self.own_endpoint
        return own.key if own is not None and own.base_url == provider.base_url else None

    def without_keys(self) -> Caller:
        """A copy without keys, for code that needs no secret. The key policy stays."""
        return self.model_copy(
            update={"keys": {}, "own_endpoint": None, "key_policy": self.effective_key_policy}
        )


def qualify_user_id(tenant_id: str | None, user_id: str) -> str:
    """Make a user id that is unique across tenants: ``acme::ann``, or ``ann`` without a tenant.

    Budgets and limits count by this id. To keep ids distinct, ``%`` and ``:`` in ``tenant_id`` are
    percent-encoded, and without a tenant a ``user_id`` that contains ``::`` is prefixed with ``::``.
    """
    if tenant_id:
        return f"{tenant_id.replace('%', '%25').replace(':', '%3A')}::{user_id}"
    return f"::{user_id}" if "::" in user_id else user_id


HOUSE = Caller(key_policy="house_only")
CURRENT: ContextVar[Caller] = ContextVar("patchbay_caller", default=HOUSE)


def current_caller() -> Caller:
    """The caller for whom calls in this context are made; `HOUSE`, the application itself, if none was set."""
    return CURRENT.get()


def ensure_caller(caller: Caller) -> Caller:
    """Return ``caller`` unchanged, or raise if it is not a `Caller`, such as a user id passed by mistake.

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
    ensure_caller(caller)
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
    """Wrap ``executor`` so that LLM calls in its threads are made for the caller who submitted the job.

    Each job runs in a copy of the submitter's context. Process pools are not supported: their jobs fail with
    a ``TypeError``. The wrapper is of no use in a forked child, which has none of the executor's threads.
    """
    return _Carrying(executor)


def copy_context_without_caller() -> Context:
    """Copy the current context without its caller, for objects that outlive a call and must not hold its keys."""
    context = copy_context()
    context.run(CURRENT.set, HOUSE)
    return context


@coroutine
def await_without_caller(work: Awaitable[T], context: Context | None = None) -> Generator[Any, Any, T]:
    """Await ``work`` in a context without a caller, but within the current task, which can cancel it.

    Args:
        work: The awaitable.
        context: A context from `copy_context_without_caller`, for several awaits to share; None makes one.
    """
    steps: Any = work.__await__()
    run = (context or copy_context_without_caller()).run
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
