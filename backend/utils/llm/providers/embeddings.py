"""The APIs of embeddings: serializes requests with texts, and parses answers with a vector for each text."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ..failures import BadAnswer, Category
from .answer import Answer, usage_of
from .ask import NotWordedError, Serialized, raise_for
from .loose_json import as_object, as_objects

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from .ask import ModelRequest

BLOCK = "embeddings"
"""The type of the content block that holds an answer's vectors."""
_VECTORS = "vectors"
_TASKS = {"document": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY"}


def vectors_of(answer: AIMessage) -> list[list[float]]:
    """The vectors in the message of an answer, one for each text of the request, in that order."""
    block = answer.content[0]
    return block[_VECTORS] if isinstance(block, dict) else []


class OpenAIEmbeddingsApi:
    """OpenAI's API of embeddings, ``POST /embeddings``, also of many other servers."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> Serialized:
        """``request`` as JSON of OpenAI's API of embeddings; see `ChatApi.serialize`."""
        _check(request, streams=streams)
        body: dict[str, Any] = {
            "model": request.endpoint.model_id,
            "input": _texts(request),
            "encoding_format": "float",
        }
        if (dimensions := _dimensions(request)) is not None:
            body["dimensions"] = dimensions
        return Serialized("/embeddings", body, {"content-type": "application/json"})

    def reader(self, request: ModelRequest) -> OpenAIVectors:
        """A reader of the vectors for ``request``; see `ChatApi.reader`."""
        return OpenAIVectors(request)


class GeminiEmbeddingsApi:
    """Gemini's API of embeddings, ``POST /models/MODEL:batchEmbedContents``, which reports no token counts."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> Serialized:
        """``request`` as JSON of Gemini's ``batchEmbedContents``; see `ChatApi.serialize`."""
        embedding = _check(request, streams=streams)
        model = f"models/{request.endpoint.model_id}"
        each: dict[str, Any] = {"model": model, "taskType": _TASKS[embedding.kind]}
        if embedding.dimensions is not None:
            each["outputDimensionality"] = embedding.dimensions
        requests = [{**each, "content": {"parts": [{"text": text}]}} for text in _texts(request)]
        path = f"/v1beta/{model}:batchEmbedContents"
        return Serialized(path, {"requests": requests}, {"content-type": "application/json"})

    def reader(self, request: ModelRequest) -> GeminiVectors:
        """A reader of the vectors for ``request``; see `ChatApi.reader`."""
        return GeminiVectors(request)


class _Vectors(ABC):
    """Parses an answer with one vector for each text of ``request``."""

    is_over = True

    def __init__(self, request: ModelRequest) -> None:
        self._request = request

    @abstractmethod
    def answer(self, document: dict[str, Any]) -> Answer:
        """Parse an answer; see `AnswerReader.answer`."""

    def event(self, document: dict[str, Any]) -> Answer:
        """The same as `answer`, because embeddings are not streamed."""
        return self.answer(document)


class OpenAIVectors(_Vectors):
    """Parses an answer of `OpenAIEmbeddingsApi`."""

    @override
    def answer(self, document: dict[str, Any]) -> Answer:
        raise_for(document.get("error"))
        found, model = as_objects(document.get("data")), document.get("model")
        if all(type(one.get("index")) is int for one in found):
            found = sorted(found, key=lambda one: int(one["index"]))
        counts = as_object(document.get("usage"))
        told = counts.get("prompt_tokens") or counts.get("total_tokens") or 0
        return Answer(
            media=_block([one.get("embedding") for one in found], self._request),
            usage=usage_of({"input": told}, {}, {}) if type(told) is int else None,
            reason="stop",
            metadata={"model_name": model} if isinstance(model, str) else {},
        )


class GeminiVectors(_Vectors):
    """Parses an answer of `GeminiEmbeddingsApi`."""

    @override
    def answer(self, document: dict[str, Any]) -> Answer:
        raise_for(document.get("error"))
        found = [one.get("values") for one in as_objects(document.get("embeddings"))]
        return Answer(media=_block(found, self._request), reason="stop")


def _check(request: ModelRequest, *, streams: bool) -> Any:
    """The settings of the vectors, for an unstreamed request of a feature of embeddings."""
    if request.ask.embedding is None or streams:
        raise NotWordedError("a feature of embeddings gives vectors only: use get_embeddings")
    return request.ask.embedding


def _dimensions(request: ModelRequest) -> int | None:
    return request.ask.embedding.dimensions if request.ask.embedding is not None else None


def _texts(request: ModelRequest) -> list[str]:
    """The texts of a request. Empty ones are replaced, because no API accepts them."""
    return [str(message.content) or " " for message in request.messages]


def _block(vectors: list[Any], request: ModelRequest) -> list[dict[str, Any]]:
    """``vectors`` as the content block of an answer.

    Raises:
        BadAnswer: There is not exactly one vector of numbers, of the requested length, for each text.
    """
    wanted = _dimensions(request)
    lengths = {len(one) if isinstance(one, list) else 0 for one in vectors}
    is_right = (
        len(vectors) == len(request.messages)
        and len(lengths) == 1
        and lengths <= {wanted or next(iter(lengths))}
    )
    if not is_right or 0 in lengths or not all(map(_is_number, (value for one in vectors for value in one))):
        raise BadAnswer(Category.UNREADABLE, "there is not one vector for each text")
    return [{"type": BLOCK, _VECTORS: [[float(value) for value in one] for one in vectors]}]


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]
