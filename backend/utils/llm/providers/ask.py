"""The types of a request before and after an API's serializer, and the errors of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from ..model_config import Endpoint
    from ..options import Options
    from ..structured import AnswerSchema
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


class EmbeddingSettings(NamedTuple):
    """The settings of a request for embeddings.

    Attributes:
        dimensions: The length of each vector; None for the model's default.
        kind: Whether the texts are documents or queries. Some models give different vectors for the same
            text.
    """

    dimensions: int | None = None
    kind: Literal["document", "query"] = "document"


class CallSettings(NamedTuple):
    """The settings of one call, which are the same for every endpoint that is tried.

    Attributes:
        options: The model options, such as temperature and effort.
        tools: The tools that the model may call, in OpenAI's form.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the tool that must be called.
        parallel_tool_calls: Whether the model may call several tools at once; None for the API's default.
        schema: The schema that the answer must fit; None without structured output.
        cache_key: The key under which calls share the provider's prompt cache; None without caching.
        endpoint: The endpoint that the caller chose for this call; None if the table decides.
        fallbacks: Whether other endpoints may serve the call if the first one fails.
        embedding: The settings of embeddings; None for a chat call.
        call_id: The call's id in the receipt and the ledger, a new UUIDv7; None to generate an id.
    """

    options: Options
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    schema: AnswerSchema | None = None
    cache_key: str | None = None
    endpoint: str | None = None
    fallbacks: bool = True
    embedding: EmbeddingSettings | None = None
    call_id: str | None = None


class ModelRequest(NamedTuple):
    """One request to one endpoint.

    Attributes:
        ask: The settings of the call, the same at every endpoint.
        settings: The model options as keyword arguments for the endpoint's API. Shared between calls: do not
            modify them.
        messages: The conversation, as returned by `normalize_history`.
        stop: The stop sequences.
        seconds: The timeout of the request, in seconds.
        ticket: The permission for this attempt; the transport sends nothing without a valid ticket.
        is_plain: Whether all messages are plain texts of the system, the user or the model.
        extra_body: Extra fields for the request's body, from the table. They never replace fields set by
            Patchbay.
    """

    endpoint: Endpoint
    ask: CallSettings
    settings: Mapping[str, Any]
    messages: Sequence[BaseMessage]
    stop: Sequence[str] | None
    seconds: float
    ticket: Ticket
    is_plain: bool = False
    extra_body: Mapping[str, Any] | None = None


class SerializedRequest(NamedTuple):
    """An HTTP request as an API's serializer made it. The transport adds the address and the key.

    Attributes:
        path: The path below the provider's base URL.
        body: The JSON body.
        headers: The headers, by lower-case name.
    """

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class InexpressibleRequestError(Exception):
    """The API's format has no form for a part of the request, such as a video. Nothing was sent.

    The call falls back to the next endpoint, whose API may support that part.
    """


class ProviderError(Exception):
    """The provider reported an error, by an HTTP error status or in the body of a response with status 200.

    Attributes:
        status: The HTTP status; None if the error came in a successful response.
        body: The error's body, with the key removed; None if only the text is known.
    """

    def __init__(self, message: str, *, status: int | None = None, body: object = None) -> None:
        super().__init__(message if status is None else f"HTTP {status}: {message}")
        self.status = status
        self.body = body


def raise_if_provider_error(error: object) -> None:
    """Raise `ProviderError` if ``error``, the field ``error`` of a response's JSON, is not empty.

    Raises:
        ProviderError: ``error`` is not empty. The exception's ``body`` contains it.
    """
    if error:
        body = error if isinstance(error, dict) else {"message": str(error)}
        raise ProviderError(str(body.get("message")), body=body)
