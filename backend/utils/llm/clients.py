"""What product code imports: `get_llm` and the other functions of the default `Patchbay`.

It is made from the default table on first use. Tests and composition roots make their own, and install it with `use`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .forks import ForkSafe
from .patchbay import Patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .caller import Caller
    from .chat_model import FeatureChatModel
    from .diagnostics.explain import Explanation
    from .diagnostics.qos import QosInfo
    from .embeddings import FeatureEmbeddings
    from .routing.route import Needs

__all__ = [
    "Patchbay",
    "explain",
    "get_embeddings",
    "get_llm",
    "get_model",
    "get_provider",
    "get_qos_info",
    "rate",
    "use",
]


class _InForce(ForkSafe):
    """The patchbay that this module's functions use."""

    def __init__(self) -> None:
        self._patchbay: Patchbay | None = None
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()

    def get(self) -> Patchbay:
        patchbay = self._patchbay
        if patchbay is not None:
            return patchbay
        with self._lock:
            if self._patchbay is None:
                self._patchbay = Patchbay()
            return self._patchbay

    def swap(self, patchbay: Patchbay | None) -> Patchbay | None:
        with self._lock:
            self._patchbay, before = patchbay, self._patchbay
        return before


_in_force = _InForce()


@contextmanager
def use(patchbay: Patchbay) -> Iterator[Patchbay]:
    """Within the block, make ``patchbay`` the default of this module's functions, in the whole process."""
    before = _in_force.swap(patchbay)
    try:
        yield patchbay
    finally:
        _in_force.swap(before)


def get_llm(
    feature: str,
    *,
    streaming: bool = False,
    cache_key: str | None = None,
    caller: Caller | None = None,
    endpoint: str | None = None,
    fallbacks: bool = True,
) -> FeatureChatModel:
    """The chat model of a feature: a LangChain `BaseChatModel` that chooses its endpoint when it is invoked.

    Args:
        feature: A name in the table, such as ``conv_action_items``.
        streaming: Stream even when invoked, for callbacks that want tokens.
        cache_key: Names the prompt prefix that calls share, for prompt caching where the model supports it.
        caller: The caller of its calls; by default the caller of the context when the model is invoked.
        endpoint: A ``provider:model`` of the table that is tried first, if the caller may use it.
        fallbacks: Whether other endpoints are tried if the first one fails or may not serve.

    Raises:
        UnknownFeatureError: The table has no such feature; the error names the nearest.
        UnknownEndpointError: The table has no such ``endpoint``.
        ConfigError: On first use: the default table is wrong.
    """
    return _in_force.get().get_llm(
        feature,
        streaming=streaming,
        cache_key=cache_key,
        caller=caller,
        endpoint=endpoint,
        fallbacks=fallbacks,
    )


def get_embeddings(feature: str, *, caller: Caller | None = None) -> FeatureEmbeddings:
    """The embeddings of a feature: LangChain's `Embeddings`, with keys, limits and fallbacks as in chat models.

    The feature's row must say ``embedding``. By default ``caller`` is that of the context at each call.

    Raises:
        UnknownFeatureError: The table has no such feature; the error names the nearest.
        ValueError: ``feature`` is a chat feature.
        ConfigError: On first use: the default table is wrong.
    """
    return _in_force.get().get_embeddings(feature, caller=caller)


def get_model(feature: str) -> str:
    """The model that is tried first for a caller without own keys, such as ``gpt-6-luna``.

    Raises:
        LLMError: The feature is unknown, or the operator has no key for any of its endpoints.
    """
    return _in_force.get().get_model(feature)


def get_provider(feature: str) -> str:
    """The provider of the model that `get_model` returns, such as ``openai``. Raises the same errors."""
    return _in_force.get().get_provider(feature)


def get_qos_info() -> QosInfo:
    """The table in force, and the state of its endpoints in this process; JSON-ready, without secrets."""
    return _in_force.get().get_qos_info()


def explain(feature: str, *, caller: Caller | None = None, needs: Needs | None = None) -> Explanation:
    """Explain how a call made now would be served, by the code that decides for real calls. Sends nothing.

    By default ``caller`` is the context's, and ``needs`` (such as tools) are those of the feature's row.

    Raises:
        UnknownFeatureError: The table has no such feature.
    """
    return _in_force.get().explain(feature, caller=caller, needs=needs)


def rate(receipt: Mapping[str, Any], score: float) -> bool:
    """Record a quality ``score`` for an answer, from 0 (useless) to 1 (perfect), such as a user's rating.

    ``receipt`` is the answer's ``response_metadata["receipt"]``. The strategy ``select = "cost"`` starts at
    the cheapest endpoint with good recent scores. Returns False, and ignores the score, if this strategy
    never chooses the endpoint that answered.

    Raises:
        ValueError: ``score`` is no number from 0 to 1.
        UnknownFeatureError: The receipt's feature is no longer in the table.
    """
    return _in_force.get().rate(receipt, score)
