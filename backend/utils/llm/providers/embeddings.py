"""Client side of the embeddings APIs: serializes requests, and parses a vector for each text."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ..failures import BadAnswer, FailureCategory
from .answer import ParsedAnswer, make_usage_metadata
from .ask import InexpressibleRequestError, SerializedRequest, raise_if_provider_error
from .loose_json import object_or_empty, objects_in_list

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from .ask import ModelRequest

BLOCK = "embeddings"
"""The type of the content block that holds an answer's vectors."""
_VECTORS = "vectors"
_TASKS = {"document": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY"}


def read_vectors(answer: AIMessage) -> list[list[float]]:
    """Return the vectors in an embeddings answer, one for each text of the request, in the same order."""
    block = answer.content[0]
    return block[_VECTORS] if isinstance(block, dict) else []


class OpenAIEmbeddingsApi:
    """Serializes requests for OpenAI's embeddings API, ``POST /embeddings``, which many other servers offer, too."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` as JSON of OpenAI's embeddings API. See `ChatApi.serialize`."""
        _check(request, streams=streams)
        body: dict[str, Any] = {
            "model": request.endpoint.model_id,
            "input": _texts(request),
            "encoding_format": "float",
        }
        if (dimensions := _dimensions(request)) is not None:
            body["dimensions"] = dimensions
        return SerializedRequest("/embeddings", body, {"content-type": "application/json"})

    def make_answer_reader(self, request: ModelRequest) -> OpenAIEmbeddingsReader:
        """Make a reader for the vectors that answer ``request``. See `ChatApi.make_answer_reader`."""
        return OpenAIEmbeddingsReader(request)


class GeminiEmbeddingsApi:
    """Serializes requests for Gemini's embeddings API, ``POST /models/MODEL:batchEmbedContents``."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> SerializedRequest:
        """Serialize ``request`` as JSON of Gemini's ``batchEmbedContents``. See `ChatApi.serialize`."""
        embedding = _check(request, streams=streams)
        model = f"models/{request.endpoint.model_id}"
        each: dict[str, Any] = {"model": model, "taskType": _TASKS[embedding.kind]}
        if embedding.dimensions is not None:
            each["outputDimensionality"] = embedding.dimensions
        requests = [{**each, "content": {"parts": [{"text": text}]}} for text in _texts(request)]
        path = f"/v1beta/{model}:batchEmbedContents"
        return SerializedRequest(path, {"requests": requests}, {"content-type": "application/json"})

    def make_answer_reader(self, request: ModelRequest) -> GeminiEmbeddingsReader:
        """Make a reader for the vectors that answer ``request``. See `ChatApi.make_answer_reader`."""
        return GeminiEmbeddingsReader(request)


class _Vectors(ABC):
    """Parses an answer with one vector for each text of ``request``."""

    is_over = True

    def __init__(self, request: ModelRequest) -> None:
        self._request = request

    @abstractmethod
    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        """Parse an answer; see `AnswerReader.parse_answer`."""

    def parse_event(self, document: dict[str, Any]) -> ParsedAnswer:
        """The same as `parse_answer`, because embeddings are not streamed."""
        return self.parse_answer(document)


class OpenAIEmbeddingsReader(_Vectors):
    """Parses the vectors in an answer of OpenAI's embeddings API."""

    @override
    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        raise_if_provider_error(document.get("error"))
        found, model = objects_in_list(document.get("data")), document.get("model")
        if all(type(item.get("index")) is int for item in found):
            found = sorted(found, key=lambda item: int(item["index"]))
        counts = object_or_empty(document.get("usage"))
        prompt_tokens = counts.get("prompt_tokens") or counts.get("total_tokens") or 0
        return ParsedAnswer(
            media=_block([item.get("embedding") for item in found], self._request),
            usage=make_usage_metadata({"input": prompt_tokens}, {}, {})
            if type(prompt_tokens) is int
            else None,
            reason="stop",
            metadata={"model_name": model} if isinstance(model, str) else {},
        )


class GeminiEmbeddingsReader(_Vectors):
    """Parses the vectors in an answer of Gemini's embeddings API, which reports no token counts."""

    @override
    def parse_answer(self, document: dict[str, Any]) -> ParsedAnswer:
        raise_if_provider_error(document.get("error"))
        found = [item.get("values") for item in objects_in_list(document.get("embeddings"))]
        return ParsedAnswer(media=_block(found, self._request), reason="stop")


def _check(request: ModelRequest, *, streams: bool) -> Any:
    """The settings of the vectors, for an unstreamed request of a feature of embeddings."""
    if request.ask.embedding is None or streams:
        raise InexpressibleRequestError("a feature of embeddings gives vectors only: use get_embeddings")
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
    lengths = {len(vector) if isinstance(vector, list) else 0 for vector in vectors}
    is_right = (
        len(vectors) == len(request.messages)
        and len(lengths) == 1
        and lengths <= {wanted or next(iter(lengths))}
    )
    if (
        not is_right
        or 0 in lengths
        or not all(map(_is_number, (value for vector in vectors for value in vector)))
    ):
        raise BadAnswer(FailureCategory.UNREADABLE, "there is not one vector for each text")
    return [{"type": BLOCK, _VECTORS: [[float(value) for value in vector] for vector in vectors]}]


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]
