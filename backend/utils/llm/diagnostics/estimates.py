"""Estimates of a call's cost, and of what would follow each kind of failure. Only for explanations: nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..failures import POLICY, Category
from ..pricing import most_usd, price_on
from ..receipt import Usage

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
class Consequence:
    """What a call does if an endpoint fails again and again in one way, for `explain`.

    Attributes:
        requests: The most requests that are sent to the endpoint.
        then: What happens after those requests.
    """

    requests: int
    then: str


def consequences(feature: Feature, endpoint: Endpoint, owner: KeyOwner) -> dict[Category, Consequence]:
    """For each kind of failure: what a call does if ``endpoint`` fails in this way, asked with a key of ``owner``."""
    most = endpoint.attempts or feature.attempts
    return {
        category: Consequence(min(policy.tries, most), _then(category, feature, owner))
        for category, policy in POLICY.items()
    }


def _then(category: Category, feature: Feature, owner: KeyOwner) -> str:
    if category is Category.REFUSAL and feature.on_refusal == "raise":
        return ENDS
    if POLICY[category].next_endpoint == "if the feature allows" and feature.on_invalid_output == "raise":
        return ENDS
    if category is Category.CREDENTIAL and owner == "user":
        return ENDS
    return _THEN[POLICY[category].next_endpoint]


def estimate(endpoint: Endpoint, prompt: int, answer: int | None, day: date) -> dict[str, Any]:
    """Estimate the price of a request: ``prompt_usd``, and ``at_most_usd`` with the longest answer.

    Both are US dollars as decimal text, or None if the price is unknown.

    Args:
        endpoint: The endpoint that would be asked.
        prompt: The prompt's length in tokens, as far as known.
        answer: The most tokens of the answer; None for the model's own limit.
        day: The day whose prices count.
    """
    prompt_usd = price_on(day, endpoint, Usage(input=prompt))
    at_most = most_usd(endpoint, prompt, answer, day)
    return {
        "prompt_usd": None if prompt_usd is None else str(prompt_usd),
        "at_most_usd": None if at_most is None else str(at_most),
    }
