"""The attempt loop of one call as a state machine, without I/O: what to try next, and when to stop.

Ask `next_candidate`, make the attempt, tell the outcome; repeat until the call is over. Four drivers (plain and
streaming, synchronous and asynchronous) share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    AllAttemptsFailedError,
    CallTimeoutError,
    LLMError,
    RejectedCredentialError,
    StreamInterruptedError,
)
from .failures import POLICY, Category, Failure
from .receipt import Attempt, Receipt

if TYPE_CHECKING:
    from .routing import Candidate, Route


class Dispatch:
    """The course of one call along its route.

    Raises:
        LLMError: On construction, if the route has no candidate: nothing was sent.
    """

    def __init__(self, route: Route) -> None:
        if (refusal := route.refusal()) is not None:
            raise refusal
        self.route = route
        self.attempts: list[Attempt] = []
        self._left = list(route.candidates)
        self._last: Candidate | None = None

    def next_candidate(self) -> Candidate:
        """The endpoint to try now. Ask only at the start, and after `failed` returned None."""
        self._last = self._left.pop(0)
        return self._last

    def succeeded(self, attempt: Attempt) -> Receipt:
        """The call is over; this is its receipt."""
        self.attempts.append(attempt)
        first = str(self.route.candidates[0].endpoint)
        return Receipt(
            feature=self.route.feature.name,
            profile=self._candidate.profile,
            attempts=tuple(self.attempts),
            degraded=self.route.demo or attempt.endpoint != first,
            table_hash=self.route.table_hash,
        )

    def failed(self, attempt: Attempt, failure: Failure, *, partial: str | None = None) -> LLMError | None:
        """None if another endpoint may be tried; else the error that ends the call.

        Args:
            attempt: What was tried.
            failure: How it went wrong.
            partial: The text that was already handed on, if any: then nothing else may be tried.
        """
        self.attempts.append(attempt)
        if partial is not None:
            return self._interrupted(partial)
        self._left = self._allowed_after(failure)
        return None if self._left else self._final_error(failure)

    def out_of_time(self) -> LLMError:
        """The error of a call whose deadline passed before another endpoint could be tried."""
        name, seconds = self.route.feature.name, self.route.deadline
        return CallTimeoutError(
            f"{name!r} was not answered within its deadline of {seconds:g} s.",
            feature=name,
            attempts=self.attempts,
        )

    @property
    def _candidate(self) -> Candidate:
        assert self._last is not None  # noqa: S101 - told only after `next_candidate`
        return self._last

    def _allowed_after(self, failure: Failure) -> list[Candidate]:
        match POLICY[failure.category].next_endpoint:
            case "yes":
                return self._left
            case "another key":
                return self._with_another_key()
            case "another key, if this one is the house's":
                return self._with_another_key() if self._candidate.owner == "house" else []
            case "larger window":
                window = self._candidate.endpoint.can.context_window
                return [left for left in self._left if left.endpoint.can.context_window > window]
            case "no":
                return []

    def _with_another_key(self) -> list[Candidate]:
        used = self._candidate
        return [
            left
            for left in self._left
            if (left.endpoint.provider.name, left.owner) != (used.endpoint.provider.name, used.owner)
        ]

    def _interrupted(self, partial: str) -> LLMError:
        return StreamInterruptedError(
            f"{self._candidate.endpoint} broke off in the middle of its answer.",
            feature=self.route.feature.name,
            attempts=self.attempts,
            partial=partial,
        )

    def _final_error(self, failure: Failure) -> LLMError:
        policy = POLICY[failure.category]
        name = self.route.feature.name
        if failure.error is not None:
            failure.error.feature, failure.error.attempts = name, tuple(self.attempts)
            return failure.error
        if len({attempt.endpoint for attempt in self.attempts}) > 1:
            tried = "; ".join(f"{attempt.endpoint}: {_outcome(attempt)}" for attempt in self.attempts)
            return AllAttemptsFailedError(
                f"Every endpoint of {name!r} failed. {tried}.", feature=name, attempts=self.attempts
            )
        if failure.category is Category.CREDENTIAL:
            return self._rejected_key()
        sentence = f"{self._candidate.endpoint} {policy.sentence}."
        return policy.error(sentence, feature=name, attempts=self.attempts)

    def _rejected_key(self) -> LLMError:
        provider, by_user = self._candidate.endpoint.provider.name, self._candidate.owner == "user"
        whose = f"that you brought for {provider}" if by_user else "of the house"
        error = RejectedCredentialError(
            f"{self._candidate.endpoint} refused the key {whose}.",
            feature=self.route.feature.name,
            attempts=self.attempts,
        )
        if by_user:
            error.http_status = 403
        return error


def _outcome(attempt: Attempt) -> str:
    category = attempt.category or Category.BUG
    status = f" ({attempt.status})" if attempt.status and attempt.status >= 300 else ""  # noqa: PLR2004
    return f"{POLICY[category].sentence}{status}"
