"""Words a history for the Gemini API: https://ai.google.dev/api/generate-content. Nothing is opened or fetched.

The rules of turns: https://ai.google.dev/gemini-api/docs/function-calling; those of thoughts and their signatures:
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, ToolMessage

from .history import SIGNATURES_KEY
from .parts import MEDIA, is_googles, told
from .turns import (
    apart,
    between_users,
    blocks_of,
    handed_on,
    joined,
    plain_json,
    spoken,
    thought_by,
    unworded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

    from .ask import ModelRequest
    from .parts import Block

_API = "the Gemini API"
_ROLES = {"human": "user", "ai": "model"}
_UNSIGNED = "skip_thought_signature_validator"
"""What Google takes for a signature where there is none, such as of another vendor's call:
https://ai.google.dev/gemini-api/docs/thought-signatures#faqs"""
_SIGNS = re.compile(r"gemini-([3-9]|\d\d)")
"""Models that want a signature with the first call of a turn."""
_NO_LETTER = re.compile(r"[^A-Za-z0-9_.:-]")
_LONGEST_NAME = 64
_MIMES = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}


class GeminiHistory(NamedTuple):
    """A history in Gemini's words.

    Attributes:
        instruction: The system's; None without one.
    """

    contents: list[dict[str, Any]]
    instruction: dict[str, Any] | None


def gemini_history(request: ModelRequest) -> GeminiHistory:
    """What is said in ``request``.

    Raises:
        NotWordedError: Part of it cannot be said here.
    """
    systems, turns = apart(request.messages)
    instruction = {"parts": [{"text": text} for text in systems]} if systems else None
    if request.is_plain:
        said = between_users(turns)
        plain = [{"role": _ROLES[one.type], "parts": [{"text": one.content}]} for one in said]
        return GeminiHistory(plain, instruction)
    writer, contents = _Writer(request), list[dict[str, Any]]()
    for message in between_users(handed_on(turns, (ToolMessage,))):
        _add(contents, writer.content(message))
    return GeminiHistory(contents, instruction)


def _add(contents: list[dict[str, Any]], content: dict[str, Any]) -> None:
    """Put ``content`` behind the others: the results of one turn stand together."""
    if contents and _is_of_results(contents[-1]) and _is_of_results(content):
        contents[-1]["parts"] += content["parts"]
    else:
        contents.append(content)


def _is_of_results(content: dict[str, Any]) -> bool:
    return "functionResponse" in content["parts"][0]


class _Writer:
    """Words one message after the other."""

    def __init__(self, request: ModelRequest) -> None:
        self._signs = bool(_SIGNS.search(request.endpoint.model_id))
        self._provider = request.endpoint.provider.name

    def content(self, message: BaseMessage) -> dict[str, Any]:
        """``message`` as the API takes it."""
        match message:
            case AIMessage():
                return {"role": "model", "parts": [*self._said(message), *self._calls(message)]}
            case ToolMessage():
                return {"role": "user", "parts": [_result(message)]}
            case _:
                return {"role": "user", "parts": [_shown(part) for part in spoken(message)]}

    def _said(self, message: AIMessage) -> Iterator[dict[str, Any]]:
        is_own = thought_by(message, "google_genai", self._provider)
        for part in blocks_of(message):
            if (worded := _said(part, is_own=is_own)) is not None:
                yield worded

    def _calls(self, message: AIMessage) -> Iterator[dict[str, Any]]:
        signatures = message.additional_kwargs.get(SIGNATURES_KEY) or {}
        for place, call in enumerate(message.tool_calls):
            worded: dict[str, Any] = {
                "functionCall": {"name": _name(call["name"]), "args": plain_json(call["args"])}
            }
            signature = signatures.get(call["id"]) or (_UNSIGNED if self._signs and place == 0 else None)
            yield {**worded, "thoughtSignature": signature} if signature else worded


def _said(part: Block, *, is_own: bool) -> dict[str, Any] | None:
    """What a model said; None for what another one thought."""
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
            return {**_medium(part), **signed}
        case _:
            return _of_own_tool(part["value"]) or {"text": told(part)}


def _thought(text: str, signed: dict[str, Any]) -> dict[str, Any] | None:
    """A thought that is signed: of another one it has no use. The mere signature of what was said stands with an empty text."""
    if not signed:
        return None
    return {"text": text, "thought": True, **signed} if text else {"text": "", **signed}


def _of_own_tool(value: dict[str, Any]) -> dict[str, Any] | None:
    """What Google's own tools did, as LangChain tells it."""
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
    text = joined(blocks_of(message))
    try:
        found = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        found = text
    response = (
        found if isinstance(found, dict) else {"error" if message.status == "error" else "output": found}
    )
    return {"functionResponse": {"name": _name(message.name or ""), "response": response}}


def _name(name: str) -> str:
    fitting = _NO_LETTER.sub("_", name) or "tool"
    return (fitting if fitting[0].isalpha() or fitting[0] == "_" else f"_{fitting}")[:_LONGEST_NAME]


def _shown(part: Block) -> dict[str, Any]:
    """What a user shows."""
    if part["type"] == "text":
        return {"text": part["text"]}
    if part["type"] not in MEDIA:
        raise unworded(part, _API)
    return _medium(part)


def _medium(part: Block) -> dict[str, Any]:
    if "base64" in part:
        mime = part.get("mime_type") or _MIMES[part["type"]]
        return {"inlineData": {"mimeType": mime, "data": part["base64"]}}
    address = part.get("file_id") or part["url"]
    if not is_googles(address) and not ("file_id" in part and "/" in address):
        raise unworded(part, _API)
    mime = {"mimeType": part["mime_type"]} if "mime_type" in part else {}
    return {"fileData": {**mime, "fileUri": address}}
