"""Checks with one cheap call whether a user's key works. No part of the provider's answer is shown to the user."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import LLMError, OwnEndpointError
from backend.utils.llm.failures import Category
from backend.utils.llm.routing.route import Needs

from .problem import Reason, reason_of

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

_VERDICTS: Final[Mapping[Category, Verdict]] = {
    Category.UNSUPPORTED: "no_access",
    # The provider took the key and said something that is no answer.
    Category.EMPTY: "valid",
    Category.REFUSAL: "valid",
    Category.TRUNCATED: "valid",
    Category.INVALID_OUTPUT: "valid",
    Category.CONTEXT: "valid",
}

_SENTENCES: Final[Mapping[Verdict, str]] = {
    "valid": "The provider accepts the key.",
    "revoked": "The provider refuses the key: it is wrong, expired or revoked.",
    "no_quota": "The key is accepted, but its quota or credit is used up.",
    "no_access": "The key is accepted, but may not use the model.",
    "out_of_reach": "Your endpoint is where you may not have one, or sends what is not taken from it.",
    "unclear": "The provider could not be asked, or did not say. Try again later.",
}


class Explained(Protocol):
    """What a key check reads of an explained route: its JSON-ready form."""

    def as_dict(self) -> dict[str, Any]:
        """The route as a dict that is ready for JSON."""
        ...


class Facade(Protocol):
    """The methods of `Patchbay` that a key check calls, as a Protocol, so that a test can pass a fake."""

    def get_llm(self, feature: str) -> BaseChatModel:
        """The chat model of ``feature``."""
        ...

    def get_qos_info(self) -> QosInfo:
        """The table in force."""
        ...

    def explain(self, feature: str, *, caller: Caller | None = None, needs: Needs | None = None) -> Explained:
        """The route of a call by ``caller``."""
        ...


class KeyCheck(NamedTuple):
    """The result of checking one key.

    Attributes:
        verdict: Whether the key works; otherwise, what is wrong with it.
        endpoint: The endpoint that was called, as ``provider:model``; None if no feature of the table can be served with
            this key, so that nothing was called.
    """

    verdict: Verdict
    endpoint: str | None = None

    @property
    def sentence(self) -> str:
        """The result as an English sentence for the user."""
        return _SENTENCES[self.verdict]


async def check_key(facade: Facade, caller: Caller) -> KeyCheck:
    """Make one call of the cheapest feature that ``caller``'s only key can serve, and tell from it whether the key works."""
    found = await asyncio.to_thread(_cheapest, facade, caller)
    if found is None:
        return KeyCheck("unclear" if caller.own_endpoint is None else "out_of_reach")
    feature, endpoint = found
    try:
        with use_caller(caller):
            async with asyncio.timeout(SECONDS):
                await facade.get_llm(feature).ainvoke(PROMPT, max_output_tokens=LONGEST)
    except TimeoutError:
        return KeyCheck("unclear", endpoint)
    except OwnEndpointError:
        return KeyCheck("out_of_reach", endpoint)
    except LLMError as error:
        return _judged(error, endpoint)
    return KeyCheck("valid", endpoint)


def _cheapest(facade: Facade, caller: Caller) -> tuple[str, str] | None:
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


def _judged(error: LLMError, endpoint: str) -> KeyCheck:
    if not error.attempts:
        return KeyCheck("unclear", endpoint)
    last = error.attempts[-1]
    verdict = reason_of(last) or _VERDICTS.get(last.category or Category.BUG, "unclear")
    return KeyCheck(verdict, last.endpoint)
