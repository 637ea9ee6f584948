"""Serializes a conversation for the Gemini API: https://ai.google.dev/api/generate-content.

No file or URL is opened. The rules of turns: https://ai.google.dev/gemini-api/docs/function-calling;
those of thoughts and their signatures: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, ToolMessage

from .content_blocks import MEDIA, block_to_text, can_google_fetch_url
from .history import SIGNATURES_KEY
from .turns import (
    add_missing_user_turns,
    can_provider_read_thoughts,
    join_text_blocks,
    list_content_blocks,
    list_user_content_blocks,
    make_unsupported_block_error,
    move_media_to_user_messages,
    replace_non_json_values,
    split_system_messages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

    from .ask import ModelRequest
    from .content_blocks import Block

_API = "the Gemini API"
_ROLES = {"human": "user", "ai": "model"}
_UNSIGNED = "skip_thought_signature_validator"
"""What Google takes for a signature where there is none, such as of another vendor's call:
https://ai.google.dev/gemini-api/docs/thought-signatures#faqs"""
_SIGNS = re.compile(r"gemini-([3-9]|\d\d)")
"""Models that want a signature with the first call of a turn."""
_INVALID_LETTERS = re.compile(r"[^A-Za-z0-9_.:-]")
_MAX_NAME = 64
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif"})
"""What Google looks at: https://ai.google.dev/gemini-api/docs/image-understanding#supported-formats; and GIFs."""
_MIMES = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}


class GeminiHistory(NamedTuple):
    """A conversation as the Gemini API expects it.

    Attributes:
        contents: The messages without system messages.
        instruction: The system prompt; None if there is none.
    """

    contents: list[dict[str, Any]]
    instruction: dict[str, Any] | None


def to_gemini_history(request: ModelRequest) -> GeminiHistory:
    """Convert the conversation of ``request`` into the contents and the system instruction of the Gemini API.

    Raises:
        InexpressibleRequestError: The API has no form for a part of the conversation.
    """
    systems, turns = split_system_messages(request.messages)
    instruction = {"parts": [{"text": text} for text in systems]} if systems else None
    if request.is_plain:
        messages = add_missing_user_turns(turns)
        plain = [{"role": _ROLES[message.type], "parts": [{"text": message.content}]} for message in messages]
        return GeminiHistory(plain, instruction)
    writer, contents = _Writer(request), list[dict[str, Any]]()
    for message in add_missing_user_turns(move_media_to_user_messages(turns, (ToolMessage,))):
        _append(contents, writer.content(message))
    return GeminiHistory(contents, instruction)


def _append(contents: list[dict[str, Any]], content: dict[str, Any]) -> None:
    """Append ``content``. Consecutive tool results share one entry, and so do a model's text and its following call."""
    last = contents[-1] if contents else None
    is_models = last is not None and last["role"] == content["role"] == "model"
    if last is not None and (is_models or (_is_of_results(last) and _is_of_results(content))):
        last["parts"] += content["parts"]
    else:
        contents.append(content)


def _is_of_results(content: dict[str, Any]) -> bool:
    return "functionResponse" in content["parts"][0]


class _Writer:
    """Serializes one message after the other."""

    def __init__(self, request: ModelRequest) -> None:
        self._signs = bool(_SIGNS.search(request.endpoint.model_id))
        self._provider = request.endpoint.provider.name

    def content(self, message: BaseMessage) -> dict[str, Any]:
        """``message`` in the form of the API."""
        match message:
            case AIMessage():
                return {"role": "model", "parts": [*self._assistant_content(message), *self._calls(message)]}
            case ToolMessage():
                return {"role": "user", "parts": [_result(message)]}
            case _:
                return {
                    "role": "user",
                    "parts": [_user_part(part) for part in list_user_content_blocks(message)],
                }

    def _assistant_content(self, message: AIMessage) -> Iterator[dict[str, Any]]:
        is_own = can_provider_read_thoughts(message, "google_genai", self._provider)
        for part in list_content_blocks(message):
            if (serialized := _assistant_part(part, is_own=is_own)) is not None:
                yield serialized

    def _calls(self, message: AIMessage) -> Iterator[dict[str, Any]]:
        signatures = message.additional_kwargs.get(SIGNATURES_KEY) or {}
        for place, call in enumerate(message.tool_calls):
            serialized: dict[str, Any] = {
                "functionCall": {"name": _name(call["name"]), "args": replace_non_json_values(call["args"])}
            }
            signature = signatures.get(call["id"]) or (_UNSIGNED if self._signs and place == 0 else None)
            yield {**serialized, "thoughtSignature": signature} if signature else serialized


def _assistant_part(part: Block, *, is_own: bool) -> dict[str, Any] | None:
    """A part of a model's message; None for a thought of another provider."""
    signature = (part.get("signature") or part.get("extras", {}).get("signature")) if is_own else None
    signed = {"thoughtSignature": signature} if signature else {}
    match part["type"]:
        case "reasoning":
            return (
                {"text": part["reasoning"], "thought": True, **signed}
                if is_own and part["reasoning"]
                else None
            )
        case "text":
            return {"text": part["text"], **signed}
        case kind if kind in MEDIA:
            return {**_media(part), **signed}
        case _:
            return _of_own_tool(part["value"]) or {"text": block_to_text(part)}


def _of_own_tool(value: dict[str, Any]) -> dict[str, Any] | None:
    """Gemini's form of LangChain's blocks for Google's code execution; None for other blocks."""
    match value.get("type"):
        case "executable_code":
            code = {"language": value.get("language") or "PYTHON", "code": value.get("executable_code")}
            return {"executableCode": code}
        case "code_execution_result":
            outcome = "OUTCOME_OK" if value.get("outcome") in {None, 1, "OUTCOME_OK"} else "OUTCOME_FAILED"
            result = {"outcome": outcome, "output": value.get("code_execution_result")}
            return {"codeExecutionResult": result}
        case _:
            return None


def _result(message: ToolMessage) -> dict[str, Any]:
    text = join_text_blocks(list_content_blocks(message))
    try:
        found = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        found = text
    response = (
        found if isinstance(found, dict) else {"error" if message.status == "error" else "output": found}
    )
    return {"functionResponse": {"name": _name(message.name or ""), "response": response}}


def _name(name: str) -> str:
    fitting = _INVALID_LETTERS.sub("_", name) or "tool"
    return (fitting if fitting[0].isalpha() or fitting[0] == "_" else f"_{fitting}")[:_MAX_NAME]


def _user_part(part: Block) -> dict[str, Any]:
    """Text or media of a user's message."""
    if part["type"] == "text":
        return {"text": part["text"]}
    if part["type"] not in MEDIA:
        raise make_unsupported_block_error(part, _API)
    return _media(part)


def _media(part: Block) -> dict[str, Any]:
    if part["type"] == "image" and part.get("mime_type", "image/png") not in _PICTURES:
        raise make_unsupported_block_error(part, _API)
    if "base64" in part:
        mime = part.get("mime_type") or _MIMES[part["type"]]
        return {"inlineData": {"mimeType": mime, "data": part["base64"]}}
    address = part.get("file_id") or part["url"]
    if not can_google_fetch_url(address) and not ("file_id" in part and "/" in address):
        raise make_unsupported_block_error(part, _API)
    mime = {"mimeType": part["mime_type"]} if "mime_type" in part else {}
    return {"fileData": {**mime, "fileUri": address}}
