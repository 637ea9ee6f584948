"""The table of finish reasons: the meaning of each of the providers' words for why an answer ended.

One table serves all APIs, because gateways pass on their providers' words. A word that is not listed never counts as
good: it is a failure of a category of its own, and the receipt has the word, so that a row can be added here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..types import FailureCategory

if TYPE_CHECKING:
    from collections.abc import Mapping


class FinishReasonMeaning(NamedTuple):
    """The meaning of a provider's finish reason.

    Attributes:
        name: The equivalent finish reason of Chat Completions; None if there is none.
        category: The kind of failure; None if the answer is good.
    """

    name: str | None = None
    category: FailureCategory | None = None


C = FailureCategory
NOT_ENDED = FinishReasonMeaning()
STOPPED = FinishReasonMeaning("stop")
CALLED = FinishReasonMeaning("tool_calls")
CUT_OFF = FinishReasonMeaning(
    "length", C.TRUNCATED
)  # handed on all the same, if what there is of it is of use
BLOCKED = FinishReasonMeaning("content_filter", C.REFUSAL)
UNKNOWN = FinishReasonMeaning(None, C.UNKNOWN_REASON)
FAILED = FinishReasonMeaning(None, C.SERVER)
BROKEN_OFF = FinishReasonMeaning(None, C.INTERRUPTED)
NOTHING_SAID = FinishReasonMeaning(None, C.EMPTY)
WRONG_FORM = FinishReasonMeaning(None, C.INVALID_OUTPUT)
NOT_POSSIBLE = FinishReasonMeaning(None, C.UNSUPPORTED)

FINISH_REASONS: Mapping[str, FinishReasonMeaning] = {
    # OpenAI and Azure, and most who speak Chat Completions.
    "stop": STOPPED,
    "length": CUT_OFF,
    "tool_calls": CALLED,
    "function_call": FinishReasonMeaning("function_call"),
    "content_filter": BLOCKED,
    # OpenAI's Responses: why an answer is incomplete, and states that are none of its ends.
    "max_output_tokens": CUT_OFF,
    "incomplete": BROKEN_OFF,
    "in_progress": BROKEN_OFF,
    "queued": BROKEN_OFF,
    "failed": FAILED,
    "cancelled": BROKEN_OFF,
    # Gemini and Vertex AI.
    "finish_reason_unspecified": NOT_ENDED,
    "max_tokens": CUT_OFF,
    "continuation": CUT_OFF,
    "safety": BLOCKED,
    "recitation": BLOCKED,
    "blocklist": BLOCKED,
    "prohibited_content": BLOCKED,
    "spii": BLOCKED,
    "image_safety": BLOCKED,
    "image_prohibited_content": BLOCKED,
    "image_recitation": BLOCKED,
    "model_armor": BLOCKED,
    "escalation": BLOCKED,
    "jailbreak": BLOCKED,
    "language": NOT_POSSIBLE,
    "missing_thought_signature": NOT_POSSIBLE,
    "pup_limited_disabled": NOT_POSSIBLE,  # by this account, until Google lets it again
    "malformed_function_call": WRONG_FORM,
    "malformed_response": WRONG_FORM,
    "unexpected_tool_call": WRONG_FORM,
    "too_many_tool_calls": WRONG_FORM,
    "no_image": WRONG_FORM,
    "image_other": UNKNOWN,
    "other": UNKNOWN,
    # Anthropic, and Bedrock's Converse, through gateways.
    "end_turn": STOPPED,
    "stop_sequence": STOPPED,
    "tool_use": CALLED,
    "model_context_window_exceeded": CUT_OFF,
    "refusal": BLOCKED,
    "guardrail_intervened": BLOCKED,
    "content_filtered": BLOCKED,
    "malformed_model_output": WRONG_FORM,
    "malformed_tool_use": WRONG_FORM,
    "pause_turn": NOT_POSSIBLE,  # wants to be sent back and to go on
    "compaction": NOT_POSSIBLE,
    # OpenRouter, Mistral, Fireworks, vLLM, SGLang: a failure, which may stand beside it.
    "error": FAILED,
    "model_length": CUT_OFF,
    "abort": BROKEN_OFF,
    "repetition": WRONG_FORM,
    # DeepSeek, GLM, MiniMax, Baidu.
    "insufficient_system_resource": FAILED,
    "network_error": FAILED,
    "sensitive": BLOCKED,
    "max_output": CUT_OFF,
    "normal": STOPPED,
    # Cohere.
    "complete": STOPPED,
    "tool_call": CALLED,
    "error_toxic": BLOCKED,
    "error_limit": CUT_OFF,
    "user_cancel": BROKEN_OFF,
    "timeout": BROKEN_OFF,
    # Text Generation Inference, Together, AI21, Titan, watsonx, xAI's own API.
    "eos_token": STOPPED,
    "eos": STOPPED,
    "endoftext": STOPPED,
    "finish": STOPPED,
    "finished": STOPPED,
    "token_limit": CUT_OFF,
    "not_finished": NOT_ENDED,
    "time_limit": BROKEN_OFF,
    "reason_stop": STOPPED,
    "reason_tool_calls": CALLED,
    "reason_max_len": CUT_OFF,
    "reason_max_context": CUT_OFF,
    "reason_time_limit": BROKEN_OFF,
    # llama.cpp and Ollama: "load" answers a request without a prompt.
    "limit": CUT_OFF,
    "word": STOPPED,
    "load": NOTHING_SAID,
    "unload": NOTHING_SAID,
    # Servers that put null into a text.
    "null": NOT_ENDED,
    "none": NOT_ENDED,
}
"""The endings, by the providers' words in lower case."""
GOOD = frozenset(word for word, end in FINISH_REASONS.items() if end == FinishReasonMeaning(word))
"""The words that are good and named as in Chat Completions, with which most answers end."""


def interpret_finish_reason(reason: str | None) -> FinishReasonMeaning:
    """Find the meaning of a provider's finish reason, in any case of letters.

    A ``reason`` of None means that the answer is not finished.
    """
    if reason is None:
        return NOT_ENDED
    word = reason.lower()
    # Google's OpenAI endpoint says two: "function_call_filter: MALFORMED_FUNCTION_CALL".
    return next(
        (FINISH_REASONS[item] for item in (word, *word.split(": ")) if item in FINISH_REASONS), UNKNOWN
    )


def to_chat_finish_reason(reason: str | None) -> str | None:
    """Translate a provider's finish reason into that of Chat Completions; None while the answer goes on.

    A reason without an equivalent is returned unchanged.
    """
    found = interpret_finish_reason(reason)
    return found.name or (None if found.category is None else reason)
