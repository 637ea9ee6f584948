"""How a call ends when it is not answered: one error, built from the route and the attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import (
    AllAttemptsFailedError,
    CallTimeoutError,
    NoEndpointError,
    RejectedCredentialError,
    SelectionStoppedError,
    SelectorError,
    StreamInterruptedError,
)
from ..failures import POLICY, Category
from ..receipt import called
from ..routing.plan import resting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import LLMError
    from ..failures import Failure
    from ..receipt import Attempt
    from ..routing.route import Candidate, Route
    from ..state.health import Unavailable


def out_of_time(route: Route, attempts: Sequence[Attempt]) -> LLMError:
    """Its deadline is over."""
    name, seconds = route.feature.name, route.deadline
    text = f"{name!r} was not answered within its deadline of {seconds:g} s."
    return CallTimeoutError(text, feature=name, attempts=attempts)


def nothing_left(route: Route, rests: Sequence[tuple[Candidate, Unavailable | None]]) -> LLMError:
    """All that is left is resting, for longer than it is worth waiting."""
    skips = tuple(resting(candidate, rest) for candidate, rest in rests if rest is not None)
    refusal = route._replace(candidates=(), skipped=(*route.skipped, *skips)).refusal()
    return refusal or NoEndpointError("Nothing is left to try.", feature=route.feature.name)


def interrupted(route: Route, attempts: Sequence[Attempt], candidate: Candidate, partial: str) -> LLMError:
    """A part of its answer had been handed on."""
    return StreamInterruptedError(
        f"{candidate.endpoint} broke off in the middle of its answer.",
        feature=route.feature.name,
        attempts=attempts,
        partial=partial,
    )


def failed(
    route: Route, attempts: Sequence[Attempt], candidate: Candidate, failure: Failure, hint: float | None
) -> LLMError:
    """After ``failure`` of ``candidate``, the only endpoint that was tried, or the one that ended the call.

    Args:
        route: Of the call.
        attempts: All of them.
        candidate: The last one.
        failure: How it went wrong.
        hint: Seconds until the first endpoint wants to be asked again.
    """
    name = route.feature.name
    if failure.error is not None:
        failure.error.feature, failure.error.attempts = name, tuple(attempts)
        return failure.error
    if failure.category is Category.CREDENTIAL:
        return _rejected_key(route, attempts, candidate)
    policy = POLICY[failure.category]
    count = sum(is_of(attempt, candidate) for attempt in attempts)
    times = f" (asked {count} times)" if count > 1 else ""
    return policy.error(
        f"{candidate.name} {policy.sentence}{times}.", feature=name, attempts=attempts, retry_after=hint
    )


def all_failed(route: Route, attempts: Sequence[Attempt], hint: float | None) -> LLMError:
    """Several endpoints were tried; arguments as of `failed`."""
    name = route.feature.name
    tried = "; ".join(
        f"{called(attempt.endpoint, attempt.account)}: {_outcome(attempt)}" for attempt in attempts
    )
    error = AllAttemptsFailedError(
        f"Every endpoint of {name!r} failed. {tried}.", feature=name, attempts=attempts, retry_after=hint
    )
    error.retryable = error.is_retryable = any(
        POLICY[attempt.category].error.retryable for attempt in attempts if attempt.category
    )
    return error


def stopped(route: Route, attempts: Sequence[Attempt], selector: str, reason: str) -> LLMError:
    """A selector said so."""
    text = f"The selector {selector!r} stopped the call: {reason}"
    error = SelectionStoppedError(text, feature=route.feature.name, attempts=attempts)
    error.reason = reason
    return error


def went_astray(route: Route, attempts: Sequence[Attempt], selector: str, what: str) -> LLMError:
    """A selector did what it may not."""
    text = f"The selector {selector!r} {what}."
    return SelectorError(text, feature=route.feature.name, attempts=attempts)


def _rejected_key(route: Route, attempts: Sequence[Attempt], candidate: Candidate) -> LLMError:
    provider, by_user = candidate.endpoint.provider.name, candidate.owner == "user"
    whose = f"that you brought for {provider}" if by_user else "of the house"
    error = RejectedCredentialError(
        f"{candidate.name} refused the key {whose}.", feature=route.feature.name, attempts=attempts
    )
    if by_user:
        error.http_status = 403
    return error


def is_of(attempt: Attempt, candidate: Candidate) -> bool:
    """Whether it was ``candidate`` that was asked."""
    asked = (str(candidate.endpoint), candidate.account_name, candidate.owner)
    return (attempt.endpoint, attempt.account, attempt.key_owner) == asked


def _outcome(attempt: Attempt) -> str:
    category = attempt.category or Category.BUG
    status = f" ({attempt.status})" if attempt.status and attempt.status >= 300 else ""  # noqa: PLR2004
    return f"{POLICY[category].sentence}{status}"
