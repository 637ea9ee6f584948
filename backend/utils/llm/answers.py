"""Reads an answer's metadata, and validates every complete answer before the caller gets it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .failures import GOOD, BadAnswer, FailureCategory, interpret_finish_reason
from .providers import OTHERS_KEY, REASONING_KEY, THOUGHTS_KEY
from .providers.tool_arguments import is_json, is_truncated_json_object
from .receipt import RECEIPT_KEY, collect_receipt
from .structured import PARSED_KEY, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .receipt import Receipt
    from .structured import AnswerSchema

    MetadataRedactor = Callable[[dict[str, Any]], dict[str, Any]]

_LABELS = frozenset(
    {"finish_reason", "model_name", OTHERS_KEY, "safety_ratings", "service_tier", "system_fingerprint"}
)
"""The keys of names in an answer's metadata. All other values there are contents of the answer, or ids."""


def redact_metadata(message: AIMessage, redact: MetadataRedactor) -> None:
    """Redact, in place, short values in the metadata of ``message``, such as model name and finish reason.

    Args:
        message: The provider's answer; its ``response_metadata`` is changed.
        redact: Takes these values by key, and returns them without API keys and cut to a safe length.
    """
    metadata = message.response_metadata
    if labels := {name: metadata[name] for name in _LABELS & metadata.keys()}:
        metadata |= redact(labels)


def finish_reason(message: AIMessage) -> str | None:
    """Why the model stopped, such as ``stop`` or ``length``, from the metadata; None if the provider gave no reason."""
    reason = message.response_metadata.get("finish_reason")
    return reason if isinstance(reason, str) else None


def served_model(message: AIMessage) -> str | None:
    """The model that the provider says it used, from the metadata; None if the provider does not say."""
    name = message.response_metadata.get("model_name")
    return name if isinstance(name, str) and name else None


def has_content(message: AIMessage) -> bool:
    """Whether ``message`` has any text or tool call to return."""
    chunks = message.tool_call_chunks if isinstance(message, AIMessageChunk) else ()
    return bool(message.content or message.tool_calls or message.invalid_tool_calls or chunks)


def is_refusal(message: AIMessage) -> bool:
    """Whether the model or the provider's filter declined to answer, in any of the choices of ``message``."""
    reasons = (finish_reason(message), *message.response_metadata.get(OTHERS_KEY, ()))
    return "content_filter" in reasons or bool(message.additional_kwargs.get("refusal"))


def validate_answer(
    message: AIMessage, schema: AnswerSchema | None, tools: Sequence[dict[str, Any]] = ()
) -> AIMessage:
    """Validate a complete answer and return it; with a ``schema``, with the parsed object.

    The object is put into ``additional_kwargs``. An answer that calls one of ``tools`` has no object.

    Args:
        message: A complete answer.
        schema: The schema that the answer must fit; None for free text.
        tools: The application's tools, which the model may call instead of answering.

    Raises:
        BadAnswer: The answer is a refusal, is empty, does not fit ``schema``, has a bad or unknown finish
            reason, or was cut off. Free text that was cut off is accepted, unless a tool call is incomplete.
    """
    if is_refusal(message):
        raise BadAnswer(FailureCategory.REFUSAL)
    reason = finish_reason(message)
    fault = None if reason in GOOD else interpret_finish_reason(reason).category
    if fault is not None and not (fault is FailureCategory.TRUNCATED and _is_of_use(message, schema)):
        raise BadAnswer(fault)
    if not has_content(message):
        return _thought(message, schema)
    if isinstance(message, AIMessageChunk) and any(map(is_truncated_json_object, _arguments(message))):
        raise BadAnswer(FailureCategory.TRUNCATED)  # else the tool would run with half of what was meant
    if schema is None:
        return message
    if message.tool_calls or message.invalid_tool_calls:
        return _called(message, schema, tools)
    return _with_object(message, schema, message.text)


def _thought(message: AIMessage, schema: AnswerSchema | None) -> AIMessage:
    """``message`` with its thoughts as its text, if they are nothing but the object: some servers put it there.

    They do so if the model was asked not to think. One that has thought may have drafted the object, and not answered.

    Raises:
        BadAnswer: The answer is empty.
    """
    thoughts = message.additional_kwargs.get(THOUGHTS_KEY, "").strip()
    if schema is not None and thoughts.startswith("{") and not _has_thought(message):
        others = {name: value for name, value in message.additional_kwargs.items() if name != THOUGHTS_KEY}
        answer = message.model_copy(update={"content": thoughts, "additional_kwargs": others})
        with suppress(BadAnswer, ValueError, RecursionError):
            json.loads(thoughts)
            return _with_object(answer, schema, thoughts)
    raise BadAnswer(FailureCategory.EMPTY)


def _has_thought(message: AIMessage) -> bool:
    """Whether the provider has counted tokens of thoughts, or wants its thoughts back."""
    usage = message.usage_metadata
    counted = usage.get("output_token_details", {}).get("reasoning") if usage is not None else None
    return bool(counted) or REASONING_KEY in message.additional_kwargs


def _called(message: AIMessage, schema: AnswerSchema, tools: Sequence[dict[str, Any]]) -> AIMessage:
    """``message``, if it calls a tool of the product; else an answer that consists of the arguments of the call.

    Some servers enforce a schema by a tool of their own and return its call; for some the facade asks for a schema in this
    way.
    """
    calls, own = (
        (*message.tool_calls, *message.invalid_tool_calls),
        [tool.get("function", tool) for tool in tools],
    )
    if {call["name"] for call in calls} & {tool.get("name") for tool in own}:
        return message
    uncalled = message.model_copy(update={"tool_calls": [], "invalid_tool_calls": []})
    given = [call["args"] if isinstance(call["args"], str) else json.dumps(call["args"]) for call in calls]
    for text in (*given, message.text):
        with suppress(BadAnswer):
            return _with_object(uncalled.model_copy(update={"content": text}), schema, text)
    return _with_object(uncalled, schema, given[0])


def _with_object(message: AIMessage, schema: AnswerSchema, text: str) -> AIMessage:
    try:
        parsed = schema.parse(text)
    except SchemaMismatchError as error:
        raise BadAnswer(FailureCategory.INVALID_OUTPUT, str(error)) from None
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, PARSED_KEY: parsed}})


def _is_of_use(message: AIMessage, schema: AnswerSchema | None) -> bool:
    """Whether a truncated answer is returned: text that needs no test, or complete calls."""
    return schema is None and has_content(message) and all(map(is_json, _arguments(message)))


def _arguments(message: AIMessage) -> Iterator[str]:
    """The arguments that may be broken JSON, because in a stream LangChain completes truncated arguments."""
    chunks = message.tool_call_chunks if isinstance(message, AIMessageChunk) else message.invalid_tool_calls
    return (call["args"] or "" for call in chunks)


def make_chat_result(message: AIMessage, receipt: Receipt) -> ChatResult:
    """Make LangChain's `ChatResult` for an answer; adds ``receipt`` to it and to open `receipts` blocks."""
    message.response_metadata = {**message.response_metadata, RECEIPT_KEY: collect_receipt(receipt)}
    return ChatResult(generations=[ChatGeneration(message=message)])


def to_single_chunk(result: ChatResult) -> ChatGenerationChunk:
    """Convert a complete answer into one stream chunk, for streams whose answer must be validated first."""
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
