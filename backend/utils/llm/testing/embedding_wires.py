"""Imitates OpenAI's and Gemini's embeddings APIs. A text's vector is made of its hash."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .gemini_wire import FakeGeminiApi
from .openai_wire import FakeOpenAIApi
from .wire import ParsedRequest, PromptTurn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .wire import PlannedAnswer

DIMENSIONS = 8
"""The length of a vector if the request does not set one."""


def make_vector_from_hash(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Make the vector of ``text`` from its hash, with Euclidean length 1. Equal texts get equal vectors."""
    digest = hashlib.shake_256(text.encode()).digest(dimensions)
    values = [byte - 127.5 for byte in digest]
    length = math.sqrt(sum(value * value for value in values))
    return [round(value / length, 6) for value in values]


class FakeOpenAIEmbeddingsApi(FakeOpenAIApi):
    """Imitates OpenAI's embeddings API, ``POST /v1/embeddings``."""

    @override
    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        return ParsedRequest(turns=tuple(PromptTurn("user", text) for text in _inputs(body)))

    @override
    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        dimensions = body.get("dimensions") or DIMENSIONS
        data = [
            {"object": "embedding", "index": index, "embedding": make_vector_from_hash(text, dimensions)}
            for index, text in enumerate(_inputs(body))
        ]
        tokens = answer.usage.input_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": answer.model, "usage": usage}


class FakeGeminiEmbeddingsApi(FakeGeminiApi):
    """Imitates Gemini's embeddings API, ``POST /v1beta/models/MODEL:batchEmbedContents``."""

    @override
    def parse_request(self, body: Mapping[str, Any]) -> ParsedRequest:
        return ParsedRequest(
            turns=tuple(PromptTurn("user", _text(item)) for item in body.get("requests") or ())
        )

    @override
    def make_response_body(self, answer: PlannedAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        found = [
            make_vector_from_hash(_text(item), item.get("outputDimensionality") or DIMENSIONS)
            for item in body.get("requests") or ()
        ]
        return {"embeddings": [{"values": values} for values in found]}


def _inputs(body: Mapping[str, Any]) -> list[str]:
    given = body.get("input") or []
    return [given] if isinstance(given, str) else list(map(str, given))


def _text(request: Mapping[str, Any]) -> str:
    return "".join(part.get("text", "") for part in request["content"]["parts"])
