"""Errors about users' keys. None holds a key, nor a part of one.

::

    LLMError
    └── KeychainError
        ├── MasterKeyError                the keys that encrypt all others cannot be used
        ├── UnreadableKeyError            a stored key cannot be decrypted
        ├── KeyNotEnrolledError           a request brought keys that its user did not enrol
        ├── MalformedKeyError             a text cannot be a key
        ├── ConflictingRequestKeysError  a request brought keys for providers and an own endpoint
        ├── UnknownProviderError          the table has no such provider that takes keys
        ├── KeyNotFoundError              the user has no key for that provider
        ├── RequestKeyExpiredError        a key that came with a request was used after its end
        ├── KeyRemovedError               a key was used after its user had removed it
        └── TooManyKeyChecksError         the user checked keys too often
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.utils.llm.errors import LLMError, WithheldCredentialError

if TYPE_CHECKING:
    from collections.abc import Iterable


class KeychainError(LLMError):
    """Base class of the errors about users' own keys."""

    code = "keychain"


class MasterKeyError(KeychainError):
    """The master keys cannot be read, created or used. The message tells the operator what to do."""

    code = "master_key"
    http_status = 503


class UnreadableKeyError(KeychainError, WithheldCredentialError):
    """A user's stored key cannot be decrypted: its master key is missing, or the database row was changed."""

    code = "key_unreadable"
    http_status = 500

    def __init__(self, provider: str) -> None:
        super().__init__(f"The stored key for {provider} cannot be opened. If that lasts, store it again.")


class KeyNotEnrolledError(KeychainError):
    """A request brought a provider key that its user has not enrolled.

    The message does not tell whether the user has enrolled another key, so that an attacker learns nothing.
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
    """The text cannot be a provider key: it is too short or too long, or has characters that no key has."""

    code = "key_malformed"
    http_status = 422

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"That is no key for {provider}: a key is 8 to 512 printable ASCII characters without spaces."
        )


class ConflictingRequestKeysError(KeychainError):
    """A request brought keys for providers together with a key for the user's own endpoint: not allowed."""

    code = "endpoint_and_keys"
    http_status = 400

    def __init__(self) -> None:
        super().__init__(
            "Send the key for your own endpoint, or keys for providers: not both in one request."
        )


class UnknownProviderError(KeychainError):
    """The configuration table has no provider of this name, or the provider takes no keys.

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


class RequestKeyExpiredError(KeychainError, WithheldCredentialError):
    """A key that was sent with a request was used after the request had ended, which erases the key."""

    code = "key_given_back"
    http_status = 403

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The key for {provider} came with a request that is over. Store it for work that goes on."
        )


class KeyRemovedError(KeychainError, WithheldCredentialError):
    """Work that is still running used a key that its user has removed or replaced."""

    code = "key_removed"
    http_status = 403

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The key for {provider} was removed in the meantime, or nobody can tell whether it was."
        )


class TooManyKeyChecksError(KeychainError):
    """The user checked keys more often than the rate limit for key checks allows."""

    code = "too_many_trials"
    http_status = 429
    retryable = True

    def __init__(self, *, retry_after: float) -> None:
        super().__init__("Keys can be tried six times a minute.", retry_after=retry_after)
