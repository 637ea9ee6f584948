"""One shape for the answers of every API: text is a string, finish reasons have one set of names.

And the test that every complete answer has to pass before it is handed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .failures import BadAnswer, Category
from .providers import OTHERS_KEY
from .receipt import RECEIPT_KEY
from .structured import PARSED_KEY, UnfitAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .receipt import Receipt
    from .structured import Schema

    Labels = Callable[[dict[str, Any]], dict[str, Any]]

FINISH_REASONS = {
    "BLOCKLIST": "content_filter",
    "CONTINUATION": "length",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "MAX_TOKENS": "length",
    "PROHIBITED_CONTENT": "content_filter",
    "RECITATION": "content_filter",
    "SAFETY": "content_filter",
    "SPII": "content_filter",
    "STOP": "stop",
}
"""Gemini's names by OpenAI's. What is not here is neither an end nor a block, such as a malformed call."""
_ADDS_UP = frozenset({"logprobs", OTHERS_KEY})
_LABELS = frozenset(
    {
        "finish_reason",
        "model",
        "model_name",
        OTHERS_KEY,
        "prompt_feedback",
        "service_tier",
        "system_fingerprint",
        "token_usage",
    }
)
"""What an answer's metadata calls things by. All else there is the answer's own, or an id."""
_SILENT_BLOCKS = frozenset({"reasoning", "thinking", "redacted_thinking"})

MessageT = TypeVar("MessageT", AIMessage, AIMessageChunk)


def normalised(message: MessageT, *told: Mapping[str, Any] | None, once: set[str] | None = None) -> MessageT:
    """``message``, after its text was made one string, and its finish reason one of OpenAI's names.

    Args:
        message: As the SDK's adapter made it, for us alone: it is changed, because a copy takes ten times as long.
        told: What the adapter told beside the message; LangChain merges it into the metadata only later.
        once: Of a stream, what its metadata has told before; it grows by what this chunk tells.
    """
    metadata: dict[str, Any] = {}
    for source in told:
        metadata |= source or {}
    metadata |= message.response_metadata
    reason = metadata.get("finish_reason")
    if not isinstance(reason, str):
        metadata.pop("finish_reason", None)
    elif reason in FINISH_REASONS:
        metadata["finish_reason"] = (
            "tool_calls" if message.tool_calls and reason == "STOP" else FINISH_REASONS[reason]
        )
    message.response_metadata = metadata if once is None else _told_once(metadata, once)
    if isinstance(message.content, list) and (text := _only_text(message.content)) is not None:
        message.content = text
    return message


def _only_text(blocks: list[Any]) -> str | None:
    """The blocks' text; None if one of them is something that is neither text nor thought."""
    texts = []
    for block in blocks:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") == "text":
            texts.append(block.get("text", ""))
        elif block.get("type") not in _SILENT_BLOCKS:
            return None
    return "".join(texts)


def _told_once(metadata: Mapping[str, Any], told: set[str]) -> dict[str, Any]:
    """A chunk's ``metadata`` without what an earlier chunk has ``told``: joined, chunks would say "stopstop"."""
    new = {key: value for key, value in metadata.items() if key in _ADDS_UP or key not in told}
    told.update(new)
    return new


def labelled(message: AIMessage, label: Labels) -> None:
    """Apply ``label`` to all that a `normalised` ``message`` calls things by."""
    metadata = message.response_metadata
    if told := {name: metadata[name] for name in _LABELS & metadata.keys()}:
        metadata |= label(told)


def finish_reason(message: AIMessage) -> str | None:
    """Why the model stopped."""
    reason = message.response_metadata.get("finish_reason")
    return reason if isinstance(reason, str) else None


def served_model(message: AIMessage) -> str | None:
    """The model that the provider says it used."""
    name = message.response_metadata.get("model_name") or message.response_metadata.get("model")
    return name if isinstance(name, str) and name else None


def has_content(message: AIMessage) -> bool:
    """Whether there is anything in it to hand on."""
    chunks = message.tool_call_chunks if isinstance(message, AIMessageChunk) else ()
    return bool(message.content or message.tool_calls or message.invalid_tool_calls or chunks)


def refused(message: AIMessage) -> bool:
    """Whether the model, or a filter before or behind it, declined; in a stream, any of its choices."""
    told = message.response_metadata
    feedback, others = told.get("prompt_feedback") or {}, told.get(OTHERS_KEY, ())
    if _filtered(finish_reason(message)) or any(map(_filtered, others)):
        return True
    return bool(message.additional_kwargs.get("refusal") or feedback.get("block_reason"))


def _filtered(reason: str | None) -> bool:
    return reason is not None and FINISH_REASONS.get(reason, reason) == "content_filter"


def choices_of(result: ChatResult, label: Labels | None = None) -> list[AIMessage]:
    """All the answers that a provider gave, the first one first; ``result``'s own messages, normalised and `labelled`."""
    choices = []
    for generation in result.generations:
        if isinstance(message := generation.message, AIMessage):
            normalised(message, result.llm_output, generation.generation_info)
            if label is not None:
                labelled(message, label)
            choices.append(message)
    return choices


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
    return with_receipt(ChatResult(generations=[ChatGeneration(message=message)]), message, receipt)


def with_receipt(result: ChatResult, message: AIMessage, receipt: Receipt) -> ChatResult:
    """The same in the wrapping in which the adapter gave it; making another takes as long as all that was tested."""
    message.response_metadata = {**message.response_metadata, RECEIPT_KEY: receipt.as_dict()}
    generation = result.generations[0]
    if generation.message is not message:
        generation.message = message
    if generation.text != message.text:
        generation.text = message.text
    if generation.generation_info is not None:  # LangChain would merge it in again, as it was
        generation.generation_info = None
    if result.llm_output is not None:
        result.llm_output = None
    if len(result.generations) > 1:
        result.generations = [generation]
    return result


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
