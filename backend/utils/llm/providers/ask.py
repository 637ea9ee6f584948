"""What one request asks for, before it is put into an API's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from ..model_config import Endpoint
    from ..options import Options
    from ..structured import Schema
    from ..transport import SigningTransport


class Ask(NamedTuple):
    """The settings of one call, the same for every endpoint it may go to.

    Attributes:
        tools: In OpenAI's form.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
    """

    options: Options
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    schema: Schema | None = None
    cache_key: str | None = None


class NotWordedError(Exception):
    """An API has no words for a part of the request, so that nothing was sent. Another API may have."""


class Adapter(Protocol):
    """One API's way to build a client and to word a request."""

    def build(self, endpoint: Endpoint, transport: SigningTransport) -> BaseChatModel:
        """A client for ``endpoint`` that holds no key and never retries."""

    def kwargs(self, ask: Ask, endpoint: Endpoint, ticket: str) -> dict[str, Any]:
        """``ask`` as keyword arguments of one call of that client; ``ticket`` travels in a header."""
