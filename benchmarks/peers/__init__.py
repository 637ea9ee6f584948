"""Who is compared. A peer's module imports nothing but its own, and that only when the peer is made."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..environments import Environment
    from ..shapes import Shape


class Way(NamedTuple):
    """How a peer does one shape.

    Attributes:
        acall: One call with a prompt.
        call: The same without an event loop; None if the peer has no such thing.
        read: What the answer says, to be compared with what is expected.
        is_for_threads: Whether ``call`` works in several threads at once.
    """

    acall: Callable[[str], Awaitable[Any]]
    call: Callable[[str], Any] | None
    read: Callable[[Any], object]
    is_for_threads: bool = True


class Peer(Protocol):
    """One way to call a model."""

    def __init__(self, url: str) -> None:
        """The provider's address, without a path."""

    def way(self, shape: Shape) -> Way | None:
        """How it does ``shape``; None if it cannot."""


class Row(NamedTuple):
    """Where a peer is found.

    Attributes:
        kind: ``module:class`` beside this file.
        sends: Whether each call is a request to the provider.
    """

    environment: Environment
    kind: str
    sends: bool = True

    def make(self, url: str) -> Peer:
        """The peer itself: imports what it needs."""
        module, _, name = self.kind.partition(":")
        made: Peer = getattr(import_module(f"{__name__}.{module}"), name)(url)
        return made


PEERS = {
    "Patchbay": Row("project", "ours:Ours"),
    "Patchbay, crowded": Row("project", "ours:Ours"),
    "Patchbay, callers' keys": Row("project", "ours:OursWithKeys"),
    "ChatOpenAI": Row("project", "langchain:Bare"),
    "ChatOpenAI.with_fallbacks": Row("project", "langchain:WithFallbacks"),
    "ChatOpenAI.with_retry": Row("project", "langchain:WithRetry"),
    "OpenAI SDK": Row("project", "sdk:OpenAISDK"),
    "httpx2": Row("project", "raw:Httpx2"),
    "aiohttp": Row("litellm", "raw:Aiohttp"),
    "pydantic-ai FallbackModel": Row("pydantic-ai", "pydanticai:Fallback"),
    "LiteLLM Router": Row("litellm", "litellm:SimpleShuffle"),
    "LiteLLM Router, latency-based": Row("litellm", "litellm:LatencyBased"),
    "Patchbay, Gemini": Row("project", "ours:OursGemini"),
    "ChatGoogleGenerativeAI": Row("project", "langchain:BareGemini"),
    "Patchbay, Anthropic": Row("project", "ours:OursAnthropic"),
    "ChatAnthropic": Row("project", "langchain:BareAnthropic"),
    "Patchbay, no I/O": Row("project", "within:OursWithin", sends=False),
    "LangChain, no I/O": Row("project", "within:BareWithin", sends=False),
}
