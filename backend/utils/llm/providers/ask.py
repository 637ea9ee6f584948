"""What one request asks for, before it is put into an API's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from ..model_config import Endpoint
    from ..options import Options
    from ..structured import Schema
    from ..transport import Ticket

OTHERS_KEY = "other_finish_reasons"
"""In a message's metadata: why choices beside the first ended."""
THOUGHTS_KEY = "reasoning_content"
"""Where the model's thoughts stand in a message's ``additional_kwargs``, as a text, whichever API it was.

It is where LangChain's adapters for DeepSeek, Groq, xAI, Ollama and OpenRouter put them, and ``content_blocks`` makes a
block of the type ``reasoning`` of them. ``content`` stays the answer's text. An answer with thoughts has no
``model_provider``: for those that LangChain knows by that name it does not look here.
"""
STOP_KEY = "stop_sequence"
"""Under which a message's ``response_metadata`` has the stop sequence that ended it, one of those that were asked for."""
REASONING_KEY = "reasoning_details"
"""Where stands beside it what the provider wants to be sent back, unchanged, in the same conversation.

A list of the provider's own objects: OpenRouter's ``reasoning_details``, or Responses' items of the type ``reasoning`` (with
``encrypted_content``, if it was asked for). Whose they are tells the receipt: ``response_metadata["receipt"]["endpoint"]``.
Nobody else can read them. What Gemini wants back stands under a key of its adapter's, by the id of the call.
"""


class EmbeddingAsk(NamedTuple):
    """The settings of a request for embeddings.

    Attributes:
        dimensions: How many numbers each has; None for as many as the model gives.
        kind: Whether the texts are kept to be found, or look for others: some models make different vectors of them.
    """

    dimensions: int | None = None
    kind: Literal["document", "query"] = "document"


class Ask(NamedTuple):
    """The settings of one call, the same for every endpoint it may go to.

    Attributes:
        tools: In OpenAI's form.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
        endpoint: Which the call itself names; None if the table decides.
        fallbacks: Whether others may serve it.
        embedding: What is asked of vectors, of a feature that gives them.
        call_id: What the call is called in receipt and ledger: a UUIDv7 that no other call has; None for a new one.
    """

    options: Options
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    schema: Schema | None = None
    cache_key: str | None = None
    endpoint: str | None = None
    fallbacks: bool = True
    embedding: EmbeddingAsk | None = None
    call_id: str | None = None


class ModelRequest(NamedTuple):
    """One request to one endpoint.

    Attributes:
        settings: The options as keyword arguments of the endpoint's API. Shared: copy before changing it.
        messages: In normal form.
        seconds: What it may take.
        ticket: Without it nothing is sent.
        extra_body: What the table adds to the body; it lies under what the API's wording holds.
        is_plain: Whether the messages are nothing but texts of a system, a user, a model.
    """

    endpoint: Endpoint
    ask: Ask
    settings: Mapping[str, Any]
    messages: Sequence[BaseMessage]
    stop: Sequence[str] | None
    seconds: float
    ticket: Ticket
    is_plain: bool = False
    extra_body: Mapping[str, Any] | None = None


class Serialized(NamedTuple):
    """A request in an API's words.

    Attributes:
        path: Below the provider's base URL.
        headers: By their names in lower case.
    """

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class NotWordedError(Exception):
    """An API has no words for a part of the request, so that nothing was sent. Another API may have."""


class ProviderError(Exception):
    """An answer that says what went wrong: one with an error's status, or an error in the place of an answer.

    Attributes:
        status: The HTTP status; None if that announced an answer.
        body: What the provider said, without the key.
    """

    def __init__(self, said: str, *, status: int | None = None, body: object = None) -> None:
        super().__init__(said if status is None else f"HTTP {status}: {said}")
        self.status = status
        self.body = body


def raise_for(error: object) -> None:
    """Raise what stands under ``error`` in an answer; nothing if nothing does.

    Raises:
        ProviderError: Its ``body`` is what stood there.
    """
    if error:
        body = error if isinstance(error, dict) else {"message": str(error)}
        raise ProviderError(str(body.get("message")), body=body)
