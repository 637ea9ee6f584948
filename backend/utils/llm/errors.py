"""All errors, as one tree.

::

    LLMError
    ├── ConfigError                    the table is wrong; lists every problem
    ├── UnknownFeatureError            the table has no such feature; names the nearest
    ├── CredentialError
    │   ├── MissingCredentialError     no key may serve this feature
    │   ├── RejectedCredentialError    the provider refused the key
    │   ├── WithheldCredentialError    the caller's key can no longer be read
    │   ├── CredentialNotAllowedError  the key may not do this, or go there
    │   └── MissingCallerError         a call without a caller, where one is required
    ├── CallError                      one attempt failed, and no other was allowed
    │   ├── RateLimitedError  QuotaExceededError  CallTimeoutError  ProviderDownError
    │   ├── ContextTooLongError  RefusedError  InvalidOutputError  RejectedRequestError
    │   ├── ModelUnavailableError      the provider does not serve that model
    │   ├── StreamInterruptedError     after the first chunk; carries the partial text
    │   ├── NoEndpointError            no endpoint can do what the call needs
    │   ├── OwnEndpointError           a caller's own endpoint has a forbidden address, or sends too much
    │   └── SelectionStoppedError      a custom selector stopped the call; carries its reason
    ├── AllAttemptsFailedError         several endpoints were tried
    ├── SelectorError                  a custom selector failed, or returned something invalid
    ├── BudgetExceededError            a budget is used up; says when it is reset
    ├── BudgetUnavailableError         the counters of a budget could not be read, and its row then refuses calls
    └── ConfirmationError

Every error has a stable ``code``, an ``http_status``, ``retryable``, the ``feature`` and the ``attempts``. Its text is
safe to show to a user: it never holds a key, a prompt, an answer or a vendor's prose. The vendor's exception is the
``__cause__``. Where LangChain has a type for a condition, ours inherits it, so that code written for
``langchain_core.exceptions`` keeps working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from typing_extensions import override

from .nearest import LONGEST, find_similar_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from langchain_core.messages import AIMessage

    from .receipt import Attempt
    from .types import Per


class LLMError(Exception):
    """Base class of all errors that this package raises on purpose.

    Attributes:
        code: A stable, machine-readable name.
        http_status: The status with which an HTTP API should answer.
        retryable: Whether the same call may succeed later, unchanged.
        feature: The feature that was called, if any.
        attempts: Every request that was sent for this call, in order.
        retry_after: Seconds until a new call makes sense; None if unknown.
        call_id: The call's id, under which the ledger has its attempts; None if there was no call yet.
    """

    code: ClassVar[str] = "llm_error"
    http_status: int = 500
    retryable: bool = False
    call_id: str | None = None

    def __init__(
        self,
        message: str,
        *,
        feature: str | None = None,
        attempts: Sequence[Attempt] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.feature = feature
        self.attempts = tuple(attempts)
        self.retry_after = retry_after

    @override
    def __str__(self) -> str:
        return self.message

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle as cls(*args), which our keyword arguments do not fit.
        return (_rebuild, (type(self), self.message, self.__dict__))

    def as_dict(self) -> dict[str, Any]:
        """The error as a JSON-ready dictionary, for an HTTP answer or a log line."""
        return {
            "code": self.code,
            "message": self.message,
            "feature": self.feature,
            "call_id": self.call_id,
            "retryable": self.retryable,
            "retry_after_s": self.retry_after,
            "attempts": [attempt.as_dict() for attempt in self.attempts],
        }


def _rebuild(cls: type[LLMError], message: str, state: dict[str, Any]) -> LLMError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class ConfigError(LLMError):
    """The table, or an override of one of its values, is wrong. Holds every problem, not only the first."""

    code = "config_invalid"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__("\n".join([f"{count} problem{'s' * (count != 1)} in the table:", *self.problems]))


class UnknownFeatureError(LLMError):
    """The called feature is not in the table. No default model takes its place."""

    code = "unknown_feature"
    http_status = 404

    def __init__(self, feature: str, known: Iterable[str]) -> None:
        self.nearest = find_similar_words(feature, known)
        hint = f" Did you mean {', '.join(map(repr, self.nearest))}?" if self.nearest else ""
        super().__init__(
            f"Unknown feature {feature[:LONGEST]!r}.{hint} `get_qos_info()`, `features` and `GET /v1/llm/qos` list them all.",
            feature=feature[:LONGEST],
        )


class UnknownEndpointError(LLMError):
    """A call named an endpoint that the table does not have."""

    code = "unknown_endpoint"
    http_status = 404

    def __init__(self, endpoint: str, feature: str, known: Iterable[str]) -> None:
        self.nearest = find_similar_words(endpoint, known)
        hint = f" Did you mean {', '.join(map(repr, self.nearest))}?" if self.nearest else ""
        super().__init__(
            f"The table holds no endpoint {endpoint[:LONGEST]!r}.{hint} A call may name any that stands in a chain or a group.",
            feature=feature,
        )


class CredentialError(LLMError):
    """Base class of all errors about API keys: the call has no usable key."""

    code = "credential"
    http_status = 403


class MissingCredentialError(CredentialError):
    """None of the keys that the caller may use is for an endpoint of the feature. Nothing was sent."""

    code = "credential_missing"
    http_status = 403


class MissingCallerError(CredentialError):
    """A call was made without a caller, which `Patchbay(require_caller=True)` forbids. Nothing was sent."""

    code = "caller_missing"
    http_status = 500

    def __init__(self, feature: str) -> None:
        super().__init__(
            f"{feature!r} was called on nobody's behalf. Call it inside `use_caller`; a thread has to be given its "
            "context, as `carrying(executor)` does. Work of the house has a caller without keys.",
            feature=feature,
        )


class RejectedCredentialError(CredentialError, ModelAuthenticationError):
    """The provider refused the key (401 or 403). ``http_status`` is 502, or 403 if it was the caller's own key."""

    code = "credential_rejected"
    http_status = 502


class WithheldCredentialError(CredentialError):
    """Base class for a caller's key that can no longer be read; raised by its ``get_secret_value``."""

    code = "credential_withheld"
    http_status = 403


class CredentialNotAllowedError(CredentialError, ModelPermissionDeniedError):
    """A request was stopped, because its host is not the one of its key, or because no running attempt sent it."""

    code = "credential_not_allowed"
    http_status = 500


class CallError(LLMError, ModelError):
    """A call failed: no attempt succeeded, and no further attempt was possible or allowed.

    Attributes:
        answer: The last answer, if it was rejected; else None. It is in no error text and no log.
    """

    code = "call_failed"
    http_status = 502
    is_retryable = False
    answer: AIMessage | None = None


class RateLimitedError(CallError, ModelRateLimitError):
    """The provider's rate limit is reached (429)."""

    code = "rate_limited"
    http_status = 429
    retryable = True
    is_retryable = True


class QuotaExceededError(CallError):
    """The key's quota or credit is used up (429 quota, 402)."""

    code = "quota_exceeded"
    http_status = 429


class CallTimeoutError(CallError, ModelTimeoutError):
    """No answer came before the attempt's timeout or the call's deadline."""

    code = "timed_out"
    http_status = 504
    retryable = True
    is_retryable = True


class ProviderDownError(CallError, ModelAPIError, ModelConnectionError):
    """The provider could not be reached, or failed on its own (5xx, 529, an empty or cut answer)."""

    code = "provider_down"
    http_status = 502
    retryable = True
    is_retryable = True


class ContextTooLongError(CallError, ContextOverflowError):
    """The prompt does not fit the model's context window."""

    code = "context_too_long"
    http_status = 413


class RefusedError(CallError):
    """The model, or the provider's filter, declined to answer."""

    code = "refused"
    http_status = 422


class InvalidOutputError(CallError):
    """The answer was truncated or does not satisfy the schema."""

    code = "invalid_output"
    http_status = 502


class RejectedRequestError(CallError, ModelInvalidRequestError):
    """The provider rejected the request as malformed (400, 422)."""

    code = "rejected_request"
    http_status = 400


class ModelUnavailableError(CallError, ModelNotFoundError):
    """The provider does not serve the model (404)."""

    code = "model_unavailable"
    http_status = 502


class StreamInterruptedError(CallError, ModelConnectionError):
    """The stream broke after its first chunk, so no other model may continue it.

    Attributes:
        partial: The text that the caller had already received.
    """

    code = "stream_interrupted"
    http_status = 502
    retryable = True
    is_retryable = True

    def __init__(
        self,
        message: str,
        *,
        feature: str | None = None,
        attempts: Sequence[Attempt] = (),
        retry_after: float | None = None,
        partial: str = "",
    ) -> None:
        super().__init__(message, feature=feature, attempts=attempts, retry_after=retry_after)
        self.partial = partial


class NoEndpointError(CallError):
    """No endpoint of the feature can do what the call needs. Nothing was sent."""

    code = "no_endpoint"
    http_status = 422


class OwnEndpointError(CallError):
    """The caller's own endpoint has a forbidden address, or its answer is larger than such endpoints may send."""

    code = "own_endpoint"
    http_status = 422


class SelectionStoppedError(CallError):
    """A custom selector ended the call.

    Attributes:
        reason: The reason that the selector gave.
    """

    code = "selection_stopped"
    http_status = 503
    reason: str = ""


class SelectorError(LLMError):
    """A custom selector is missing, failed (its exception is the ``__cause__``), or returned something invalid."""

    code = "selector_failed"


class AllAttemptsFailedError(CallError):
    """Several endpoints were tried and each failed; see ``attempts``.

    The ``__cause__`` is the cause of the last failure. The error is ``retryable`` if any of the failures is.
    """

    code = "all_attempts_failed"
    http_status = 502


class BudgetExceededError(LLMError):
    """A budget has too little left for the most that the call could use. No further request was sent.

    ``retry_after`` is the number of seconds until enough is left again. If requests in flight hold the
    missing amount, the error is ``retryable`` and its ``http_status`` is 429; otherwise 402.

    Attributes:
        budget: The name of the budget in the table.
        per: Whose counter is full: that of the ``feature``, ``tenant``, ``user`` or ``owner``.
        resets_at: The moment at which the budget is reset; None if never.
    """

    code = "budget_exceeded"
    http_status = 402
    budget: str | None = None
    per: Per | None = None
    resets_at: datetime | None = None

    @override
    def as_dict(self) -> dict[str, Any]:
        resets_at = None if self.resets_at is None else self.resets_at.isoformat()
        return {**super().as_dict(), "budget": self.budget, "per": self.per, "resets_at": resets_at}


class BudgetUnavailableError(LLMError):
    """The counters of a budget could not be read, and its row does not say ``when_away = "open"``. Nothing was sent."""

    code = "budget_unavailable"
    http_status = 503
    retryable = True


class ConfirmationError(LLMError):
    """A person's confirmation of an action is missing, came too late, or is for another action."""

    code = "confirmation"
    http_status = 409
