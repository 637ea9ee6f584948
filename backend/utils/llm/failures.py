"""What kind of failure it was, and what follows from its kind.

One classifier for both SDKs. It reads the facts of the wire first (status, the provider's code), the exception's type
last, and never a vendor's prose.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from .errors import (
    CallError,
    CallTimeoutError,
    ContextTooLongError,
    CredentialNotAllowedError,
    InvalidOutputError,
    LLMError,
    ModelUnavailableError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    RejectedCredentialError,
    RejectedRequestError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .transport import Wire


class Category(StrEnum):
    """The kinds of failure. The policy depends on nothing else."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    SERVER = "server"
    EMPTY = "empty"
    INTERRUPTED = "interrupted"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    CREDENTIAL = "credential"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT = "context"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    INVALID_OUTPUT = "invalid_output"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    BUG = "bug"


NextEndpoint = Literal["yes", "no", "larger window", "another key", "another key, if this one is the house's"]


@dataclass(frozen=True)
class Policy:
    """What follows from a category: may the next endpoint be tried, and what is raised when none is left."""

    next_endpoint: NextEndpoint
    error: type[LLMError]
    sentence: str


POLICY: dict[Category, Policy] = {
    Category.CONNECT: Policy("yes", ProviderDownError, "could not be reached"),
    Category.TIMEOUT: Policy("yes", CallTimeoutError, "did not answer in time"),
    Category.SERVER: Policy("yes", ProviderDownError, "failed on its own side"),
    Category.EMPTY: Policy("yes", ProviderDownError, "sent an empty answer"),
    Category.INTERRUPTED: Policy("yes", ProviderDownError, "broke off in the middle of its answer"),
    Category.RATE_LIMIT: Policy("yes", RateLimitedError, "asks for fewer requests"),
    Category.QUOTA: Policy("another key", QuotaExceededError, "says that the key's quota is used up"),
    Category.CREDENTIAL: Policy(
        "another key, if this one is the house's", RejectedCredentialError, "refused the key"
    ),
    Category.MODEL_NOT_FOUND: Policy("yes", ModelUnavailableError, "does not serve that model"),
    Category.CONTEXT: Policy("larger window", ContextTooLongError, "says that the prompt is too long"),
    Category.REFUSAL: Policy("no", RefusedError, "declined to answer"),
    Category.TRUNCATED: Policy("yes", InvalidOutputError, "ran out of tokens before the answer was complete"),
    Category.INVALID_OUTPUT: Policy(
        "yes", InvalidOutputError, "answered something that does not fit the schema"
    ),
    Category.REJECTED: Policy("no", RejectedRequestError, "rejected the request as malformed"),
    Category.CANCELLED: Policy("no", CallError, "was cancelled"),
    Category.BUG: Policy("no", CallError, "could not be called because of a fault on our side"),
}

STATUS: dict[int, Category] = {
    400: Category.REJECTED,
    401: Category.CREDENTIAL,
    402: Category.QUOTA,
    403: Category.CREDENTIAL,
    404: Category.MODEL_NOT_FOUND,
    408: Category.TIMEOUT,
    409: Category.SERVER,
    413: Category.CONTEXT,
    422: Category.REJECTED,
    425: Category.SERVER,
    429: Category.RATE_LIMIT,
}

CODES: dict[str, Category] = {
    "API_KEY_INVALID": Category.CREDENTIAL,
    "content_filter": Category.REFUSAL,
    "content_policy_violation": Category.REFUSAL,
    "context_length_exceeded": Category.CONTEXT,
    "exceed_context_size_error": Category.CONTEXT,
    "insufficient_quota": Category.QUOTA,
    "invalid_api_key": Category.CREDENTIAL,
    "model_not_found": Category.MODEL_NOT_FOUND,
}


class BadAnswer(Exception):  # noqa: N818 - never leaves the facade
    """A complete answer that must not be handed on."""

    def __init__(self, category: Category, reason: str) -> None:
        super().__init__(reason)
        self.category = category
        self.reason = reason


@dataclass(frozen=True)
class Failure:
    """A classified failure.

    Attributes:
        error: Set if the failure is already one of ours and says more than its category does.
    """

    category: Category
    status: int | None = None
    error: LLMError | None = None


def classify(exception: BaseException, wire: Wire, outer: BaseException | None = None) -> Failure:
    """What kind of failure ``exception`` was, given what the wire said. Total: anything else is a bug of ours.

    Args:
        exception: What the attempt ended with.
        wire: What the wire said.
        outer: What the caller of the call was handling anyway; it says nothing about this attempt.
    """
    if not isinstance(exception, Exception):  # cancelled, closed, interrupted, told to exit
        return Failure(Category.CANCELLED, wire.status)
    if isinstance(exception, BadAnswer):
        return Failure(exception.category, wire.status)
    if wire.refusal is not None:
        down = isinstance(wire.refusal, ProviderDownError)
        return Failure(Category.CONNECT if down else Category.BUG, error=wire.refusal)
    if isinstance(exception, CredentialNotAllowedError):
        return Failure(Category.BUG, error=exception)
    if wire.status is not None and wire.status >= 300:  # noqa: PLR2004 - the first status that is not a success
        return Failure(_by_status(wire.status, wire.error_code), wire.status)
    return Failure(_by_type(exception, wire, outer), wire.status)


def _by_status(status: int, code: str | None) -> Category:
    if code in CODES:
        return CODES[code]
    if status in STATUS:
        return STATUS[status]
    return Category.SERVER if status >= 500 else Category.REJECTED  # noqa: PLR2004 - the server's own faults


def _by_type(exception: BaseException, wire: Wire, outer: BaseException | None) -> Category:
    names = {kind.__name__ for link in _chain(exception, outer) for kind in type(link).__mro__}
    if names & {"TimeoutException", "APITimeoutError", "TimeoutError"}:
        return Category.TIMEOUT
    if wire.sent_at is None:
        return Category.BUG
    if names & {"TransportError", "APIConnectionError", "ModelConnectionError", "OSError"}:
        return Category.CONNECT if wire.status is None else Category.INTERRUPTED
    # The provider answered 200 with something that its own SDK cannot read.
    return Category.SERVER if wire.status is not None else Category.BUG


def _chain(exception: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exception is not None and exception is not outer and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
