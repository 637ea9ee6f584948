"""OpenAI's and Gemini's embeddings APIs. Vectors are made of the text's hash: the same text has the same vector."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .gemini_wire import GeminiWire
from .openai_wire import OpenAIWire
from .wire import Prompt, Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .wire import Utterance

DIMENSIONS = 8
"""The length of a vector if the request does not set one."""


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector of ``text``, of Euclidean length 1; different texts have different vectors."""
    digest = hashlib.shake_256(text.encode()).digest(dimensions)
    values = [byte - 127.5 for byte in digest]
    length = math.sqrt(sum(value * value for value in values))
    return [round(value / length, 6) for value in values]


class OpenAIEmbeddingWire(OpenAIWire):
    """Serves ``POST /v1/embeddings``."""

    @override
    def read(self, body: Mapping[str, Any]) -> Prompt:
        return Prompt(turns=tuple(Turn("user", text) for text in _inputs(body)))

    @override
    def whole(self, utterance: Utterance, body: Mapping[str, Any]) -> dict[str, Any]:
        dimensions = body.get("dimensions") or DIMENSIONS
        data = [
            {"object": "embedding", "index": index, "embedding": vector(text, dimensions)}
            for index, text in enumerate(_inputs(body))
        ]
        tokens = utterance.usage.input_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": utterance.model, "usage": usage}


class GeminiEmbeddingWire(GeminiWire):
    """Serves ``POST /v1beta/models/MODEL:batchEmbedContents``."""

    @override
    def read(self, body: Mapping[str, Any]) -> Prompt:
        return Prompt(turns=tuple(Turn("user", _text(one)) for one in body.get("requests") or ()))

    @override
    def whole(self, utterance: Utterance, body: Mapping[str, Any]) -> dict[str, Any]:
        found = [
            vector(_text(one), one.get("outputDimensionality") or DIMENSIONS)
            for one in body.get("requests") or ()
        ]
        return {"embeddings": [{"values": values} for values in found]}


def _inputs(body: Mapping[str, Any]) -> list[str]:
    given = body.get("input") or []
    return [given] if isinstance(given, str) else list(map(str, given))


def _text(request: Mapping[str, Any]) -> str:
    return "".join(part.get("text", "") for part in request["content"]["parts"])
