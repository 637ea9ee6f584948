"""The provider keys that one request may use, and whether the operator's keys may pay as well.

Cancelled timers keep the context of a request, and so its caller, alive long after the request. So the keys are erased
at its end.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import SecretStr
from typing_extensions import override

from backend.utils.llm.caller import OwnEndpoint
from backend.utils.llm.model_config import OWN
from backend.utils.llm.secrets import StoredSecret

from .errors import KeyRemovedError, RequestKeyExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from backend.utils.llm.caller import Caller
    from backend.utils.llm.types import KeyPolicy

    from .store import KeyVersion

_SHOWN = "**********"


def _never() -> bool:
    return False


def _always() -> bool:
    return True


class RequestKey(StoredSecret):
    """A user's provider key that one request may use. Base class of `StoredKey` and `SuppliedKey`.

    A `SecretStr` whose repr shows asterisks. It equals only itself and cannot be pickled; copying returns
    the same object.

    Args:
        version: The stored version of the user's key.
        is_removed: Tells whether the user has removed the key.

    Attributes:
        name: The id of the version's database row.
        fingerprint: A short public code by which the user recognises the key.
    """

    def __init__(self, version: KeyVersion, is_removed: Callable[[], bool] = _never) -> None:
        super().__init__(_SHOWN)
        self.version = version
        self.name = version.place.row
        self.fingerprint = version.fingerprint
        self._is_removed = is_removed

    @override
    def get_secret_value(self) -> str:
        """Return the key in plain text.

        Raises:
            KeyRemovedError: The user has removed the key since the request began.
            UnreadableKeyError: The key cannot be decrypted.
            RequestKeyExpiredError: The key was sent with a request that has ended.
        """
        if self._is_removed():
            self._is_removed = _always
            self.erase_value()
            raise KeyRemovedError(self.version.place.provider)
        return self._value_now()

    @abstractmethod
    def _value_now(self) -> str: ...

    @property
    @abstractmethod
    def was_used(self) -> bool:
        """Whether the request used the key: a stored key if its value was read, a supplied key always."""

    @abstractmethod
    def erase_value(self) -> None:
        """Erase the key's value from memory. Called when the request ends, or when the key was removed."""

    @override
    def __eq__(self, other: object) -> bool:
        return self is other

    @override
    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


class StoredKey(RequestKey):
    """A key that is stored encrypted, and is decrypted when its value is first read.

    Work that goes on after the request may still use the key. The value is then not kept in memory, but
    decrypted for each use.
    """

    def __init__(
        self, decrypt: Callable[[], str], version: KeyVersion, is_removed: Callable[[], bool] = _never
    ) -> None:
        super().__init__(version, is_removed)
        self._open = decrypt
        self._value: SecretStr | None = None
        self._was_used = self._is_over = False

    @property
    @override
    def was_used(self) -> bool:
        return self._was_used

    @override
    def _value_now(self) -> str:
        self._was_used = True
        value = self._value or SecretStr(self._open())
        if not self._is_over:
            self._value = value
        return value.get_secret_value()

    @override
    def erase_value(self) -> None:
        self._is_over, self._value = True, None


class SuppliedKey(RequestKey):
    """A key that the client sent with the request. It is erased, and no longer usable, when the request ends."""

    def __init__(self, key: SecretStr, version: KeyVersion, is_removed: Callable[[], bool] = _never) -> None:
        super().__init__(version, is_removed)
        self._value: SecretStr | None = key

    @property
    @override
    def was_used(self) -> bool:
        return True

    @override
    def _value_now(self) -> str:
        value = self._value
        if value is None:
            raise RequestKeyExpiredError(self.version.place.provider)
        return value.get_secret_value()

    @override
    def erase_value(self) -> None:
        self._value = None


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """The user's own keys that one request may use.

    Attributes:
        keys: The keys, by provider; under ``own``, the key for the user's own endpoint.
        versions: The stored versions of the same keys, by provider.
        serving: The providers whose keys are used for the calls of the request.
        policy: Whether the user's keys, the operator's keys, or both may pay. None for a user without keys.
    """

    keys: Mapping[str, RequestKey]
    versions: Mapping[str, KeyVersion]
    serving: Collection[str]
    policy: KeyPolicy | None

    def restrict_to_provider(self, provider: str) -> RequestKeys:
        """Return a copy that uses only the key for ``provider``, never the operator's keys. For checks of a key."""
        return replace(self, serving=[provider], policy="byok_only")

    def apply_to(self, caller: Caller) -> Caller:
        """Return a copy of ``caller`` that uses these keys and their policy. No key is decrypted."""
        keys = {provider: self.keys[provider] for provider in self.serving if provider != OWN}
        own = self._own_endpoint() if OWN in self.serving else None
        return caller.model_copy(update={"keys": keys, "own_endpoint": own, "key_policy": self.policy})

    def list_used_versions(self) -> Collection[KeyVersion]:
        """List the key versions that the request used: all supplied keys, and stored keys that were decrypted."""
        return [self.versions[provider] for provider, key in self.keys.items() if key.was_used]

    def _own_endpoint(self) -> OwnEndpoint | None:
        """The user's own endpoint, not validated again: that was done when it was enrolled, and would open its key."""
        server = self.versions[OWN].place.server
        return server and OwnEndpoint.model_construct(**server._asdict(), key=self.keys[OWN])


def choose_serving_providers(
    versions: Mapping[str, KeyVersion], supplied: Mapping[str, SecretStr]
) -> Collection[str]:
    """Choose the providers whose keys are used for the calls of a request.

    If the user has an own endpoint, only its key is used, unless the request brought keys for providers.
    Otherwise, all providers in ``versions`` are used.

    Args:
        versions: The versions of the user's keys that the request may use, by provider.
        supplied: The keys that were sent with the request, by provider.
    """
    if OWN in versions and supplied.keys() <= {OWN}:
        return [OWN]
    return versions.keys() - {OWN}


def choose_key_policy(versions: Sequence[KeyVersion]) -> KeyPolicy | None:
    """Choose whose keys may pay for a user's calls; None if the user has no key.

    The operator's keys may pay too, if the user agreed to that (the house fallback).

    Args:
        versions: All versions of the user's keys, including those that the request cannot use.
    """
    if not versions:
        return None
    return "byok_then_house" if versions[0].house_fallback else "byok_only"
