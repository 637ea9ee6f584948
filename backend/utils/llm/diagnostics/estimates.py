"""Estimates of a call's cost, and of what would follow each kind of failure. Only for explanations: nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..failures import POLICY, FailureCategory
from ..pricing import compute_cost_on_day, max_request_cost
from ..receipt import TokenUsage

if TYPE_CHECKING:
    from datetime import date

    from ..model_config import Endpoint, Feature
    from ..types import KeyOwner

ENDS = "the call ends"
_THEN = {
    "yes": "the next endpoint",
    "no": ENDS,
    "larger window": "an endpoint with a larger window",
    "another key": "an endpoint with another key",
    "another key, if this one is the house's": "an endpoint with another key",
    "the same payer's": "the next endpoint",
    "once, if the feature allows": "the next endpoint, once",
    "if the feature allows": "the next endpoint",
}


@dataclass(frozen=True)
class FailureConsequence:
    """What a call does if all its requests to an endpoint fail in the same way; a part of an `Explanation`.

    Attributes:
        requests: The most requests that are sent to the endpoint.
        then: What happens after these requests, in words.
    """

    requests: int
    then: str


def find_failure_consequences(
    feature: Feature, endpoint: Endpoint, owner: KeyOwner
) -> dict[FailureCategory, FailureConsequence]:
    """Find, for each kind of failure, what a call of ``feature`` does if ``endpoint`` fails in this way.

    ``owner`` tells whose key the call uses.
    """
    most = endpoint.attempts or feature.attempts
    return {
        category: FailureConsequence(min(policy.tries, most), _then(category, feature, owner))
        for category, policy in POLICY.items()
    }


def _then(category: FailureCategory, feature: Feature, owner: KeyOwner) -> str:
    if category is FailureCategory.REFUSAL and feature.on_refusal == "raise":
        return ENDS
    if POLICY[category].next_endpoint == "if the feature allows" and feature.on_invalid_output == "raise":
        return ENDS
    if category is FailureCategory.CREDENTIAL and owner == "user":
        return ENDS
    return _THEN[POLICY[category].next_endpoint]


def estimate_price(
    endpoint: Endpoint, prompt_tokens: int, max_answer_tokens: int | None, day: date
) -> dict[str, Any]:
    """Estimate a request's price: ``prompt_usd`` for the prompt alone, ``at_most_usd`` with the longest answer.

    Both are US dollars as decimal text, or None if the price is unknown.

    Args:
        endpoint: The endpoint that would serve the request.
        prompt_tokens: The prompt's length, as far as known.
        max_answer_tokens: The longest answer; None for the model's own limit.
        day: The day whose prices apply.
    """
    prompt_usd = compute_cost_on_day(day, endpoint, TokenUsage(input=prompt_tokens))
    at_most = max_request_cost(endpoint, prompt_tokens, max_answer_tokens, day)
    return {
        "prompt_usd": None if prompt_usd is None else str(prompt_usd),
        "at_most_usd": None if at_most is None else str(at_most),
    }
