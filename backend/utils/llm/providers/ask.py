"""The contents of a request, before it is serialized for an API."""

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
"""The key in a message's ``response_metadata`` of the finish reasons of choices beside the first."""
THOUGHTS_KEY = "reasoning_content"
"""The key of the model's thoughts, as text, in a message's ``additional_kwargs``, for all APIs.

LangChain's adapters for DeepSeek, Groq, xAI, Ollama and OpenRouter use the same key, of which ``content_blocks`` makes a
block of the type ``reasoning``. ``content`` stays the answer's text. An answer with thoughts has no ``model_provider``,
because for the providers that LangChain knows by that name it does not read this key.
"""
STOP_KEY = "stop_sequence"
"""The key in a message's ``response_metadata`` of the stop sequence of the request that ended the answer."""
REASONING_KEY = "reasoning_details"
"""The key in ``additional_kwargs`` of reasoning objects that the provider wants back, unchanged, in the conversation.

A list of the provider's own objects: OpenRouter's ``reasoning_details``, or Responses' items of the type ``reasoning`` (with
``encrypted_content``, if requested). Only the provider in ``response_metadata["receipt"]["endpoint"]`` can read them.
Gemini's thought signatures have a key of LangChain's adapter instead, by the id of the call.
"""


class EmbeddingAsk(NamedTuple):
    """The settings of a request for embeddings.

    Attributes:
        dimensions: The length of each vector; None for the model's default.
        kind: Whether the texts are documents or queries, for which some models give different vectors.
    """

    dimensions: int | None = None
    kind: Literal["document", "query"] = "document"


class Ask(NamedTuple):
    """The settings of one call, the same for every endpoint that the call may go to.

    Attributes:
        tools: The tools of the product, in OpenAI's form.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
        endpoint: The endpoint that the call itself names; None if the table decides.
        fallbacks: Whether other endpoints may serve the call if the first one does not.
        embedding: The settings of vectors, for a feature of embeddings.
        call_id: The call's id in receipt and ledger, a UUIDv7 that no other call has; None to make a new one.
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
        settings: The options as keyword arguments of the endpoint's API. The object is shared: copy it before a change.
        messages: The history in normal form.
        seconds: The timeout of the request.
        ticket: The ticket of the attempt, without which the transport sends nothing.
        extra_body: Extra fields of the body from the table, which never replace the facade's own fields.
        is_plain: Whether all messages are plain texts of system, user or model.
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
    """The parts of an HTTP request that one API's serializer made: path, body and headers, without address and key.

    Attributes:
        path: The path below the provider's base URL.
        headers: The headers, by their names in lower case.
    """

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class NotWordedError(Exception):
    """An API's format cannot express a part of the request, such as a video. Nothing was sent.

    Another API may be able to express it.
    """


class ProviderError(Exception):
    """The provider answered with an error, by its status or in the body of an answer.

    Attributes:
        status: The HTTP status; None if the error came with a status of success.
        body: The body of the error, with the key removed.
    """

    def __init__(self, said: str, *, status: int | None = None, body: object = None) -> None:
        super().__init__(said if status is None else f"HTTP {status}: {said}")
        self.status = status
        self.body = body


def raise_for(error: object) -> None:
    """Raise `ProviderError` if ``error``, the value of that field in an answer's JSON, is not empty; else do nothing.

    Raises:
        ProviderError: ``error`` is not empty; the ``body`` is its value.
    """
    if error:
        body = error if isinstance(error, dict) else {"message": str(error)}
        raise ProviderError(str(body.get("message")), body=body)
