"""Joins two events of a stream that came together, if all that they add is text.

For every chunk LangChain, and whoever listens, takes a hundred times what an event takes to be read.
"""

from __future__ import annotations

from typing import Any

Told = dict[str, Any]
_OF_A_RESPONSE = {"candidates", "usageMetadata", "modelVersion", "responseId", "createTime"}
_OF_A_CANDIDATE = {"content", "finishReason", "index"}


def chat(first: Told, second: Told) -> Told | None:
    """One chunk of Chat Completions in the place of two; None if they are to stay two."""
    one, other = _delta(first), _delta(second)
    if one is None or other is None:
        return None
    one["content"] += other["content"]
    return first


def _delta(chunk: Told) -> dict[str, str] | None:
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or chunk.get("usage"):
        return None
    choice = choices[0]
    if any(choice.get(name) for name in ("finish_reason", "logprobs", "index")):
        return None
    delta: dict[str, str] = choice.get("delta") or {}
    return delta if isinstance(delta.get("content"), str) and not delta.keys() - {"content", "role"} else None


def responses(first: Told, second: Told) -> Told | None:
    """The same of events of Responses."""
    for event in (first, second):
        if event.get("type") != "response.output_text.delta" or event.get("logprobs"):
            return None
    if not isinstance(first.get("delta"), str) or not isinstance(second.get("delta"), str):
        return None
    return {**second, "delta": first["delta"] + second["delta"]}


def gemini(first: Told, second: Told) -> Told | None:
    """The same of parts of Gemini's. Usage, and why it ended, are those of the second: they are told of all so far."""
    one, other = _candidate(first), _candidate(second)
    if one is None or other is None:
        return None
    text = one["content"]["parts"][0]["text"] + other["content"]["parts"][0]["text"]
    content = {**other["content"], "parts": [{"text": text}]}
    return {**first, **second, "candidates": [{**one, **other, "content": content}]}


def _candidate(part: Told) -> Told | None:
    candidates = part.get("candidates")
    if not isinstance(candidates, list) or len(candidates) != 1 or part.keys() - _OF_A_RESPONSE:
        return None
    candidate: Told = candidates[0]
    if candidate.get("index") or candidate.keys() - _OF_A_CANDIDATE:
        return None
    parts = (candidate.get("content") or {}).get("parts") or [{}]
    is_text = len(parts) == 1 and parts[0].keys() == {"text"} and isinstance(parts[0]["text"], str)
    return candidate if is_text else None
