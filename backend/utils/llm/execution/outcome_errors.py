"""Builds the error with which a call ends, from its route and its attempts."""

from __future__ import annotations

from functools import wraps
from math import inf, isfinite
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from ..errors import (
    AllAttemptsFailedError,
    BudgetExceededError,
    BudgetUnavailableError,
    CallTimeoutError,
    MissingCredentialError,
    NoEndpointError,
    OwnEndpointError,
    RejectedCredentialError,
    SelectionStoppedError,
    SelectorError,
    StreamInterruptedError,
)
from ..failures import POLICY, FailureCategory
from ..receipt import endpoint_label
from ..routing.route import RejectionCode
from ..routing.waiting import make_unavailable_rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..errors import LLMError
    from ..failures import ClassifiedFailure
    from ..receipt import Attempt
    from ..routing.route import BudgetShortfall, Candidate, CandidateRejection, Route
    from ..state.health import UnavailableReason

P = ParamSpec("P")

_HELD_SECONDS = 1.0
"""In how long room may have come back that is set aside for requests under way."""


def _names_the_call(
    make: Callable[Concatenate[Route, P], LLMError],
) -> Callable[Concatenate[Route, P], LLMError]:
    """``make``, whose errors get the id of the call."""

    @wraps(make)
    def made(route: Route, /, *arguments: P.args, **named: P.kwargs) -> LLMError:
        error = make(route, *arguments, **named)
        error.call_id = route.call_id or None
        return error

    return made


@_names_the_call
def no_endpoint_error(route: Route) -> LLMError:
    """Build the error for a call that is not sent, because no endpoint of ``route`` may serve it now."""
    name = route.feature.name
    keyless = [
        skip for skip in route.skipped if skip.code in {RejectionCode.NO_KEY, RejectionCode.NOT_YOUR_KEY}
    ]
    if keyless and len(keyless) == len(route.skipped):
        return MissingCredentialError(_missing_key(route, keyless), feature=name)
    for skip in route.skipped:
        if skip.code is RejectionCode.ADDRESS:
            return OwnEndpointError(f"Your own endpoint was not asked: {skip.reason}.", feature=name)
    reasons = "; ".join(dict.fromkeys(f"{skip.display_name}: {skip.reason}" for skip in route.skipped))
    overruns = [skip.over for skip in route.skipped if skip.over is not None]
    rests = [skip.rest for skip in route.skipped if skip.rest is not None and isfinite(skip.rest.seconds)]
    if overruns and not rests:
        return over_budget_error(name, overruns)
    if rests:
        soonest = min(rests, key=lambda rest: rest.seconds)
        return POLICY[soonest.category].error(
            f"Every endpoint that may serve {name!r} is resting. {reasons}.",
            feature=name,
            retry_after=None if soonest.is_guess and soonest.kind == "limited" else soonest.seconds,
        )
    return NoEndpointError(f"No endpoint can serve {name!r} for this call. {reasons}.", feature=name)


def over_budget_error(feature: str, overruns: Sequence[BudgetShortfall]) -> LLMError:
    """Build the error for a call that is not sent because budgets have not enough left, or cannot be read.

    It names the budget that becomes available first, without amounts.
    """
    away = next((over for over in overruns if over.is_away), None)
    if away is not None:
        text = f"{feature!r} was not called: nobody can say now what is left of the budget {away.budget!r}."
        return BudgetUnavailableError(text, feature=feature)
    over = min(
        overruns,
        key=lambda shortfall: (
            not shortfall.is_held,
            inf if shortfall.seconds is None else shortfall.seconds,
        ),
    )
    whose = "key owner" if over.per == "owner" else over.per
    text = f"The budget {over.budget!r} of this {whose} has not enough left for {feature!r}"
    if over.is_held:
        text += ", while others of its requests are under way"
    elif over.resets_at is not None:
        text += f". It begins anew at {over.resets_at:%Y-%m-%d %H:%M} UTC"
    error = BudgetExceededError(
        f"{text}.", feature=feature, retry_after=_HELD_SECONDS if over.is_held else over.seconds
    )
    error.budget, error.per, error.resets_at = over.budget, over.per, over.resets_at
    if over.is_held:
        error.retryable, error.http_status = True, 429
    return error


def _missing_key(route: Route, skips: list[CandidateRejection]) -> str:
    providers = ", ".join(dict.fromkeys(skip.endpoint.provider.name for skip in skips))
    if route.policy == "byok_only":
        return (
            f"None of your keys can serve {route.feature.name!r}: it runs on {providers}. Add a key for one of them; "
            "keys of the house are not used in your stead."
        )
    named = (variable for skip in skips for variable in skip.endpoint.provider.api_key_envs)
    variables = ", ".join(dict.fromkeys(named))
    return f"No key is configured for {route.feature.name!r}: it runs on {providers}. Set one of {variables}."


@_names_the_call
def deadline_error(route: Route, attempts: Sequence[Attempt]) -> LLMError:
    """Build the error for a call whose deadline has passed."""
    name, seconds = route.feature.name, route.deadline_seconds
    text = f"{name!r} was not answered within its deadline of {seconds:g} s."
    return CallTimeoutError(text, feature=name, attempts=attempts)


def refresh_skip_reasons(
    route: Route, availability: Sequence[tuple[Candidate, UnavailableReason | None]]
) -> Route:
    """Return ``route`` with the current reasons why endpoints are unavailable, for the text of an error.

    ``availability`` has pairs of an endpoint and its current reason; the reason is None if it is available.
    """
    skips = tuple(
        make_unavailable_rejection(candidate, why) for candidate, why in availability if why is not None
    )
    looked_at = [candidate.endpoint_circuit for candidate, _ in availability]
    lasting = tuple(
        rejection for rejection in route.skipped if rejection.candidate.endpoint_circuit not in looked_at
    )
    return route._replace(skipped=lasting + skips)


@_names_the_call
def stream_interrupted_error(
    route: Route, attempts: Sequence[Attempt], candidate: Candidate, partial: str
) -> LLMError:
    """Build the error for a stream that broke off after the caller had received the text ``partial``."""
    return StreamInterruptedError(
        f"{candidate.endpoint} broke off in the middle of its answer.",
        feature=route.feature.name,
        attempts=attempts,
        partial=partial,
    )


@_names_the_call
def attempt_failed_error(
    route: Route,
    attempts: Sequence[Attempt],
    candidate: Candidate,
    failure: ClassifiedFailure,
    retry_after_s: float | None,
) -> LLMError:
    """Build the error for a call that ended with ``failure`` of the endpoint ``candidate``.

    Args:
        route: The route of the call.
        attempts: All attempts of the call.
        candidate: The endpoint of the last attempt.
        failure: The failure of the last attempt.
        retry_after_s: Seconds after which providers permit a retry; None if none of them said so.
    """
    name = route.feature.name
    if failure.error is not None:
        failure.error.feature, failure.error.attempts = name, tuple(attempts)
        return failure.error
    if failure.category is FailureCategory.CREDENTIAL:
        return _rejected_key(route, attempts, candidate)
    policy = POLICY[failure.category]
    count = sum(is_attempt_on(attempt, candidate) for attempt in attempts)
    times = f" (asked {count} times)" if count > 1 else ""
    text = f"{candidate.display_name} {policy.sentence}{times}.{_unasked(route, attempts)}"
    return policy.error(text, feature=name, attempts=attempts, retry_after=retry_after_s)


@_names_the_call
def all_attempts_failed_error(
    route: Route, attempts: Sequence[Attempt], retry_after_s: float | None
) -> LLMError:
    """Build the error for a call that tried several endpoints, all of which failed.

    ``retry_after_s``: seconds after which providers permit a retry; None if none of them said so.
    """
    name = route.feature.name
    tried = "; ".join(
        f"{endpoint_label(attempt.endpoint, attempt.account)}: {_outcome(attempt)}" for attempt in attempts
    )
    text = f"Every endpoint of {name!r} failed. {tried}.{_unasked(route, attempts)}"
    error = AllAttemptsFailedError(text, feature=name, attempts=attempts, retry_after=retry_after_s)
    error.retryable = error.is_retryable = any(
        POLICY[attempt.category].error.retryable for attempt in attempts if attempt.category
    )
    return error


@_names_the_call
def selector_stopped_error(route: Route, attempts: Sequence[Attempt], selector: str, reason: str) -> LLMError:
    """Build the error for a call that the selector named ``selector`` stopped, giving ``reason``."""
    text = f"The selector {selector!r} stopped the call: {reason}"
    error = SelectionStoppedError(text, feature=route.feature.name, attempts=attempts)
    error.reason = reason
    return error


@_names_the_call
def selector_error(route: Route, attempts: Sequence[Attempt], selector: str, fault: str) -> LLMError:
    """Build the error for an application's selector that failed or returned something invalid.

    ``fault`` completes a sentence that begins with the selector's name, such as "failed with KeyError".
    """
    text = f"The selector {selector!r} {fault}."
    return SelectorError(text, feature=route.feature.name, attempts=attempts)


def accept_timeout_error(route: Route) -> LLMError:
    """Build the error for an ``accept`` test that did not return before the call's deadline."""
    text = "The test of the answer took longer than the call's deadline."
    return CallTimeoutError(text, feature=route.feature.name)


def _unasked(route: Route, attempts: Sequence[Attempt]) -> str:
    """Which endpoints were not asked because a budget had no room for them or they were resting, as sentences."""
    skips = [
        rejection for rejection in route.skipped if rejection.over is not None or rejection.rest is not None
    ]
    unasked = [
        skip for skip in skips if not any(is_attempt_on(attempt, skip.candidate) for attempt in attempts)
    ]
    return "".join(f" {rejection.display_name} was not asked: {rejection.reason}." for rejection in unasked)


def _rejected_key(route: Route, attempts: Sequence[Attempt], candidate: Candidate) -> LLMError:
    provider, by_user = candidate.endpoint.provider.name, candidate.owner == "user"
    whose = f"that you brought for {provider}" if by_user else "of the house"
    error = RejectedCredentialError(
        f"{candidate.display_name} refused the key {whose}.", feature=route.feature.name, attempts=attempts
    )
    if by_user:
        error.http_status = 403
    return error


def is_attempt_on(attempt: Attempt, candidate: Candidate) -> bool:
    """Whether ``attempt`` used the endpoint, the account and the key owner of ``candidate``."""
    asked = (str(candidate.endpoint), candidate.account_name, candidate.owner)
    return (attempt.endpoint, attempt.account, attempt.key_owner) == asked


def _outcome(attempt: Attempt) -> str:
    category = attempt.category or FailureCategory.BUG
    status = f" ({attempt.status})" if attempt.status and attempt.status >= 300 else ""  # noqa: PLR2004
    return f"{POLICY[category].sentence}{status}"
