"""Errors about users' keys. None holds a key, nor a part of one.

::

    LLMError
    └── KeychainError
        ├── MasterKeyError         the keys that encrypt all others cannot be used
        ├── UnreadableKeyError     a stored key cannot be decrypted
        ├── NotEnrolledError       a request brought keys that its user did not enrol
        ├── MalformedKeyError      a text cannot be a key
        ├── EndpointAndKeysError   a request brought provider keys and also a key for the user's own endpoint
        ├── UnknownProviderError   the table has no such provider that takes keys
        ├── KeyNotFoundError       the user has no key for that provider
        ├── KeyGivenBackError      a key that came with a request was used after its end
        ├── KeyRemovedError        a key was used after its user had removed it
        └── TooManyTrialsError     the user checked keys too often
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.utils.llm.errors import LLMError, WithheldCredentialError

if TYPE_CHECKING:
    from collections.abc import Iterable


class KeychainError(LLMError):
    """Base of all errors that the keychain raises deliberately."""

    code = "keychain"


class MasterKeyError(KeychainError):
    """The master keys cannot be read, created or used; the message tells the operator what to do."""

    code = "master_key"
    http_status = 503


class UnreadableKeyError(KeychainError, WithheldCredentialError):
    """A stored key cannot be decrypted: its master key is gone, or the row was changed."""

    code = "key_unreadable"
    http_status = 500

    def __init__(self, provider: str) -> None:
        super().__init__(f"The stored key for {provider} cannot be opened. If that lasts, store it again.")


class NotEnrolledError(KeychainError):
    """A request was sent with a provider key that its user had not enrolled before.

    The message is the same whether no key or another key is enrolled, so an attacker learns nothing from it.
    """

    code = "key_not_enrolled"
    http_status = 403

    def __init__(self, providers: Iterable[str]) -> None:
        self.providers = tuple(providers)
        super().__init__(
            f"You did not enrol the key that came for {', '.join(self.providers)}. "
            "Enrol a key with PUT /v1/keys/{provider}, or leave its header out."
        )


class MalformedKeyError(KeychainError):
    """The given text cannot be a provider key, for example because it contains a blank or is shorter than 8 characters."""

    code = "key_malformed"
    http_status = 422

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"That is no key for {provider}: a key is 8 to 512 printable ASCII characters without spaces."
        )


class EndpointAndKeysError(KeychainError):
    """A request brought provider keys and also a key for the user's own endpoint. Only keys of one of the two may be sent."""

    code = "endpoint_and_keys"
    http_status = 400

    def __init__(self) -> None:
        super().__init__(
            "Send the key for your own endpoint, or keys for providers: not both in one request."
        )


class UnknownProviderError(KeychainError):
    """The table has no provider of the given name, or that provider takes no keys.

    The message does not repeat the name, because a user may have pasted a key in its place.
    """

    code = "unknown_provider"
    http_status = 404

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__(f"There is no such provider that takes keys. There are: {', '.join(known)}.")


class KeyNotFoundError(KeychainError):
    """The user has no key for the given provider.

    The message does not repeat the provider's name, because a user may have pasted a key in its place.
    """

    code = "key_not_found"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("You have no key for that provider.")


class KeyGivenBackError(KeychainError, WithheldCredentialError):
    """A key that was sent with a request was used after that request had ended, when the key is already erased."""

    code = "key_given_back"
    http_status = 403

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The key for {provider} came with a request that is over. Store it for work that goes on."
        )


class KeyRemovedError(KeychainError, WithheldCredentialError):
    """Work still running used a key that its user has since removed or replaced."""

    code = "key_removed"
    http_status = 403

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The key for {provider} was removed in the meantime, or nobody can tell whether it was."
        )


class TooManyTrialsError(KeychainError):
    """The user checked keys more often than the rate limit allows."""

    code = "too_many_trials"
    http_status = 429
    retryable = True

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("Keys can be tried six times a minute.", retry_after=retry_after)
