"""The consequences of each kind of failure. Nothing else decides what is tried next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import (
    CallError,
    CallTimeoutError,
    ContextTooLongError,
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
from ..types import FailureCategory

Again = Literal["no", "retry", "repair"]
NextEndpoint = Literal[
    "yes",
    "no",
    "larger window",
    "another key",
    "another key, if this one is the house's",
    "the same payer's",
    "once, if the feature allows",
    "if the feature allows",
]
Health = Literal["counts", "alive", "cool endpoint", "cool key", "nothing"]


@dataclass(frozen=True)
class FailurePolicy:
    """What a call does after a failure of one category.

    Attributes:
        again: What may be sent to the same endpoint. ``no``: nothing. ``retry``: the same request after a
            wait. ``repair``: the request with a description of what is wrong with the answer.
        tries: The most requests of one call to one endpoint that may fail with this category.
        next_endpoint: Whether, or under which condition, the next endpoint may be tried.
        health: What the failure says about the endpoint. ``counts``: its circuit breaker counts a failure.
            ``alive``: it works. ``cool endpoint``: it goes into cooldown. ``cool key``: its key does.
            ``nothing``: nothing.
        error: The error that is raised when nothing is left to try.
        sentence: What the endpoint did, as the end of a sentence that begins with its name.
        cool_seconds: The seconds of the cooldown, if the provider does not say how long.
        alarm: Whether an operator has to act, so that the failure is logged as an error.
        is_rejection: Whether an answer came and was paid for, so that the attempt is ``rejected`` and not
            ``failed``.
    """

    again: Again
    tries: int
    next_endpoint: NextEndpoint
    health: Health
    error: type[LLMError]
    sentence: str
    cool_seconds: float = 0.0
    alarm: bool = False
    is_rejection: bool = False


C = FailureCategory
POLICY: dict[FailureCategory, FailurePolicy] = {
    C.CONNECT: FailurePolicy("retry", 3, "yes", "counts", ProviderDownError, "could not be reached"),
    C.TIMEOUT: FailurePolicy("retry", 2, "yes", "counts", CallTimeoutError, "did not answer in time"),
    C.SERVER: FailurePolicy("retry", 3, "yes", "counts", ProviderDownError, "failed on its own side"),
    C.EMPTY: FailurePolicy("retry", 3, "yes", "counts", ProviderDownError, "sent an empty answer"),
    C.UNREADABLE: FailurePolicy(
        "retry", 3, "yes", "counts", ProviderDownError, "sent something that is no answer"
    ),
    C.INTERRUPTED: FailurePolicy(
        "retry", 3, "yes", "counts", ProviderDownError, "broke off in the middle of its answer"
    ),
    C.RATE_LIMIT: FailurePolicy(
        "retry", 3, "yes", "cool endpoint", RateLimitedError, "asks for fewer requests", cool_seconds=30
    ),
    C.QUOTA: FailurePolicy(
        "no",
        1,
        "another key",
        "cool key",
        QuotaExceededError,
        "says that the key's quota is used up",
        cool_seconds=600,
        alarm=True,
    ),
    C.MODEL_QUOTA: FailurePolicy(
        "no",
        1,
        "yes",
        "cool endpoint",
        QuotaExceededError,
        "says that the key's quota of that model is used up",
        cool_seconds=600,
        alarm=True,
    ),
    C.CREDENTIAL: FailurePolicy(
        "no",
        1,
        "another key, if this one is the house's",
        "cool key",
        RejectedCredentialError,
        "refused the key",
        cool_seconds=300,
        alarm=True,
    ),
    C.MODEL_NOT_FOUND: FailurePolicy(
        "no",
        1,
        "yes",
        "cool endpoint",
        ModelUnavailableError,
        "does not serve that model",
        cool_seconds=600,
        alarm=True,
    ),
    C.UNEXPLAINED: FailurePolicy(
        "no",
        1,
        "the same payer's",
        "counts",
        RejectedRequestError,
        "turned the request away and did not say why",
        alarm=True,
    ),
    C.UNSUPPORTED: FailurePolicy(
        "no", 1, "yes", "alive", RejectedRequestError, "cannot do what the request asks for"
    ),
    C.UNWORDED: FailurePolicy(
        "no", 1, "yes", "nothing", RejectedRequestError, "has no words for a part of the request"
    ),
    C.CONTEXT: FailurePolicy(
        "no", 1, "larger window", "alive", ContextTooLongError, "says that the prompt is too long"
    ),
    C.REFUSAL: FailurePolicy(
        "no",
        1,
        "once, if the feature allows",
        "alive",
        RefusedError,
        "declined to answer",
        is_rejection=True,
    ),
    C.TRUNCATED: FailurePolicy(
        "repair",
        2,
        "if the feature allows",
        "alive",
        InvalidOutputError,
        "ran out of tokens before the answer was complete",
        is_rejection=True,
    ),
    C.INVALID_OUTPUT: FailurePolicy(
        "repair",
        2,
        "if the feature allows",
        "alive",
        InvalidOutputError,
        "gave an answer that does not fit",
        is_rejection=True,
    ),
    C.UNKNOWN_REASON: FailurePolicy(
        "no",
        1,
        "yes",
        "alive",
        InvalidOutputError,
        "ended its answer for a reason that is not known",
        alarm=True,
        is_rejection=True,
    ),
    C.REJECTED: FailurePolicy(
        "no", 1, "no", "alive", RejectedRequestError, "rejected the request as malformed"
    ),
    C.CANCELLED: FailurePolicy("no", 1, "no", "nothing", CallError, "was cancelled"),
    C.BUG: FailurePolicy(
        "no", 1, "no", "nothing", CallError, "could not be called because of a fault on our side", alarm=True
    ),
}
