"""Who asks, with whose keys, and what may be spent in whose name.

A `Caller` is immutable and held for one request in one context variable, which tasks and threads that copy the
context carry along. Without a caller, the house asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from .keys import is_key

if TYPE_CHECKING:
    from collections.abc import Iterator

KeyPolicy = Literal["house_only", "byok_only", "byok_then_house"]
KeyOwner = Literal["house", "user"]


class Caller(BaseModel):
    """The party on whose behalf a feature is called.

    Attributes:
        user_id: The user, as the application names them.
        tenant_id: The user's organisation.
        tier: The plan they are on; routing may depend on it.
        conversation_id: What their calls belong to; a conversation may stay with the endpoint that served it.
        keys: Their own keys, provider to secret. Never printed, never stored.
            A key is printable ASCII without spaces: what is not could not travel in a header, and an HTTP library
            that refuses it would show it in its error.
        key_policy: Whose keys may pay. Unset, it is ``byok_only`` for a caller who brought keys and
            ``house_only`` for one who did not; ``byok_then_house`` is only ever chosen explicitly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user_id: str | None = None
    tenant_id: str | None = None
    tier: str | None = None
    conversation_id: str | None = None
    keys: Mapping[str, SecretStr] = Field(default_factory=dict)
    key_policy: KeyPolicy | None = None

    @field_validator("keys")
    @classmethod
    def _usable_keys(cls, keys: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
        stripped = {provider: key.get_secret_value().strip() for provider, key in keys.items()}
        for provider, key in stripped.items():
            if key and not is_key(key):
                raise ValueError(f"the key for {provider} holds characters that no key has")
        return {provider: SecretStr(key) for provider, key in stripped.items() if key}

    @property
    def policy(self) -> KeyPolicy:
        """The key policy in force."""
        if self.key_policy is not None:
            return self.key_policy
        return "byok_only" if self.keys else "house_only"


HOUSE = Caller()
_current: ContextVar[Caller] = ContextVar("patchbay_caller", default=HOUSE)


def current_caller() -> Caller:
    """The caller of this context; the house if nobody was named."""
    return _current.get()


@contextmanager
def use_caller(caller: Caller) -> Iterator[Caller]:
    """Make every call in this context on behalf of ``caller``."""
    token = _current.set(caller)
    try:
        yield caller
    finally:
        _current.reset(token)
