"""Checks with one cheap call whether a user's key works. No part of the provider's answer is shown to the user."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import LLMError, OwnEndpointError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.routing.route import Needs

from .problem import Reason, classify_key_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from backend.utils.llm.diagnostics.qos import QosInfo

Verdict = Reason | Literal["valid", "out_of_reach", "unclear"]

PROMPT: Final = "Answer with: ok"
LONGEST: Final = 256
"""The most tokens of the answer: a reasoning model thinks before it says ``ok``."""
SECONDS: Final = 30.0
_NEEDS: Final = Needs(tokens=len(PROMPT))
_DEAR: Final = float("inf")

_VERDICTS: Final[Mapping[FailureCategory, Verdict]] = {
    FailureCategory.UNSUPPORTED: "no_access",
    # The provider took the key and said something that is no answer.
    FailureCategory.EMPTY: "valid",
    FailureCategory.REFUSAL: "valid",
    FailureCategory.TRUNCATED: "valid",
    FailureCategory.INVALID_OUTPUT: "valid",
    FailureCategory.CONTEXT: "valid",
}

_SENTENCES: Final[Mapping[Verdict, str]] = {
    "valid": "The provider accepts the key.",
    "revoked": "The provider refuses the key: it is wrong, expired or revoked.",
    "no_quota": "The key is accepted, but its quota or credit is used up.",
    "no_access": "The key is accepted, but may not use the model.",
    "out_of_reach": "Your endpoint is where you may not have one, or sends what is not taken from it.",
    "unclear": "The provider could not be asked, or did not say. Try again later.",
}


class ExplainedRoute(Protocol):
    """What a key check needs of the explanation of a route."""

    def as_dict(self) -> dict[str, Any]:
        """Return the route as a dict that is ready for JSON."""
        ...


class KeyCheckFacade(Protocol):
    """The methods of `Patchbay` that a key check calls."""

    def get_llm(self, feature: str) -> BaseChatModel:
        """Return the chat model of ``feature``."""
        ...

    def get_qos_info(self) -> QosInfo:
        """Return the configuration table that is in effect."""
        ...

    def explain(
        self, feature: str, *, caller: Caller | None = None, needs: Needs | None = None
    ) -> ExplainedRoute:
        """Explain to which endpoints a call of ``feature`` by ``caller`` would be routed. Nothing is sent."""
        ...


class KeyCheckOutcome(NamedTuple):
    """The result of checking whether a user's key works.

    Attributes:
        verdict: ``valid``, or what is wrong with the key.
        endpoint: The endpoint that was called, as ``provider:model``. None if nothing was called, because no
            feature can use the key.
    """

    verdict: Verdict
    endpoint: str | None = None

    @property
    def message(self) -> str:
        """The result of the check as an English sentence for the user."""
        return _SENTENCES[self.verdict]


async def check_key(facade: KeyCheckFacade, caller: Caller) -> KeyCheckOutcome:
    """Check whether a user's key works, with one call of the cheapest feature that can use the key.

    Args:
        facade: The `Patchbay` that makes the call.
        caller: A caller with the key to check, and no other key.
    """
    found = await asyncio.to_thread(_cheapest, facade, caller)
    if found is None:
        return KeyCheckOutcome("unclear" if caller.own_endpoint is None else "out_of_reach")
    feature, endpoint = found
    try:
        with use_caller(caller):
            async with asyncio.timeout(SECONDS):
                await facade.get_llm(feature).ainvoke(PROMPT, max_output_tokens=LONGEST)
    except TimeoutError:
        return KeyCheckOutcome("unclear", endpoint)
    except OwnEndpointError:
        return KeyCheckOutcome("out_of_reach", endpoint)
    except LLMError as error:
        return _judged(error, endpoint)
    return KeyCheckOutcome("valid", endpoint)


def _cheapest(facade: KeyCheckFacade, caller: Caller) -> tuple[str, str] | None:
    """The feature whose first endpoint costs the least, and that endpoint."""
    features = facade.get_qos_info().features
    routes = {name: facade.explain(name, caller=caller, needs=_NEEDS).as_dict() for name in features}
    served = [name for name, route in routes.items() if route["candidates"]]
    if not served:
        return None
    feature = min(served, key=lambda name: _price(routes[name]["candidates"]))
    return feature, routes[feature]["candidates"][0]["endpoint"]


def _price(candidates: Sequence[Mapping[str, Any]]) -> float:
    price = candidates[0]["estimate"]["at_most_usd"]
    return _DEAR if price is None else float(price)


def _judged(error: LLMError, endpoint: str) -> KeyCheckOutcome:
    if not error.attempts:
        return KeyCheckOutcome("unclear", endpoint)
    last = error.attempts[-1]
    verdict = classify_key_refusal(last) or _VERDICTS.get(last.category or FailureCategory.BUG, "unclear")
    return KeyCheckOutcome(verdict, last.endpoint)
