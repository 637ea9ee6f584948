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
from backend.utils.llm.secrets import KeptSecret

from .errors import KeyGivenBackError, KeyRemovedError

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


class RequestKey(KeptSecret):
    """A user's provider key for the duration of a request; the base of `StoredKey` and `SuppliedKey`.

    Its repr shows stars, it equals only itself, cannot be pickled, and its copy is the same object.

    Args:
        version: The version of the user's key.
        is_removed: Tells whether the user has removed the key.

    Attributes:
        name: The id of the version's database row.
        fingerprint: A short public code by which its user recognises the key.
    """

    def __init__(self, version: KeyVersion, is_removed: Callable[[], bool] = _never) -> None:
        super().__init__(_SHOWN)
        self.version = version
        self.name = version.place.row
        self.fingerprint = version.fingerprint
        self._is_removed = is_removed

    @override
    def get_secret_value(self) -> str:
        """The key in plain text.

        Raises:
            KeyRemovedError: The user has removed the key since the request began.
            UnreadableKeyError: The key cannot be decrypted.
            KeyGivenBackError: The key came with a request that has ended.
        """
        if self._is_removed():
            self._is_removed = _always
            self.release()
            raise KeyRemovedError(self.version.place.provider)
        return self._value_now()

    @abstractmethod
    def _value_now(self) -> str: ...

    @property
    @abstractmethod
    def was_used(self) -> bool:
        """Whether the request used the key: a stored key once its value was read, a supplied key always."""

    @abstractmethod
    def release(self) -> None:
        """Erase the key's value from memory. Called once, when the request ends."""

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
    """A stored key, decrypted when its value is first used.

    Work that continues after the request may still use the key: it is then decrypted for each use, and not kept in memory.
    """

    def __init__(
        self, opened: Callable[[], str], version: KeyVersion, is_removed: Callable[[], bool] = _never
    ) -> None:
        super().__init__(version, is_removed)
        self._open = opened
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
    def release(self) -> None:
        self._is_over, self._value = True, None


class SuppliedKey(RequestKey):
    """A key that was sent with the request, and is erased at its end."""

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
            raise KeyGivenBackError(self.version.place.provider)
        return value.get_secret_value()

    @override
    def release(self) -> None:
        self._value = None


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """All of a user's keys that one request may use.

    Attributes:
        keys: The keys by provider; under ``own``, the key for an endpoint of the user's own.
        versions: The versions of the same keys, by provider.
        serving: The providers whose keys serve the request's calls.
        policy: Whether the user's keys, the operator's, or both may pay. None only for a user who has no key.
    """

    keys: Mapping[str, RequestKey]
    versions: Mapping[str, KeyVersion]
    serving: Collection[str]
    policy: KeyPolicy | None

    def only(self, provider: str) -> RequestKeys:
        """A copy in which ``provider``'s key alone serves, and the operator does not pay; used to check that one key."""
        return replace(self, serving=[provider], policy="byok_only")

    def apply_to(self, caller: Caller) -> Caller:
        """A copy of ``caller`` with the serving keys and the key policy. No key is decrypted."""
        keys = {provider: self.keys[provider] for provider in self.serving if provider != OWN}
        own = self._own_endpoint() if OWN in self.serving else None
        return caller.model_copy(update={"keys": keys, "own_endpoint": own, "key_policy": self.policy})

    def used_versions(self) -> Collection[KeyVersion]:
        """The key versions to record as used: all keys sent with the request, and the stored ones that were decrypted."""
        return [self.versions[provider] for provider, key in self.keys.items() if key.was_used]

    def _own_endpoint(self) -> OwnEndpoint | None:
        """The user's own endpoint, not validated again: that was done when it was enrolled, and would open its key."""
        server = self.versions[OWN].place.server
        return server and OwnEndpoint.model_construct(**server._asdict(), key=self.keys[OWN])


def serving_providers(
    versions: Mapping[str, KeyVersion], supplied: Mapping[str, SecretStr]
) -> Collection[str]:
    """Choose the providers whose keys serve the calls of a request.

    That is the user's own endpoint alone if there is one, unless the request supplied keys of the table's providers;
    otherwise all of the table's providers for which there is a key.
    """
    if OWN in versions and supplied.keys() <= {OWN}:
        return [OWN]
    return versions.keys() - {OWN}


def key_policy_of(held: Sequence[KeyVersion]) -> KeyPolicy | None:
    """Decide whose keys may pay, from all key versions that the user has; None if the user has none.

    The operator pays only for a user who has no key, or who chose it as a fallback. A key counts even if the request cannot
    use it.
    """
    if not held:
        return None
    return "byok_then_house" if held[0].house_fallback else "byok_only"
