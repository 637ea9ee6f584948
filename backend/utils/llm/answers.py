"""What an answer says of itself, and the test that every complete one has to pass before it is handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .failures import BadAnswer, Category
from .providers import OTHERS_KEY
from .receipt import RECEIPT_KEY
from .structured import PARSED_KEY, UnfitAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .receipt import Receipt
    from .structured import Schema

    Labels = Callable[[dict[str, Any]], dict[str, Any]]

_LABELS = frozenset({"finish_reason", "model_name", OTHERS_KEY, "service_tier", "system_fingerprint"})
"""What an answer's metadata calls things by. All else there is the answer's own, or an id."""


def labelled(message: AIMessage, label: Labels) -> None:
    """Apply ``label`` to all that ``message`` calls things by."""
    metadata = message.response_metadata
    if told := {name: metadata[name] for name in _LABELS & metadata.keys()}:
        metadata |= label(told)


def finish_reason(message: AIMessage) -> str | None:
    """Why the model stopped."""
    reason = message.response_metadata.get("finish_reason")
    return reason if isinstance(reason, str) else None


def served_model(message: AIMessage) -> str | None:
    """The model that the provider says it used."""
    name = message.response_metadata.get("model_name")
    return name if isinstance(name, str) and name else None


def has_content(message: AIMessage) -> bool:
    """Whether there is anything in it to hand on."""
    chunks = message.tool_call_chunks if isinstance(message, AIMessageChunk) else ()
    return bool(message.content or message.tool_calls or message.invalid_tool_calls or chunks)


def refused(message: AIMessage) -> bool:
    """Whether the model, or a filter before or behind it, declined; also a choice beside the first."""
    reasons = (finish_reason(message), *message.response_metadata.get(OTHERS_KEY, ()))
    return "content_filter" in reasons or bool(message.additional_kwargs.get("refusal"))


def checked(message: AIMessage, schema: Schema | None) -> AIMessage:
    """``message``, if it may be handed on; with its object, if a schema was asked for.

    Raises:
        BadAnswer: If it was refused, is empty, was cut short before its object was complete, or does not fit.
    """
    reason = finish_reason(message)
    if refused(message):
        raise BadAnswer(Category.REFUSAL)
    if schema is not None and reason == "length":
        raise BadAnswer(Category.TRUNCATED)
    if not has_content(message):
        raise BadAnswer(Category.EMPTY)
    if schema is None or message.tool_calls:
        return message
    try:
        parsed = schema.parse(message.text)
    except UnfitAnswerError as error:
        raise BadAnswer(Category.INVALID_OUTPUT, str(error)) from None
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, PARSED_KEY: parsed}})


def in_new_wrapping(message: AIMessage, receipt: Receipt) -> ChatResult:
    """An answer with its receipt, in LangChain's wrapping."""
    message.response_metadata = {**message.response_metadata, RECEIPT_KEY: receipt.as_dict()}
    return ChatResult(generations=[ChatGeneration(message=message)])


def in_one_chunk(result: ChatResult) -> ChatGenerationChunk:
    """A whole answer as a stream of one chunk: it was tested before any of it is handed on."""
    message = cast("AIMessage", result.generations[0].message)
    chunk = AIMessageChunk(
        content=message.content,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        id=message.id,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=chunk)
