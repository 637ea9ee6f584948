"""Requests of a plain HTTP client, on every wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2

    from backend.utils.llm.testing import LoopbackProvider

KEY = "sk-test-0123456789-secret"
MODEL = "m-1"
OPENAI_BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
GEMINI_BODY = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
ANTHROPIC_BODY = {**OPENAI_BODY, "max_tokens": 999}
WIRES = ["openai", "gemini", "anthropic"]


Call = tuple[str, dict[str, Any], dict[str, str]]


def call(provider: LoopbackProvider, wire: str, *, stream: bool = False, **more: Any) -> Call:
    """Address, body and headers of a request."""
    if wire == "openai":
        flags = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        url, body, header = f"{provider.openai_url}/chat/completions", OPENAI_BODY | flags, "Authorization"
        return url, body | more, {header: f"Bearer {KEY}"}
    if wire == "anthropic":
        headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
        return f"{provider.anthropic_url}/v1/messages", ANTHROPIC_BODY | {"stream": stream} | more, headers
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{provider.gemini_url}/v1beta/models/{MODEL}:{verb}", GEMINI_BODY | more, {"x-goog-api-key": KEY}


def post(
    client: httpx2.Client, provider: LoopbackProvider, wire: str, *, stream: bool = False, **more: Any
) -> httpx2.Response:
    url, body, headers = call(provider, wire, stream=stream, **more)
    return client.post(url, json=body, headers=headers)


def events(response: httpx2.Response) -> list[Any]:
    """The parsed events of a stream, without `[DONE]`."""
    lines = [line for line in response.text.split("\n") if line and not line.startswith("event: ")]
    data = [line.removeprefix("data: ") for line in lines]
    return [json.loads(line) for line in data if line != "[DONE]"]


def openai_text(parsed: list[Any]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for event in parsed for choice in event.get("choices", [])
    )


def gemini_text(parsed: list[Any]) -> str:
    parts = [
        part
        for event in parsed
        for candidate in event.get("candidates", [])
        for part in candidate.get("content", {}).get("parts", [])
    ]
    return "".join(part.get("text", "") for part in parts)


def anthropic_text(parsed: list[Any]) -> str:
    return "".join(event.get("delta", {}).get("text", "") for event in parsed)


def text_of(wire: str, parsed: list[Any]) -> str:
    return {"openai": openai_text, "gemini": gemini_text, "anthropic": anthropic_text}[wire](parsed)
